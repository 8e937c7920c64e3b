"""The recovery state of Socket.IO connections in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.rows import RecoveryRow
from chatd.store.memory_state import Tables, statement


class MemoryRecoveries(Tables):
    """The part of the contract for connections that come back."""

    @statement
    def save_recoveries(self, rows: Sequence[RecoveryRow], at: datetime) -> None:
        """Keep these for a restart, and delete what has expired."""
        latest = {row.pid: row for row in rows}
        known = {row.pid: row for row in latest.values() if row.user_id in self._users}
        self._recoveries = {
            pid: row for pid, row in (self._recoveries | known).items() if row.expires_at > at
        }

    @statement
    def take_recovery(self, pid: str, user_id: UUID, at: datetime) -> RecoveryRow | None:
        """Return and delete the state of a connection."""
        row = self._recoveries.get(pid)
        if row is None or row.user_id != user_id or row.expires_at <= at:
            return None
        return self._recoveries.pop(pid)

    @statement
    def memberships(self, user_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of those sessions in which the user is a member."""
        asked = {each: self._sessions.get(each) for each in session_ids}
        return {
            each: session.seq
            for each, session in asked.items()
            if session is not None and session.member(user_id) is not None
        }
