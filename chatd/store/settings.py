"""What sessions are set to, and their end, in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import DeletionRow, SessionRow
from chatd.store.acts import lock_session, note, stand
from chatd.store.checks import setting_notes
from chatd.store.pool import Pool, Transaction

_UPDATE_SESSION = """
    UPDATE sessions
    SET name = coalesce(%(name)s, name),
        is_read_only = coalesce(%(is_read_only)s, is_read_only),
        archived_at = CASE
            WHEN %(is_archived)s::boolean IS NULL THEN archived_at
            WHEN %(is_archived)s::boolean THEN coalesce(archived_at, %(at)s::timestamptz)
        END,
        slow_mode_seconds = coalesce(%(slow_mode_seconds)s, slow_mode_seconds),
        seq = seq + 1,
        changed_seq = seq + 1
    WHERE id = %(session_id)s
    RETURNING id, kind, name, seq, member_count, created_at, is_read_only, archived_at,
              slow_mode_seconds
"""

_LOCK_ANY = """
    SELECT kind, seq, deleted_at FROM sessions WHERE id = %(session_id)s FOR NO KEY UPDATE
"""

_DELETE_SESSION = """
    UPDATE sessions
    SET deleted_at = %(at)s, member_count = 0, seq = seq + 1, changed_seq = seq + 1
    WHERE id = %(session_id)s
    RETURNING seq
"""

_LEAVE_ALL = """
    UPDATE session_users SET left_at = %(at)s, left_reason = 'removed'
    WHERE session_id = %(session_id)s AND left_at IS NULL
"""

_WERE_MEMBERS = """
    SELECT user_id FROM session_users
    WHERE session_id = %(session_id)s AND left_at = %(at)s
    ORDER BY user_id
"""

# Daemons that sweep at once take different sessions. No stronger lock: search_index() looks at the
# session behind the lock for which the trigger of a sweep waits, and each would wait for the other.
_TO_SWEEP = """
    SELECT id FROM sessions WHERE deleted_at IS NOT NULL
    ORDER BY deleted_at, id
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
"""

_SWEEP_MESSAGES = """
    WITH swept AS (
        DELETE FROM messages
        WHERE id IN (
            SELECT id FROM messages WHERE session_id = %(session_id)s ORDER BY seq LIMIT %(limit)s
        )
        RETURNING id
    )
    SELECT count(*) FROM swept
"""

_SWEEP_MEMBERS = """
    WITH swept AS (
        DELETE FROM session_users
        WHERE session_id = %(session_id)s AND user_id IN (
            SELECT user_id FROM session_users WHERE session_id = %(session_id)s LIMIT %(limit)s
        )
        RETURNING user_id
    )
    SELECT count(*) FROM swept
"""

_SWEEP_SESSION = """
    DELETE FROM sessions WHERE id = %(session_id)s
"""


class SessionSettings:
    """The statements on settings of sessions."""

    _pool: Pool

    async def update_session(
        self,
        session_id: UUID,
        *,
        name: str | None = None,
        is_read_only: bool | None = None,
        is_archived: bool | None = None,
        slow_mode_seconds: int | None = None,
        act: Act | None = None,
    ) -> SessionRow | None:
        """Set what is not None, and take a `seq`."""
        settings: dict[str, Any] = {
            "name": name,
            "is_read_only": is_read_only,
            "is_archived": is_archived,
            "slow_mode_seconds": slow_mode_seconds,
        }

        async def work(transaction: Transaction) -> SessionRow | None:
            if await lock_session(transaction, session_id) is None:
                return None
            at = None if act is None else act.at
            if act is not None:
                act.judge(await stand(transaction, act, session_id, act.by, act.at))
                details = setting_notes(**settings)
                await note(transaction, act, "session_updated", session_id, None, details)
            params = {"session_id": session_id, "at": at, **settings}
            [row] = await transaction.fetch(_UPDATE_SESSION, params)
            return SessionRow(*row)

        return await self._pool.transact(work)

    async def delete_session(self, session_id: UUID, *, act: Act) -> DeletionRow | None:
        """End all memberships of a session, and take its last `seq`."""
        params = {"session_id": session_id, "at": act.at}

        async def work(transaction: Transaction) -> DeletionRow | None:
            rows = await transaction.fetch(_LOCK_ANY, params)
            if not rows or rows[0][0] == "DIRECT":
                return None
            [(_, seq, deleted_at)] = rows
            if deleted_at is None:
                act.judge(await stand(transaction, act, session_id, act.by, act.at))
                [(seq,)] = await transaction.fetch(_DELETE_SESSION, params)
                await transaction.fetch(_LEAVE_ALL, params)
                await note(transaction, act, "session_deleted", session_id)
            when = {"session_id": session_id, "at": deleted_at or act.at}
            members = await transaction.fetch(_WERE_MEMBERS, when)
            return DeletionRow(seq, tuple(user_id for (user_id,) in members))

        return await self._pool.transact(work)

    async def sweep_sessions(self, limit: int) -> int:
        """Delete at most `limit` rows of deleted sessions."""

        async def work(transaction: Transaction) -> int:
            for (session_id,) in await transaction.fetch(_TO_SWEEP):
                params = {"session_id": session_id, "limit": limit}
                for statement in (_SWEEP_MESSAGES, _SWEEP_MEMBERS):
                    [(count,)] = await transaction.fetch(statement, params)
                    if count:
                        return int(count)
                await transaction.fetch(_SWEEP_SESSION, params)
                return 1
            return 0

        return await self._pool.transact(work)
