"""Invites in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import InviteRow, InviteUse, MemberChange, Role, SessionRow
from chatd.store.acts import lock_session, note, stand
from chatd.store.checks import LIVE_INVITES, invite_notes
from chatd.store.members import changed, has_account, join, member_of
from chatd.store.pool import Pool, Transaction

_DELETE_DEAD = """
    DELETE FROM session_invites
    WHERE session_id = %(session_id)s AND (expires_at <= %(at)s OR uses >= max_uses)
"""

_COUNT = """
    SELECT count(*) FROM session_invites WHERE session_id = %(session_id)s
"""

_MAKE = """
    INSERT INTO session_invites (
        code, session_id, created_by, created_at, expires_at, role, max_uses
    )
    VALUES (%(code)s, %(session_id)s, %(by)s, %(at)s, %(expires_at)s, %(role)s, %(max_uses)s)
    RETURNING code, session_id, created_by, created_at, expires_at, role, max_uses, uses
"""

_INVITES = """
    SELECT code, session_id, created_by, created_at, expires_at, role, max_uses, uses
    FROM session_invites
    WHERE session_id = %(session_id)s
      AND (expires_at IS NULL OR expires_at > %(at)s) AND (max_uses IS NULL OR uses < max_uses)
    ORDER BY created_at DESC, code DESC
"""

_REVOKE = """
    DELETE FROM session_invites
    WHERE session_id = %(session_id)s AND code = %(code)s
      AND (expires_at IS NULL OR expires_at > %(at)s) AND (max_uses IS NULL OR uses < max_uses)
    RETURNING code
"""

_INVITE = """
    SELECT i.code, i.session_id, i.created_by, i.created_at, i.expires_at, i.role, i.max_uses,
           i.uses,
           s.id, s.kind, s.name, s.seq, s.member_count, s.created_at, s.is_read_only,
           s.archived_at, s.slow_mode_seconds,
           (i.expires_at IS NULL OR i.expires_at > %(at)s)
               AND (i.max_uses IS NULL OR i.uses < i.max_uses)
    FROM session_invites i
    JOIN sessions s ON s.id = i.session_id AND s.deleted_at IS NULL
    WHERE i.code = %(code)s
"""

_USE = """
    UPDATE session_invites SET uses = uses + 1 WHERE code = %(code)s
"""

_INVITE_COLUMNS = len(InviteRow._fields)


class Invites:
    """The statements on invites."""

    _pool: Pool

    async def make_invite(
        self,
        session_id: UUID,
        *,
        code: str,
        role: Role,
        max_uses: int | None,
        expires_at: datetime | None,
        act: Act,
    ) -> InviteRow | None:
        """Store an invite."""
        params = {
            "session_id": session_id,
            "code": code,
            "role": role,
            "max_uses": max_uses,
            "expires_at": expires_at,
            "by": act.by,
            "at": act.at,
        }

        async def work(transaction: Transaction) -> InviteRow | None:
            if await lock_session(transaction, session_id) is None:
                return None
            act.judge(await stand(transaction, act, session_id, act.by, act.at))
            await transaction.fetch(_DELETE_DEAD, params)
            [(count,)] = await transaction.fetch(_COUNT, params)
            if count >= LIVE_INVITES:
                msg = f"the session has {LIVE_INVITES} live invites"
                raise ValueError(msg)
            [row] = await transaction.fetch(_MAKE, params)
            invite = InviteRow(*row)
            await note(transaction, act, "invite_made", session_id, None, invite_notes(invite))
            return invite

        return await self._pool.transact(work)

    async def invites(self, session_id: UUID, *, at: datetime) -> list[InviteRow]:
        """Return the live invites of a session, the newest first."""
        params = {"session_id": session_id, "at": at}
        return [InviteRow(*row) for row in await self._pool.fetch(_INVITES, params)]

    async def revoke_invite(self, session_id: UUID, code: str, *, act: Act) -> bool:
        """End a live invite."""
        params = {"session_id": session_id, "code": code, "at": act.at}

        async def work(transaction: Transaction) -> bool:
            if await lock_session(transaction, session_id) is None:
                return False
            act.judge(await stand(transaction, act, session_id, act.by, act.at))
            if not await transaction.fetch(_REVOKE, params):
                return False
            await note(transaction, act, "invite_revoked", session_id, None, {"code": code})
            return True

        return await self._pool.transact(work)

    async def invite(self, code: str, at: datetime) -> tuple[InviteRow, SessionRow] | None:
        """Return a live invite and where it leads."""
        for row in await self._pool.fetch(_INVITE, {"code": code, "at": at}):
            if row[-1]:
                return _found(*row)
        return None

    async def accept_invite(self, code: str, *, act: Act) -> InviteUse | None:
        """Make who acts a member, count the use and take a `seq`."""
        params = {"code": code, "at": act.at, "user_id": act.by}

        async def work(transaction: Transaction) -> InviteUse | None:
            for row in await transaction.fetch(_INVITE, params):
                invite, _ = _found(*row)
                if await lock_session(transaction, invite.session_id) is not None:
                    return await self._use(transaction, act, params)
            return None

        return await self._pool.transact(work)

    async def _use(
        self, transaction: Transaction, act: Act, params: dict[str, object]
    ) -> InviteUse | None:
        """Let somebody in, under the session's lock: the invite is read as it now is."""
        for row in await transaction.fetch(_INVITE, params):
            invite, session = _found(*row)
            present = await member_of(transaction, session.id, act.by)
            if present is not None:
                count = session.member_count
                change = MemberChange(present, session.seq, count, is_changed=False)
                return InviteUse(session, change)
            if not row[-1] or not await has_account(transaction, act.by):
                return None
            act.judge(await stand(transaction, act, session.id, act.by, act.at))
            who = params | {"session_id": session.id, "role": invite.role}
            change = changed(await join(transaction, who))
            await transaction.fetch(_USE, params)
            now = session._replace(seq=change.seq, member_count=change.member_count)
            return InviteUse(now, change)
        return None


def _found(*row: object) -> tuple[InviteRow, SessionRow]:
    invite, session = row[:_INVITE_COLUMNS], row[_INVITE_COLUMNS:-1]
    return InviteRow(*invite), SessionRow(*session)  # type: ignore[arg-type]
