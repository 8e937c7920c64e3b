"""Commands and answers of the audit log (protocol.md section 3)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from chatd.events.fields import MAX_SEQ, Limit
from chatd.events.sessions import SessionRef
from chatd.model import Shape, Time


class SessionAuditList(SessionRef):
    """Page through what was done in a session, the latest first."""

    before: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    limit: Limit = 50


class SessionAuditEntry(Shape):
    """Who did what to whom; `details` depend on the action."""

    id: int
    at: Time
    action: str
    user_id: UUID
    target_id: UUID | None
    details: dict[str, Any]


class SessionAuditPage(Shape):
    """Entries, the latest first; `nextBefore` is null on the last page."""

    entries: list[SessionAuditEntry]
    next_before: int | None
