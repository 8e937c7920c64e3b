"""The audit log of acts on accounts, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chatd.rows import AuditRow
from chatd.store.pool import Pool

_WRITE_AUDIT = """
    INSERT INTO audit_log (at, action, user_id, address, details)
    VALUES (%(at)s, %(action)s, %(user_id)s, %(address)s, %(details)s::jsonb)
"""

_AUDIT_PAGE = """
    SELECT id, at, action, address, details
    FROM audit_log
    WHERE user_id = %(user_id)s AND session_id IS NULL
      AND (%(before)s::bigint IS NULL OR id < %(before)s::bigint)
    ORDER BY id DESC
    LIMIT %(limit)s
"""


class Audit:
    """The statements on the audit log."""

    _pool: Pool

    async def write_audit(
        self,
        action: str,
        *,
        user_id: UUID | None,
        address: str | None,
        at: datetime,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write down what was done to whose account, and from where."""
        params = {
            "action": action,
            "user_id": user_id,
            "address": address,
            "at": at,
            "details": orjson.dumps(details or {}).decode(),
        }
        await self._pool.fetch(_WRITE_AUDIT, params, writes=True)

    async def audit_page(self, user_id: UUID, *, before: int | None, limit: int) -> list[AuditRow]:
        """Return what was done to an account, the newest first."""
        params = {"user_id": user_id, "before": before, "limit": limit}
        return [AuditRow(*row) for row in await self._pool.fetch(_AUDIT_PAGE, params)]
