"""The store's contract: messages and their changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import (
    AppendRow,
    ChangesPage,
    HistoryPage,
    MessageAccess,
    MessageChange,
    NewMessage,
    Role,
)


class MessageStore(Protocol):
    """Messages and their changes."""

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        """Store a batch in one transaction and return one outcome a message, in the batch's order.

        Locks the sessions in id order, gives each stored message the next `seq` of its session
        in the order of the batch, and judges membership, role, reply and (sender, client_msg_id)
        after the lock is held: what commits is exact, hole-free and idempotent also across nodes.
        No two messages of a batch have the same (sender, client_msg_id): the caller sees to it.
        Everything is judged against the state before the batch, and a DUPLICATE before membership:
        a repeat is answered though its sender has left. Moves each sender's own read marker.

        Raises:
            StoreAmbiguous: the connection was lost while COMMIT was under way.
        """

    async def find_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow | None]:
        """Tell what became of a batch whose COMMIT was lost: STORED or DUPLICATE, or None.

        Takes the sessions' locks first, so that a None is final: the lost transaction has ended.
        """

    async def history(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_id: UUID | None = None,
        limit: int = 50,
    ) -> HistoryPage | None:
        """Return a page by keyset, the newest without a bound; None when the user is no member.

        An `around_id` that is not in the session gives an empty page.

        Raises:
            ValueError: more than one bound.
        """

    async def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        """Return current rows whose `changed_seq` is above `seq`, by rising `changed_seq`."""

    async def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message of a session in which the user is a member now, and their role there."""

    async def edit_message(
        self,
        message_id: UUID,
        user_id: UUID,
        *,
        role: Role,
        content: str,
        version: int | None,
        at: datetime,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`, under the session lock.

        Who may is the caller's to judge, from `message_for`: `role` is what was judged, and None
        comes back when the user does not have it any more. Nothing changes when the text is the
        same, `version` is not the current one, or the message is deleted.
        """

    async def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, without texts and reactions; once. Else as an edit."""

    async def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool
    ) -> MessageChange | None:
        """Give a reaction or take it back; else as an edit.

        Nothing changes when it is so already, for a tombstone, and for a 21st emoji.
        """
