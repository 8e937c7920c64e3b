"""The audit log of acts on accounts, in the memory twin."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chatd.rows import AuditRow
from chatd.store.memory_state import Tables, statement


class MemoryAudit(Tables):
    """The part of the contract about the audit log."""

    @statement
    def write_audit(
        self,
        action: str,
        *,
        user_id: UUID | None,
        address: str | None,
        at: datetime,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write down what was done to whose account, and from where."""
        stored = orjson.loads(orjson.dumps(details or {}))
        self._write_audit(action, user_id, address, at, stored)

    @statement
    def audit_page(self, user_id: UUID, *, before: int | None, limit: int) -> list[AuditRow]:
        """Return what was done to an account, the newest first."""
        return [
            row
            for owner_id, row in reversed(self.audit)
            if owner_id == user_id and (before is None or row.id < before)
        ][:limit]
