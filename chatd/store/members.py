"""Members of sessions in PostgreSQL. Every change locks the session's row first."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import MemberChange, MemberRow, Role
from chatd.store.pool import Pool, Rows, Transaction

_MEMBERS = """
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen
    FROM session_users m
    JOIN users u ON u.id = m.user_id
    WHERE m.session_id = %(session_id)s AND m.left_at IS NULL
      AND (%(after)s::uuid IS NULL OR m.user_id > %(after)s::uuid)
    ORDER BY m.user_id
    LIMIT %(limit)s
"""

_LOCK_SESSION = """
    SELECT kind, seq FROM sessions WHERE id = %(session_id)s FOR NO KEY UPDATE
"""

_USER_EXISTS = """
    SELECT FROM users WHERE id = %(user_id)s AND erased_at IS NULL
"""

_MEMBER = """
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen
    FROM session_users m
    JOIN users u ON u.id = m.user_id
    WHERE m.session_id = %(session_id)s AND m.user_id = %(user_id)s AND m.left_at IS NULL
"""

# A marker starts where the session stands: what was said before is history, not unread.
_JOIN = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1, member_count = member_count + 1
        WHERE id = %(session_id)s
        RETURNING id, seq, message_count
    ), joined AS (
        INSERT INTO session_users (
            session_id, user_id, role, joined_at, last_read_seq, last_read_ordinal, changed_seq
        )
        SELECT id, %(user_id)s, %(role)s, %(at)s, seq, message_count, seq FROM raised
        ON CONFLICT (session_id, user_id) DO UPDATE
        SET role = excluded.role, joined_at = excluded.joined_at, left_at = NULL,
            last_read_seq = excluded.last_read_seq,
            last_read_ordinal = excluded.last_read_ordinal, mention_count = 0,
            changed_seq = excluded.changed_seq
        RETURNING *
    )
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen
    FROM joined m
    JOIN users u ON u.id = m.user_id
"""

LEAVE = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1, member_count = member_count - 1
        WHERE id = %(session_id)s
        RETURNING id, seq
    ), gone AS (
        UPDATE session_users m SET left_at = %(at)s, changed_seq = raised.seq
        FROM raised
        WHERE m.session_id = raised.id AND m.user_id = %(user_id)s
        RETURNING m.*
    )
    SELECT m.session_id, m.user_id, u.name, u.avatar_url, m.role, m.joined_at, m.changed_seq,
           m.left_at, u.last_seen
    FROM gone m
    JOIN users u ON u.id = m.user_id
"""


class Members:
    """The statements on members."""

    _pool: Pool

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id."""
        params = {"session_id": session_id, "after": after, "limit": limit}
        return [MemberRow(*row) for row in await self._pool.fetch(_MEMBERS, params)]

    async def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`."""
        params = {"session_id": session_id, "user_id": user_id, "role": role, "at": at}

        async def work(transaction: Transaction) -> MemberChange | None:
            locked = await transaction.fetch(_LOCK_SESSION, params)
            if not locked or not await transaction.fetch(_USER_EXISTS, params):
                return None
            [(kind, seq)] = locked
            present = await transaction.fetch(_MEMBER, params)
            if present:
                return MemberChange(MemberRow(*present[0]), seq, is_changed=False)
            if kind == "DIRECT":
                return None
            return _changed(await transaction.fetch(_JOIN, params))

        return await self._pool.transact(work)

    async def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> MemberChange | None:
        """End a membership and take a `seq`."""
        params = {"session_id": session_id, "user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> MemberChange | None:
            locked = await transaction.fetch(_LOCK_SESSION, params)
            if not locked or not await transaction.fetch(_MEMBER, params):
                return None
            [(kind, _)] = locked
            if kind == "DIRECT":
                return None
            return _changed(await transaction.fetch(LEAVE, params))

        return await self._pool.transact(work)


def _changed(rows: Rows) -> MemberChange:
    [row] = rows
    member = MemberRow(*row)
    return MemberChange(member, member.changed_seq, is_changed=True)
