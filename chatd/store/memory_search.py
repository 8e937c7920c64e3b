"""Search in the memory twin: reads everything."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.folding import fold, words_of
from chatd.rows import MessageRow
from chatd.store.memory_state import Tables, statement


class MemorySearch(Tables):
    """The part of the contract that searches."""

    @statement
    def search(
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
        words = words_of(query)
        found = [
            self._message_row(session, message)
            for session in self._sessions.values()
            if session.member(user_id) is not None and session_id in {None, session.id}
            for message in session.messages
            if message.deleted_at is None
            and sender_id in {None, message.sender_id}
            and (since is None or message.created_at >= since)
            and (before is None or (message.created_at, message.id) < before)
            and words
            and all(word in fold(self._text(session.id, message)) for word in words)
        ]
        found.sort(key=lambda row: (row.created_at, row.id), reverse=True)
        return found[:limit]

    @statement
    def index_messages(self, batch: int) -> int:
        """Return 0: nothing is indexed."""
        del batch
        return 0
