"""What sessions are set to, and their end, in the memory twin."""

from __future__ import annotations

from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import DeletionRow, SessionRow
from chatd.store.checks import setting_notes
from chatd.store.memory_acts import MemoryActs
from chatd.store.memory_state import Session, statement


class MemorySettings(MemoryActs):
    """The part of the contract for settings of sessions."""

    @statement
    def update_session(
        self,
        session_id: UUID,
        *,
        name: str | None = None,
        is_read_only: bool | None = None,
        is_archived: bool | None = None,
        slow_mode_seconds: int | None = None,
        act: Act | None = None,
    ) -> SessionRow | None:
        """Set what is not None, and take a `seq`."""
        session = self._living(session_id)
        if session is None:
            return None
        if act is not None:
            act.judge(self._stand(session, act, act.by, act.at))
            details = setting_notes(
                name=name,
                is_read_only=is_read_only,
                is_archived=is_archived,
                slow_mode_seconds=slow_mode_seconds,
            )
            self._note(act, "session_updated", session_id, None, details)
        if name is not None:
            session.name = name
        if is_read_only is not None:
            session.is_read_only = is_read_only
        if is_archived is False:
            session.archived_at = None
        elif is_archived and session.archived_at is None and act is not None:
            session.archived_at = act.at
        if slow_mode_seconds is not None:
            session.slow_mode_seconds = slow_mode_seconds
        session.changed_seq = session.next_seq()
        return session.row()

    @statement
    def delete_session(self, session_id: UUID, *, act: Act) -> DeletionRow | None:
        """End all memberships of a session, and take its last `seq`."""
        session = self._sessions.get(session_id)
        if session is None or session.kind == "DIRECT":
            return None
        if session.deleted_at is None:
            act.judge(self._stand(session, act, act.by, act.at))
            session.deleted_at = act.at
            session.changed_seq = session.next_seq()
            for member in session.members.values():
                if member.left_at is None:
                    member.left_at, member.left_reason = act.at, "removed"
            self._note(act, "session_deleted", session_id)
        members = session.members.values()
        were = sorted(each.user_id for each in members if each.left_at == session.deleted_at)
        return DeletionRow(session.seq, tuple(were))

    @statement
    def sweep_sessions(self, limit: int) -> int:
        """Delete at most `limit` rows of deleted sessions."""
        deleted = [
            (each.deleted_at, each.id)
            for each in self._sessions.values()
            if each.deleted_at is not None
        ]
        return self._sweep(self._sessions[min(deleted)[1]], limit) if deleted else 0

    def _sweep(self, session: Session, limit: int) -> int:
        swept, session.messages = session.messages[:limit], session.messages[limit:]
        for message in swept:
            del self._by_id[message.id]
            if message.client_msg_id is not None:
                del self._by_key[message.sender_id, message.client_msg_id]
        if swept:
            return len(swept)
        gone = list(session.members)[:limit]
        for user_id in gone:
            del session.members[user_id]
        if gone:
            return len(gone)
        del self._sessions[session.id]
        for file in self._files.values():
            if file.row.session_id == session.id and session.deleted_at is not None:
                file.revoke(session.deleted_at)
        return 1
