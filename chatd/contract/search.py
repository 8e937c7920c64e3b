"""The store's contract: search."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import MessageRow


class SearchStore(Protocol):
    """Search in messages."""

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
        """Return messages that hold all words of a query, newest first by (created_at, id).

        Only of sessions in which the user is a member now; deleted ones never. A word is a part
        of a text, wherever it stands, without regard to case, accents and width
        (`chatd.folding`); a query without words finds nothing. `since` belongs to what is found,
        the position `before` does not.
        """

    async def index_messages(self, batch: int) -> int:
        """Take at most so many changes into the index, and so much text as is good for one call.

        Return how many, at least `batch` when there may be more, 0 when all are there.

        The index makes searches fast and never decides what they find. The twin has none.
        """
