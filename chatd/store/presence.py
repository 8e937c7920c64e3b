"""Who may see whom, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.rows import UserRow
from chatd.store.arrays import Uuids
from chatd.store.columns import USER
from chatd.store.pool import Pool

_COUNT_USERS = """
    SELECT count(*) FROM (SELECT FROM users LIMIT %(limit)s) counted
"""

_ACQUAINTANCES = f"""
    SELECT {USER}
    FROM users u
    WHERE u.id = ANY (%(user_ids)s)
      AND (u.id = %(user_id)s OR EXISTS (
          SELECT FROM session_users theirs
          JOIN session_users mine ON mine.session_id = theirs.session_id
          WHERE theirs.user_id = u.id AND theirs.left_at IS NULL
            AND mine.user_id = %(user_id)s AND mine.left_at IS NULL
      ))
"""


class Acquaintances:
    """The statements on who may see whom."""

    _pool: Pool

    async def count_users(self, *, limit: int) -> int:
        """Return how many accounts there are, up to a limit."""
        [(number,)] = await self._pool.fetch(_COUNT_USERS, {"limit": limit})
        return int(number)

    async def acquaintances(self, user_id: UUID, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that share a session with a user."""
        params = {"user_id": user_id, "user_ids": Uuids(user_ids)}
        return [UserRow(*row) for row in await self._pool.fetch(_ACQUAINTANCES, params)]
