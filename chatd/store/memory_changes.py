"""Messages that change, in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import MessageAccess, MessageChange, Role
from chatd.store.checks import has_room
from chatd.store.memory_acts import MemoryActs
from chatd.store.memory_state import Message, Session, statement


class MemoryChanges(MemoryActs):
    """The part of the contract that changes messages."""

    @statement
    def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message that the user may see."""
        session, message = self._by_id.get(message_id, (None, None))
        member = None if session is None else session.member(user_id)
        if session is None or message is None or member is None:
            return None
        return MessageAccess(self._message_row(session, message), member.role, session.kind)

    @statement
    def edit_message(
        self,
        message_id: UUID,
        user_id: UUID,
        *,
        role: Role,
        content: str,
        version: int | None,
        at: datetime,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`."""
        found = self._changeable(message_id, user_id, role)
        if found is None:
            return None
        session, message = found
        is_current = message.deleted_at is None and version in (None, message.version)
        is_changed = message.content != content and is_current
        if is_changed:
            written_at = message.edited_at or message.created_at
            message.revisions.append((message.version, message.content, written_at))
            message.content, message.edited_at = content, at
            message.version += 1
            message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed)

    @statement
    def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, without texts and reactions, and take a `seq`."""
        found = self._changeable(message_id, user_id, role)
        if found is None:
            return None
        session, message = found
        is_changed = message.deleted_at is None
        if is_changed:
            message.content = ""
            message.revisions.clear()
            message.reactions.clear()
            message.deleted_at, message.deleted_by = at, user_id
            if user_id != message.sender_id:
                details = {"messageId": str(message_id)}
                self._log(session.id, user_id, at, "message_deleted", message.sender_id, details)
            message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed)

    @statement
    def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool
    ) -> MessageChange | None:
        """Give a reaction or take it back, and take a `seq`."""
        found = self._changeable(message_id, user_id, role)
        if found is None:
            return None
        session, message = found
        before = self._message_row(session, message)
        who = message.reactions.get(emoji, [])
        has_reacted = user_id in who
        if is_on == has_reacted or not (has_reacted or has_room(before, emoji)):
            return MessageChange(before, is_changed=False)
        left = [*who, user_id] if is_on else [each for each in who if each != user_id]
        message.reactions[emoji] = left
        if not left:
            del message.reactions[emoji]
        message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed=True)

    def _changeable(
        self, message_id: UUID, user_id: UUID, role: Role
    ) -> tuple[Session, Message] | None:
        """Return a message and its session, if the user still has this role in it."""
        found = self._by_id.get(message_id)
        member = None if found is None else found[0].member(user_id)
        return found if member is not None and member.role == role else None
