"""All of a user's conversations with the assistant, page by page, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from chatd.ai_rows import AiMessageRow, AiSessionRow
from chatd.store.ai import MESSAGE, SESSION
from chatd.store.contents import Contents
from chatd.store.pool import Pool

_SESSIONS = f"""
    SELECT {SESSION}
    FROM ai_sessions s
    WHERE s.user_id = %(user_id)s AND (%(after)s::uuid IS NULL OR s.id > %(after)s::uuid)
    ORDER BY s.id
    LIMIT %(limit)s
"""

_MESSAGES = f"""
    SELECT {MESSAGE}
    FROM ai_messages m
    JOIN ai_sessions s ON s.id = m.ai_session_id AND s.user_id = %(user_id)s
    WHERE m.ai_session_id = %(ai_session_id)s AND m.seq > %(after)s
    ORDER BY m.seq
    LIMIT %(limit)s
"""


class OwnAi:
    """The statements that give all that belongs to one user."""

    _pool: Pool
    _contents: Contents

    async def own_ai_sessions(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations by rising id."""
        params = {"user_id": user_id, "after": after, "limit": limit}
        rows = await self._pool.fetch(_SESSIONS, params)
        return [self._contents.ai_session(AiSessionRow(*row)) for row in rows]

    async def own_ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, after: int, limit: int
    ) -> list[AiMessageRow]:
        """Return the messages of a user's conversation above a `seq`, by `seq`."""
        params = {
            "user_id": user_id,
            "ai_session_id": ai_session_id,
            "after": after,
            "limit": limit,
        }
        rows = await self._pool.fetch(_MESSAGES, params)
        return [self._contents.ai_message(AiMessageRow(*row)) for row in rows]
