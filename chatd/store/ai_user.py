"""The user who answers in sessions, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.store.checks import search_name
from chatd.store.pool import Pool

# Without a password nobody logs in; that it is a bot stands in its id.
_INSERT_ASSISTANT = """
    INSERT INTO users (id, email, name, search_name, created_at)
    VALUES (%(user_id)s, 'bot:' || %(user_id)s, %(name)s, %(search_name)s, %(at)s)
    ON CONFLICT DO NOTHING
"""


class AiUser:
    """The statement on the user who answers."""

    _pool: Pool

    async def insert_assistant(self, user_id: UUID, name: str, at: datetime) -> None:
        """Store the user who answers in sessions, once."""
        params = {"user_id": user_id, "name": name, "search_name": search_name(name), "at": at}
        await self._pool.fetch(_INSERT_ASSISTANT, params, writes=True)
