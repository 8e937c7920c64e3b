"""Programs among the users, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.store.checks import search_name
from chatd.store.pool import Pool

_INSERT_BOT = """
    INSERT INTO users (id, email, name, search_name, created_at, is_bot)
    VALUES (%(user_id)s, 'bot:' || %(user_id)s, %(name)s, %(search_name)s, %(at)s, true)
    ON CONFLICT DO NOTHING
"""

_IS_BOT = """
    SELECT is_bot FROM users WHERE id = %(user_id)s
"""


class Bots:
    """The statements on programs among the users."""

    _pool: Pool

    async def insert_bot(self, user_id: UUID, name: str, at: datetime) -> None:
        """Store the user who answers in sessions, once."""
        params = {"user_id": user_id, "name": name, "search_name": search_name(name), "at": at}
        await self._pool.fetch(_INSERT_BOT, params, writes=True)

    async def is_bot(self, user_id: UUID) -> bool:
        """Return whether a user is a program."""
        rows = await self._pool.fetch(_IS_BOT, {"user_id": user_id})
        return bool(rows and rows[0][0])
