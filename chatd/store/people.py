"""People as others find them, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from chatd.rows import FoundUser, UserRow
from chatd.store.checks import search_name
from chatd.store.pool import Pool

# One look at every name: no index finds a part of a word of two letters.
_FIND_USERS = """
    WITH found AS (
        SELECT u.*, search_name COLLATE "C" AS key,
               CASE WHEN starts_with(search_name, %(name)s) OR lower(email) = lower(%(query)s)
                    THEN 0 ELSE 1 END AS rank
        FROM users u
        WHERE strpos(search_name, %(name)s) > 0 OR lower(email) = lower(%(query)s)
    )
    SELECT id, email, name, avatar_url, password_hash, created_at, last_seen, manual_status,
           status_text, status_until, rank, key
    FROM found
    WHERE %(after_id)s::uuid IS NULL
       OR (rank, key, id) > (%(after_rank)s::int, %(after_key)s::text, %(after_id)s::uuid)
    ORDER BY rank, key, id
    LIMIT %(limit)s
"""


class People:
    """The statements on people as others find them."""

    _pool: Pool

    async def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text, or whose whole address it is."""
        after_rank, after_key, after_id = after or (None, None, None)
        params = {
            "query": query,
            "name": search_name(query),
            "after_rank": after_rank,
            "after_key": after_key,
            "after_id": after_id,
            "limit": limit,
        }
        rows = await self._pool.fetch(_FIND_USERS, params)
        return [FoundUser(UserRow(*columns), rank, key) for *columns, rank, key in rows]
