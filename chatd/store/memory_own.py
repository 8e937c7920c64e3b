"""What belongs to one account, in the memory twin."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from chatd.contract.own import (
    OwnMentionRow,
    OwnMessageRow,
    OwnReactionRow,
    OwnRevisionRow,
    OwnSessionRow,
)
from chatd.rows import DeviceRow
from chatd.store.memory_state import Message, Session, Tables, statement


class MemoryOwn(Tables):
    """The part of the contract about what belongs to one account."""

    @statement
    def own_devices(self, user_id: UUID, *, after: UUID | None, limit: int) -> list[DeviceRow]:
        """Return all devices that ever logged in."""
        found = [
            DeviceRow(device_id, each.name, each.address, each.created_at, each.last_login_at)
            for device_id, each in sorted(self._devices.items())
            if each.user_id == user_id and (after is None or device_id > after)
        ]
        return found[:limit]

    @statement
    def own_sessions(self, user_id: UUID, *, after: UUID | None, limit: int) -> list[OwnSessionRow]:
        """Return the sessions that a user is or was in."""
        found = [
            _own_session(session, user_id)
            for session_id, session in sorted(self._sessions.items())
            if user_id in session.members and (after is None or session_id > after)
        ]
        return found[:limit]

    @statement
    def own_messages(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMessageRow]:
        """Return a user's messages of a span."""
        found = [
            self._own_message(session_id, message)
            for message in self._span(session_id, after + 1, until)
            if message.sender_id == user_id
        ]
        return found[:limit]

    @statement
    def own_revisions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, int],
        until: int,
        limit: int,
    ) -> list[OwnRevisionRow]:
        """Return the earlier texts of a user's messages of a span."""
        found = [
            OwnRevisionRow(
                message.id,
                message.seq,
                version,
                self._contents.text(session_id, message.id, version, stored),
                at,
            )
            for message in self._span(session_id, after[0], until)
            if message.sender_id == user_id
            for version, stored, at in message.revisions
            if (message.seq, version) > after
        ]
        return found[:limit]

    @statement
    def own_reactions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, str],
        until: int,
        limit: int,
    ) -> list[OwnReactionRow]:
        """Return a user's reactions to messages of a span."""
        found = [
            OwnReactionRow(message.id, message.seq, emoji)
            for message in self._span(session_id, after[0], until)
            for emoji in sorted(message.reactions)
            if user_id in message.reactions[emoji] and (message.seq, emoji) > after
        ]
        return found[:limit]

    @statement
    def own_mentions(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMentionRow]:
        """Return the messages of a span that mention a user."""
        found = [
            OwnMentionRow(message.id, message.seq)
            for message in self._span(session_id, after + 1, until)
            if user_id in message.told
        ]
        return found[:limit]

    def _span(self, session_id: UUID, first: int, last: int) -> Iterator[Message]:
        session = self._sessions.get(session_id)
        for message in () if session is None else session.messages:
            if first <= message.seq <= last:
                yield message

    def _own_message(self, session_id: UUID, message: Message) -> OwnMessageRow:
        return OwnMessageRow(
            message.id,
            session_id,
            message.seq,
            self._text(session_id, message),
            message.created_at,
            message.client_msg_id,
            message.reply_to_id,
            message.version,
            message.edited_at,
            message.deleted_at,
            message.mentions,
        )


def _own_session(session: Session, user_id: UUID) -> OwnSessionRow:
    member = session.members[user_id]
    return OwnSessionRow(
        session.id,
        session.kind,
        session.name,
        session.seq,
        member.role,
        member.joined_at,
        member.left_at,
        member.last_read_seq,
        member.muted,
        member.favourite,
    )
