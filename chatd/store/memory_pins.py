"""Pinned messages, and the earlier texts of messages, in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import Append, MessageChange, MessageRow, RevisionRow, Role
from chatd.store.checks import PINS
from chatd.store.memory_changes import MemoryChanges
from chatd.store.memory_state import statement


class MemoryPins(MemoryChanges):
    """The part of the contract that has pins and revisions."""

    @statement
    def pin_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Pin a message or take the pin off, and take a `seq`."""
        access = self._changeable(message_id, user_id, role)
        if access is None:
            return None
        row = access.message
        if row.deleted_at is not None or is_on == (row.pinned_at is not None):
            return MessageChange(row, is_changed=False)
        if access.rules.is_archived:
            return MessageChange(row, is_changed=False, refusal=Append.READ_ONLY)
        session, message = self._by_id[message_id]
        if is_on and sum(each.pinned_at is not None for each in session.messages) >= PINS:
            return MessageChange(row, is_changed=False)
        message.pinned_at, message.pinned_by = (at, user_id) if is_on else (None, None)
        message.changed_seq = session.next_seq()
        return MessageChange(self._message_row(session, message), is_changed=True)

    @statement
    def pins(self, session_id: UUID, user_id: UUID) -> list[MessageRow] | None:
        """Return what is pinned in a session, the newest pin first."""
        session = self._sessions.get(session_id)
        if session is None or session.member(user_id) is None:
            return None
        pinned = [
            (each.pinned_at, each.id, self._message_row(session, each))
            for each in session.messages
            if each.pinned_at is not None
        ]
        return [row for _, _, row in sorted(pinned, reverse=True)]

    @statement
    def revisions(
        self, message_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[RevisionRow] | None:
        """Return the earlier texts of a message, the newest first."""
        if self._access(message_id, user_id) is None:
            return None
        session, message = self._by_id[message_id]
        text = self._contents.text
        rows = [
            RevisionRow(version, text(session.id, message_id, version, stored), at)
            for version, stored, at in reversed(message.revisions)
        ]
        return [row for row in rows if before is None or row.version < before][:limit]
