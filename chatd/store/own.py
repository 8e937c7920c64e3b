"""What belongs to one account, in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.contract.own import (
    OwnMentionRow,
    OwnMessageRow,
    OwnReactionRow,
    OwnRevisionRow,
    OwnSessionRow,
)
from chatd.rows import DeviceRow
from chatd.store.columns import mentions_of
from chatd.store.contents import Contents
from chatd.store.pool import Pool

_OWN_DEVICES = """
    SELECT id, name, address, created_at, last_login_at
    FROM devices
    WHERE user_id = %(user_id)s AND (%(after)s::uuid IS NULL OR id > %(after)s::uuid)
    ORDER BY id
    LIMIT %(limit)s
"""

_OWN_SESSIONS = """
    SELECT s.id, s.kind, s.name, s.seq, m.role, m.joined_at, m.left_at, m.last_read_seq, m.muted,
           m.favourite
    FROM session_users m
    JOIN sessions s ON s.id = m.session_id
    WHERE m.user_id = %(user_id)s AND (%(after)s::uuid IS NULL OR m.session_id > %(after)s::uuid)
    ORDER BY m.session_id
    LIMIT %(limit)s
"""

_OWN_MESSAGES = """
    SELECT id, session_id, seq, content, created_at, client_msg_id, reply_to_id, version,
           edited_at, deleted_at, mentions
    FROM messages
    WHERE session_id = %(session_id)s AND sender_id = %(user_id)s
      AND seq > %(after)s AND seq <= %(until)s
    ORDER BY seq
    LIMIT %(limit)s
"""

_OWN_REVISIONS = """
    SELECT r.message_id, m.seq, r.version, r.content, r.created_at
    FROM messages m
    JOIN message_revisions r ON r.message_id = m.id
    WHERE m.session_id = %(session_id)s AND m.sender_id = %(user_id)s AND m.version > 1
      AND m.seq >= %(after_seq)s AND m.seq <= %(until)s
      AND (m.seq, r.version) > (%(after_seq)s::bigint, %(after_version)s::integer)
    ORDER BY m.seq, r.version
    LIMIT %(limit)s
"""

_OWN_REACTIONS = """
    SELECT r.message_id, m.seq, r.emoji
    FROM messages m
    JOIN reactions r ON r.message_id = m.id
    WHERE m.session_id = %(session_id)s AND r.user_id = %(user_id)s AND m.reaction_count > 0
      AND m.seq >= %(after_seq)s AND m.seq <= %(until)s
      AND (m.seq, r.emoji) > (%(after_seq)s::bigint, %(after_emoji)s::text COLLATE "C")
    ORDER BY m.seq, r.emoji
    LIMIT %(limit)s
"""

# An ordinal is never above its `seq`, so the index leaves out what lies behind the span.
_OWN_MENTIONS = """
    SELECT t.message_id, m.seq
    FROM mentions t
    JOIN messages m ON m.id = t.message_id
    WHERE t.session_id = %(session_id)s AND t.user_id = %(user_id)s AND t.ordinal <= %(until)s
      AND m.seq > %(after)s AND m.seq <= %(until)s
    ORDER BY m.seq
    LIMIT %(limit)s
"""


class Own:
    """The statements on what belongs to one account."""

    _pool: Pool
    _contents: Contents

    async def own_devices(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[DeviceRow]:
        """Return all devices that ever logged in."""
        params = {"user_id": user_id, "after": after, "limit": limit}
        return [DeviceRow(*row) for row in await self._pool.fetch(_OWN_DEVICES, params)]

    async def own_sessions(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[OwnSessionRow]:
        """Return the sessions that a user is or was in."""
        params = {"user_id": user_id, "after": after, "limit": limit}
        return [OwnSessionRow(*row) for row in await self._pool.fetch(_OWN_SESSIONS, params)]

    async def own_messages(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMessageRow]:
        """Return a user's messages of a span."""
        params = {
            "user_id": user_id,
            "session_id": session_id,
            "after": after,
            "until": until,
            "limit": limit,
        }
        rows = await self._pool.fetch(_OWN_MESSAGES, params)
        return [self._own_message(*row) for row in rows]

    def _own_message(self, *columns: Any) -> OwnMessageRow:
        row = OwnMessageRow(*columns)
        text = self._contents.text(row.session_id, row.id, row.version, row.content)
        return row._replace(content=text, mentions=mentions_of(columns[-1]))

    async def own_revisions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, int],
        until: int,
        limit: int,
    ) -> list[OwnRevisionRow]:
        """Return the earlier texts of a user's messages of a span."""
        params = {
            "user_id": user_id,
            "session_id": session_id,
            "after_seq": after[0],
            "after_version": after[1],
            "until": until,
            "limit": limit,
        }
        rows = [OwnRevisionRow(*row) for row in await self._pool.fetch(_OWN_REVISIONS, params)]
        text = self._contents.text
        return [
            row._replace(content=text(session_id, row.message_id, row.version, row.content))
            for row in rows
        ]

    async def own_reactions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, str],
        until: int,
        limit: int,
    ) -> list[OwnReactionRow]:
        """Return a user's reactions to messages of a span."""
        params = {
            "user_id": user_id,
            "session_id": session_id,
            "after_seq": after[0],
            "after_emoji": after[1],
            "until": until,
            "limit": limit,
        }
        return [OwnReactionRow(*row) for row in await self._pool.fetch(_OWN_REACTIONS, params)]

    async def own_mentions(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMentionRow]:
        """Return the messages of a span that mention a user."""
        params = {
            "user_id": user_id,
            "session_id": session_id,
            "after": after,
            "until": until,
            "limit": limit,
        }
        return [OwnMentionRow(*row) for row in await self._pool.fetch(_OWN_MENTIONS, params)]
