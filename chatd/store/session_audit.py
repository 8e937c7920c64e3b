"""Who did what in a session, in PostgreSQL. What is done writes it, by `chatd.store.acts.note`."""

from __future__ import annotations

from uuid import UUID

from chatd.rows import SessionAuditRow
from chatd.store.pool import Pool

_AUDIT = """
    SELECT id, at, action, user_id, target_id, details
    FROM audit_log
    WHERE session_id = %(session_id)s AND (%(before)s::bigint IS NULL OR id < %(before)s::bigint)
    ORDER BY id DESC
    LIMIT %(limit)s
"""


class SessionAudit:
    """The statements on the audit log."""

    _pool: Pool

    async def session_audit_page(
        self, session_id: UUID, *, before: int | None, limit: int
    ) -> list[SessionAuditRow]:
        """Return what was done in a session, the latest first."""
        params = {"session_id": session_id, "before": before, "limit": limit}
        return [SessionAuditRow(*row) for row in await self._pool.fetch(_AUDIT, params)]
