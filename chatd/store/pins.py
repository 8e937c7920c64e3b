"""Pinned messages, and the earlier texts of messages, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import Append, MessageChange, MessageRow, RevisionRow, Role
from chatd.store.changes import locked_message
from chatd.store.checks import PINS
from chatd.store.columns import MESSAGE
from chatd.store.contents import Contents
from chatd.store.pool import Pool, Transaction

_PIN_COUNT = """
    SELECT count(*) FROM messages WHERE session_id = %(session_id)s AND pinned_at IS NOT NULL
"""

_PIN = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s
        RETURNING seq
    )
    UPDATE messages
    SET pinned_at = %(pinned_at)s, pinned_by = %(pinned_by)s, changed_seq = raised.seq
    FROM raised
    WHERE id = %(message_id)s
    RETURNING changed_seq
"""

# A row for the member comes back also when nothing is pinned.
_PINS = f"""
    SELECT {MESSAGE}
    FROM session_users mine
    LEFT JOIN messages m ON m.session_id = mine.session_id AND m.pinned_at IS NOT NULL
    LEFT JOIN users u ON u.id = m.sender_id
    WHERE mine.session_id = %(session_id)s AND mine.user_id = %(user_id)s
      AND mine.left_at IS NULL
    ORDER BY m.pinned_at DESC, m.id DESC
"""

_REVISIONS = """
    SELECT m.session_id, r.version, r.content, r.created_at
    FROM messages m
    JOIN session_users mine
        ON mine.session_id = m.session_id AND mine.user_id = %(user_id)s AND mine.left_at IS NULL
    LEFT JOIN LATERAL (
        SELECT version, content, created_at FROM message_revisions
        WHERE message_id = m.id
          AND (%(before)s::integer IS NULL OR version < %(before)s::integer)
        ORDER BY version DESC
        LIMIT %(limit)s
    ) r ON true
    WHERE m.id = %(message_id)s
    ORDER BY r.version DESC
"""


class Pins:
    """The statements on pins and revisions."""

    _pool: Pool
    _contents: Contents

    async def pin_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Pin a message or take the pin off, and take a `seq`."""
        params: dict[str, object] = {"message_id": message_id, "user_id": user_id}

        async def work(transaction: Transaction) -> MessageChange | None:
            access = await locked_message(self._contents, transaction, params, role)
            if access is None:
                return None
            row = access.message
            if row.deleted_at is not None or is_on == (row.pinned_at is not None):
                return MessageChange(row, is_changed=False)
            if access.rules.is_archived:
                return MessageChange(row, is_changed=False, refusal=Append.READ_ONLY)
            if is_on and not await _has_place(transaction, row):
                return MessageChange(row, is_changed=False)
            pinned_at, pinned_by = (at, user_id) if is_on else (None, None)
            pin = {"pinned_at": pinned_at, "pinned_by": pinned_by, "session_id": row.session_id}
            [(seq,)] = await transaction.fetch(_PIN, params | pin)
            row = row._replace(changed_seq=seq, pinned_at=pinned_at, pinned_by=pinned_by)
            return MessageChange(row, is_changed=True)

        return await self._pool.transact(work)

    async def pins(self, session_id: UUID, user_id: UUID) -> list[MessageRow] | None:
        """Return what is pinned in a session, the newest pin first."""
        params = {"session_id": session_id, "user_id": user_id}
        rows = await self._pool.fetch(_PINS, params)
        if not rows:
            return None
        return [self._contents.message_row(*row) for row in rows if row[0] is not None]

    async def revisions(
        self, message_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[RevisionRow] | None:
        """Return the earlier texts of a message, the newest first."""
        params = {"message_id": message_id, "user_id": user_id, "before": before, "limit": limit}
        rows = await self._pool.fetch(_REVISIONS, params)
        return (
            [
                RevisionRow(
                    version, self._contents.text(session_id, message_id, version, stored), at
                )
                for session_id, version, stored, at in rows
                if version is not None
            ]
            if rows
            else None
        )


async def _has_place(transaction: Transaction, row: MessageRow) -> bool:
    [(count,)] = await transaction.fetch(_PIN_COUNT, {"session_id": row.session_id})
    return bool(count < PINS)
