"""Bans in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import BanChange, BanRow, MemberChange
from chatd.store.acts import lock_session, note, stand
from chatd.store.checks import ban_notes, is_same_ban
from chatd.store.members import leave
from chatd.store.pool import Pool, Transaction

# None, when there is no such user.
_BAN = """
    INSERT INTO session_bans (session_id, user_id, banned_by, banned_at, banned_until, reason)
    SELECT %(session_id)s, id, %(by)s, %(at)s, %(until)s, %(reason)s
    FROM users WHERE id = %(user_id)s
    ON CONFLICT (session_id, user_id) DO UPDATE
    SET banned_by = excluded.banned_by, banned_at = excluded.banned_at,
        banned_until = excluded.banned_until, reason = excluded.reason
"""

_UNBAN = """
    DELETE FROM session_bans WHERE session_id = %(session_id)s AND user_id = %(user_id)s
"""

_BANS = """
    SELECT b.session_id, b.user_id, u.name, u.avatar_url, b.banned_by, b.banned_at,
           b.banned_until, b.reason
    FROM session_bans b
    JOIN users u ON u.id = b.user_id
    WHERE b.session_id = %(session_id)s
      AND (b.banned_until IS NULL OR b.banned_until > %(at)s)
      AND (%(after)s::uuid IS NULL OR b.user_id > %(after)s::uuid)
    ORDER BY b.user_id
    LIMIT %(limit)s
"""


class Bans:
    """The statements on bans."""

    _pool: Pool

    async def ban(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        until: datetime | None,
        reason: str | None,
        act: Act,
    ) -> BanChange | None:
        """Keep a user out of a session, and end their membership."""

        async def work(transaction: Transaction) -> BanChange | None:
            locked = await lock_session(transaction, session_id)
            if locked is None or locked.kind == "DIRECT":
                return None
            standing = await stand(transaction, act, session_id, user_id, act.at)
            if is_same_ban(standing, act, until, reason) and standing.ban is not None:
                return BanChange(standing.ban, None)
            act.judge(standing)
            params = {
                "session_id": session_id,
                "user_id": user_id,
                "by": act.by,
                "at": act.at,
                "until": until,
                "reason": reason,
            }
            await transaction.fetch(_BAN, params)
            after = await stand(transaction, act, session_id, user_id, act.at)
            if after.ban is None:
                return None
            notes = ban_notes(until, reason)
            await note(transaction, act, "member_banned", session_id, user_id, notes)
            change: MemberChange | None = None
            if standing.target is not None:
                role = standing.target
                change = await leave(transaction, session_id, user_id, act.at, "banned", role)
            return BanChange(after.ban, change)

        return await self._pool.transact(work)

    async def unban(self, session_id: UUID, user_id: UUID, *, act: Act) -> bool:
        """Lift a ban."""

        async def work(transaction: Transaction) -> bool:
            if await lock_session(transaction, session_id) is None:
                return False
            standing = await stand(transaction, act, session_id, user_id, act.at)
            if standing.ban is None:
                return False
            act.judge(standing)
            await transaction.fetch(_UNBAN, {"session_id": session_id, "user_id": user_id})
            await note(transaction, act, "member_unbanned", session_id, user_id)
            return True

        return await self._pool.transact(work)

    async def bans(
        self, session_id: UUID, *, at: datetime, after: UUID | None, limit: int
    ) -> list[BanRow]:
        """Return the bans in force by rising user id."""
        params = {"session_id": session_id, "at": at, "after": after, "limit": limit}
        return [BanRow(*row) for row in await self._pool.fetch(_BANS, params)]
