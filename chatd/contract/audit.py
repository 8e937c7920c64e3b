"""The store's contract: the audit log of acts on accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chatd.rows import AuditRow


class AuditStore(Protocol):
    """The audit log of acts on accounts."""

    async def write_audit(
        self,
        action: str,
        *,
        user_id: UUID | None,
        address: str | None,
        at: datetime,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Write down what was done to whose account, and from where; None: to nobody's."""

    async def audit_page(self, user_id: UUID, *, before: int | None, limit: int) -> list[AuditRow]:
        """Return what was done to an account, the newest first, below an id."""
