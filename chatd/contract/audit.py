"""The store's contract: the audit log of acts on accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from chatd.audit_chain import AuditLink, Head
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

    async def audit_links(self, *, above: int, limit: int) -> list[AuditLink]:
        """Return links of the chain over all audit logs above a position, by rising position."""

    async def audit_head(self) -> Head:
        """Return how far that chain goes."""

    async def unchained_audit_lines(self, limit: int) -> list[int]:
        """Return the ids of lines that are in no link: nobody can add one but behind the chain."""
