"""The store's contract: who did what in a session."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatd.rows import SessionAuditRow


class SessionAuditStore(Protocol):
    """Who did what in a session; written in the transaction of what was done."""

    async def session_audit_page(
        self, session_id: UUID, *, before: int | None, limit: int
    ) -> list[SessionAuditRow]:
        """Return what was done in a session, the latest first, below an entry's id."""
