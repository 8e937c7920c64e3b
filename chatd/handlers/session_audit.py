"""Who did what in a session (protocol.md section 3)."""

from __future__ import annotations

from chatd.context import Caller, Services
from chatd.events.session_audit import SessionAuditList, SessionAuditPage
from chatd.handlers.access import allowed
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.model import dumps
from chatd.payloads import session_audit_dict


async def audit(services: Services, caller: Caller, command: SessionAuditList) -> bytes:
    """Return a page of what was done in a session, the latest first."""
    await allowed(services, caller, command.session_id, Action.AUDIT)
    rows = await services.store.session_audit_page(
        command.session_id, before=command.before, limit=command.limit + 1
    )
    page = rows[: command.limit]
    before = page[-1].id if len(rows) > command.limit else None
    return dumps({"entries": [session_audit_dict(row) for row in page], "nextBefore": before})


OPERATIONS = (
    Operation(
        "session-audit",
        SessionAuditList,
        SessionAuditPage,
        "What was done in a session, and by whom",
        run=audit,
        event="session:audit",
        route=Route("GET", "/chat/sessions/<uuid:session_id>/audit"),
    ),
)
