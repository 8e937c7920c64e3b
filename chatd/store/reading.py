"""How far members have read, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.contract.reading import UnreadQuestion
from chatd.rows import MarkerRow, UnreadPage, UnreadRow
from chatd.store.arrays import Uuids
from chatd.store.columns import MESSAGE
from chatd.store.contents import Contents
from chatd.store.pool import Pool

# No lock of the session: a marker is the member's own and takes no seq.
_MOVE_MARKER = """
    SELECT session_id, seq, unread_count, mention_count, last_read_seq, member_count,
           is_moved, is_changed
    FROM move_marker(%(session_id)s, %(user_id)s, %(seq)s, %(sets_back)s)
"""

# A row an answer and a row a session's last message, which all its members share.
_UNREAD_STATES = f"""
    WITH member AS (
        SELECT m.session_id, m.user_id, unread_of(s, m), m.mention_count, m.last_read_seq
        FROM unnest(%(session_ids)s, %(user_ids)s, %(large_too)s::boolean[])
            AS asked (session_id, user_id, is_large_too)
        JOIN session_users m
            ON m.session_id = asked.session_id AND m.user_id = asked.user_id
            AND m.left_at IS NULL
        JOIN sessions s ON s.id = m.session_id
        WHERE s.member_count <= %(large)s OR m.mention_count > 0 OR asked.is_large_too
    ), message AS (
        SELECT {MESSAGE}
        FROM (SELECT DISTINCT session_id FROM member) told
        CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.session_id = told.session_id
            ORDER BY m.seq DESC LIMIT 1
        ) m
        JOIN users u ON u.id = m.sender_id
    )
    SELECT member.*, message.*
    FROM member
    FULL JOIN message ON false
"""
_MESSAGE = len(UnreadRow._fields)


class Reading:
    """The statements on read markers."""

    _pool: Pool
    _contents: Contents

    async def mark_read(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Move a member's marker forward."""
        return await self._move(session_id, user_id, seq, sets_back=False)

    async def mark_unread(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Mark unread, and move a member's marker back."""
        return await self._move(session_id, user_id, seq, sets_back=True)

    async def _move(
        self, session_id: UUID, user_id: UUID, seq: int, *, sets_back: bool
    ) -> MarkerRow | None:
        params = {
            "session_id": session_id,
            "user_id": user_id,
            "seq": seq,
            "sets_back": sets_back,
        }
        rows = await self._pool.fetch(_MOVE_MARKER, params, writes=True)
        return MarkerRow(*rows[0]) if rows else None

    async def unread_states(self, questions: Sequence[UnreadQuestion], *, large: int) -> UnreadPage:
        """Return what members have not read."""
        params = {
            "session_ids": Uuids([each.session_id for each in questions]),
            "user_ids": Uuids([each.user_id for each in questions]),
            "large_too": [each.is_large_too for each in questions],
            "large": large,
        }
        page = UnreadPage({}, {})
        for row in await self._pool.fetch(_UNREAD_STATES, params):
            if row[0] is not None:
                page.counts[row[0], row[1]] = UnreadRow(*row[:_MESSAGE])
            else:
                message = self._contents.message_row(*row[_MESSAGE:])
                page.last_messages[message.session_id] = message
        return page
