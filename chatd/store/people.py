"""People as others find and see them, in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from chatd.rows import FoundUser, UserRow
from chatd.store.checks import search_name
from chatd.store.columns import USER
from chatd.store.pool import Pool

# One look at every name: no index finds a part of a word of two letters.
_FIND_USERS = f"""
    WITH found AS (
        SELECT u.*, search_name COLLATE "C" AS key,
               CASE WHEN starts_with(search_name, %(name)s) OR lower(email) = lower(%(query)s)
                    THEN 0 ELSE 1 END AS rank
        FROM users u
        WHERE erased_at IS NULL
          AND (strpos(search_name, %(name)s) > 0 OR lower(email) = lower(%(query)s))
    )
    SELECT {USER}, u.rank, u.key
    FROM found u
    WHERE %(after_id)s::uuid IS NULL
       OR (rank, key, id) > (%(after_rank)s::int, %(after_key)s::text, %(after_id)s::uuid)
    ORDER BY rank, key, id
    LIMIT %(limit)s
"""


_UPDATE_USER = f"""
    UPDATE users u
    SET name = coalesce(%(name)s, name),
        search_name = coalesce(%(search_name)s, search_name),
        avatar_url = CASE WHEN %(sets_avatar)s THEN %(avatar)s ELSE avatar_url END
    WHERE id = %(user_id)s AND erased_at IS NULL
    RETURNING {USER}
"""


class People:
    """The statements on people as others find and see them."""

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

    async def update_user(
        self, user_id: UUID, *, name: str | None, avatar: str | None, sets_avatar: bool
    ) -> UserRow | None:
        """Change what others see of a user."""
        params = {
            "user_id": user_id,
            "name": name,
            "search_name": None if name is None else search_name(name),
            "avatar": avatar,
            "sets_avatar": sets_avatar,
        }
        rows = await self._pool.fetch(_UPDATE_USER, params, writes=True)
        return UserRow(*rows[0]) if rows else None
