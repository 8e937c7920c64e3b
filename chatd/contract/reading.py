"""The store's contract: how far each member has read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from chatd.rows import MarkerRow, UnreadPage


class UnreadQuestion(NamedTuple):
    """Whose counts in which session to read.

    `is_large_too`: also where the session has more members than `unread_states` is told.
    """

    session_id: UUID
    user_id: UUID
    is_large_too: bool = False


class ReadingStore(Protocol):
    """How far each member has read. What is unread is exact: own and deleted messages are not."""

    async def mark_read(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Move a member's marker forward, never back; return where it is, None for no member.

        Mentions are counted anew from where it stands, and it is no longer marked unread.
        """

    async def mark_unread(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Mark unread, and move the marker back to before `seq`, never forward; else as above.

        It stays marked until the member reads or writes.
        """

    async def unread_states(self, questions: Sequence[UnreadQuestion], *, large: int) -> UnreadPage:
        """Return what members have not read, in one snapshot; who is no member is left out.

        In sessions of more than `large` members only of those who are mentioned.
        """
