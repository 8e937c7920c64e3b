"""Commands and answers of the audit log of the caller's account (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import StringConstraints

from chatd.events.fields import Limit
from chatd.model import Shape, Time


class AuditList(Shape):
    """Page through what was done to the caller's account."""

    cursor: Annotated[str, StringConstraints(pattern="^[0-9]{1,18}$")] | None = None
    limit: Limit = 50


class AuditEntry(Shape):
    """One act: what, when, and from which network address."""

    at: Time
    action: str
    address: str | None
    details: dict[str, Any]


class AuditPage(Shape):
    """Acts, the newest first; `nextCursor` is null on the last page."""

    entries: list[AuditEntry]
    next_cursor: str | None
