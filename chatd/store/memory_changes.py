"""Messages that change, in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import Mentions, MessageAccess, MessageChange, Role
from chatd.store.checks import has_room, mention_refusal, reaction_refusal, write_refusal
from chatd.store.memory_acts import MemoryActs
from chatd.store.memory_state import statement


class MemoryChanges(MemoryActs):
    """The part of the contract that changes messages."""

    @statement
    def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message that the user may see."""
        return self._access(message_id, user_id)

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
        mentions: Mentions | None = None,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`."""
        access = self._changeable(message_id, user_id, role)
        if access is None:
            return None
        session, message = self._by_id[message_id]
        kept = message.mentions if mentions is None else session.mentionable(mentions)
        before = access.message
        if before.deleted_at is not None or (before.content, before.mentions) == (content, kept):
            return MessageChange(before, is_changed=False)
        if version not in (None, message.version):
            return MessageChange(before, is_changed=False, is_stale=True)
        members = session.row().member_count
        refusal = write_refusal(access.rules, at) or mention_refusal(
            access.rules, mentions, members
        )
        if refusal is not None:
            return MessageChange(before, is_changed=False, refusal=refusal)
        written_at = message.edited_at or message.created_at
        message.revisions.append((message.version, message.content, written_at))
        message.version += 1
        message.content = self._contents.seal_text(session.id, message.id, message.version, content)
        message.edited_at, message.mentions = at, kept
        message.changed_seq = session.next_seq()
        told = () if kept == before.mentions else session.mention(message)
        return MessageChange(self._message_row(session, message), is_changed=True, told=told)

    @statement
    def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, its words nowhere any more, and take a `seq`."""
        access = self._changeable(message_id, user_id, role)
        if access is None:
            return None
        session, message = self._by_id[message_id]
        is_changed = message.deleted_at is None
        if is_changed:
            session.wipe(message, user_id, at)
            if user_id != message.sender_id:
                details = {"messageId": str(message_id)}
                self._log(session.id, user_id, at, "message_deleted", message.sender_id, details)
            message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed)

    @statement
    def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Give a reaction or take it back, and take a `seq`."""
        access = self._changeable(message_id, user_id, role)
        if access is None:
            return None
        session, message = self._by_id[message_id]
        before = access.message
        who = message.reactions.get(emoji, [])
        has_reacted = user_id in who
        if is_on == has_reacted or not (has_reacted or has_room(before, emoji)):
            return MessageChange(before, is_changed=False)
        refusal = reaction_refusal(access.rules, at)
        if refusal is not None:
            return MessageChange(before, is_changed=False, refusal=refusal)
        left = [*who, user_id] if is_on else [each for each in who if each != user_id]
        message.reactions[emoji] = left
        if not left:
            del message.reactions[emoji]
        message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed=True)

    def _changeable(self, message_id: UUID, user_id: UUID, role: Role) -> MessageAccess | None:
        """Return a message and the rules around it, if the user still has this role there."""
        access = self._access(message_id, user_id)
        return access if access is not None and access.role == role else None

    def _access(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        session, message = self._by_id.get(message_id, (None, None))
        member = None if session is None else session.member(user_id)
        if session is None or message is None or member is None:
            return None
        rules = self._rules(session, member)
        return MessageAccess(self._message_row(session, message), rules, session.kind)
