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
    Mentions,
    MessageAccess,
    MessageChange,
    MessageRow,
    NewMessage,
    RevisionRow,
    Role,
)


class MessageStore(Protocol):
    """Messages and their changes."""

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        """Store a batch in one transaction and return one outcome a message, in the batch's order.

        Locks the sessions in id order, gives each stored message the next `seq` of its session
        in the order of the batch, and judges membership, the session's rules, reply and (sender,
        client_msg_id) after the lock is held: what commits is exact, hole-free and idempotent also
        across nodes.
        No two messages of a batch have the same (sender, client_msg_id) or the same file: the
        caller sees to it.
        Everything is judged against the state before the batch, and a DUPLICATE before membership:
        a repeat is answered though its sender has left; but slow mode counts the sender's messages
        before it in the batch. Moves each sender's own read marker.

        Of `mentions` only members are kept; `mention_count` of each of them but the sender counts
        the message until it is read or deleted, and `told` names them. "ALL" are the members at
        the time; a MEMBER mentions at most 200 like that (TOO_MANY).

        A file is attached once, to a message of its uploader in its session, when it is complete;
        of a message that names another none is (NO_SUCH_FILE).

        May have no deadline of its own; a caller whose deadline passes asks `find_messages`.

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
        mentions: Mentions | None = None,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`, under the session lock.

        Who may is the caller's to judge, from `message_for`: `role` is what was judged, and None
        comes back when the user does not have it any more. Nothing changes when the text is the
        same, `version` is not the current one, or the message is deleted; nor where the rules of
        the session do not let the user write: `refusal` tells which.

        New `mentions` take the place of those there were, None leaves them; `told` are those whom
        the message did not mention before.
        """

    async def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, without texts and reactions; once. Else as an edit.

        The excerpts that replies have of it are wiped, without a `seq` of their own.
        The rules of the session are for writers: they keep nobody from deleting.
        """

    async def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Give a reaction or take it back; else as an edit.

        Nothing changes when it is so already, for a tombstone, and for a 21st emoji. Members whom
        a session does not let write may react, but not the muted, and nobody when it is archived.
        """

    async def pin_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Pin a message or take the pin off; else as an edit.

        Nothing changes when it is so already, for a tombstone, and for a 51st pin of the session.
        An archived session refuses. Deleting a message takes its pin off, in the same `seq`.
        """

    async def pins(self, session_id: UUID, user_id: UUID) -> list[MessageRow] | None:
        """Return what is pinned in a session, the newest pin first; None for no member."""

    async def revisions(
        self, message_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[RevisionRow] | None:
        """Return the earlier texts of a message below a version, the newest first.

        None when there is no such message for the user.
        """
