"""What every change of a session by somebody begins and ends with, in the memory twin."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.contract.acts import Act, Standing
from chatd.rows import BanRow, SessionAuditRow
from chatd.store.memory_state import Session, Tables, statement


class MemoryActs(Tables):
    """Where people stand, and the log of what they did."""

    def _living(self, session_id: UUID) -> Session | None:
        """Return a session that is not deleted."""
        session = self._sessions.get(session_id)
        return None if session is None or session.deleted_at is not None else session

    def _stand(self, session: Session, act: Act | None, user_id: UUID, at: datetime) -> Standing:
        """Return where who acts and who it is done to stand now."""
        actor = session.member(user_id if act is None else act.by)
        target = session.member(user_id)
        return Standing(
            None if actor is None else actor.role,
            None if target is None else target.role,
            self._ban_row(session, user_id, at),
        )

    def _ban_row(self, session: Session, user_id: UUID, at: datetime) -> BanRow | None:
        """Return the ban in force against somebody."""
        ban = session.bans.get(user_id)
        if ban is None or (ban.until is not None and ban.until <= at):
            return None
        user = self._users[user_id]
        return BanRow(
            session.id, user_id, user.name, user.avatar_url, ban.by, ban.at, ban.until, ban.reason
        )

    def _note(
        self,
        act: Act,
        action: str,
        session_id: UUID,
        target_id: UUID | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write into the audit log what somebody did."""
        self._log(session_id, act.by, act.at, action, target_id, details or {})

    def _log(
        self,
        session_id: UUID,
        by: UUID,
        at: datetime,
        action: str,
        target_id: UUID | None,
        details: dict[str, Any],
    ) -> None:
        row = SessionAuditRow(len(self._acts) + 1, at, action, by, target_id, details)
        self._acts.append((session_id, row))
        self._link(len(self._acts) - 1, is_act=True)

    @statement
    def session_audit_page(
        self, session_id: UUID, *, before: int | None, limit: int
    ) -> list[SessionAuditRow]:
        """Return what was done in a session, the latest first."""
        rows = [row for where, row in self._acts if where == session_id]
        return [row for row in reversed(rows) if before is None or row.id < before][:limit]
