"""Search in PostgreSQL: what search_messages() of schema.sql finds, as messages."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from chatd.rows import MessageRow
from chatd.store.columns import MESSAGE
from chatd.store.contents import Contents
from chatd.store.pool import Pool

# Entries that are read newest first before the index is asked: 5 ms. A word that one message in a
# hundred has fills a page of 20 that way; the index would bring thousands of hits to be sorted.
BUDGET = 4000

_LAST = (datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
_FIRST = datetime.min.replace(tzinfo=UTC)

# One statement, one snapshot: the function is STABLE and sees what the join sees.
_SEARCH = f"""
    SELECT {MESSAGE}
    FROM search_messages(
        %(user_id)s, %(query)s, %(session_id)s, %(sender_id)s, %(since)s,
        %(before_at)s, %(before_id)s, %(limit)s, %(budget)s
    ) found
    JOIN messages m ON m.id = found.message_id
    JOIN users u ON u.id = m.sender_id
    ORDER BY m.created_at DESC, m.id DESC
"""

_INDEX = "SELECT search_index(%(batch)s)"


class Search:
    """The statements of search."""

    _pool: Pool
    _contents: Contents

    async def search(
        self,
        user_id: UUID,
        query: str,
        *,
        session_id: UUID | None = None,
        sender_id: UUID | None = None,
        since: datetime | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int,
    ) -> list[MessageRow]:
        """Return messages that hold all words of a query, newest first."""
        before_at, before_id = before or _LAST
        params = {
            "user_id": user_id,
            "query": query,
            "session_id": session_id,
            "sender_id": sender_id,
            "since": since or _FIRST,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
            "budget": BUDGET,
        }
        rows = await self._pool.fetch(_SEARCH, params)
        return [self._contents.message_row(*row) for row in rows]

    async def index_messages(self, batch: int) -> int:
        """Take about so many changes into the index."""
        [(done,)] = await self._pool.fetch(_INDEX, {"batch": batch}, is_heavy=True)
        return int(done)
