"""The audit log of account acts: who, what, from where, when; shown to its owner.

An entry never holds a password, nor the address of an account that somebody tried.
"""

from __future__ import annotations

from enum import Enum
from typing import Any
from uuid import UUID

from chatd.context import Caller, Services
from chatd.events.audit import AuditList, AuditPage
from chatd.handlers.operations import Operation, Route
from chatd.limits import Rate
from chatd.model import dumps, iso
from chatd.rows import AuditRow

BY_OPERATOR = {"by": "operator"}  # details of what the command line did


class Act(Enum):
    """What is written down; the store writes `refresh_token_reused` itself, with the theft."""

    REGISTER = "register"
    LOGIN = "login"
    SIGN_IN = "sign_in"  # with an OpenID Connect issuer
    IDENTITY_LINKED = "identity_linked"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    LOGOUT_ALL = "logout_all"
    DEVICE_REMOVED = "device_removed"
    PASSWORD_REFUSED = "password_refused"  # noqa: S105 - of somebody who is logged in
    PASSWORD_SET = "password_set"  # noqa: S105 - by the operator
    LOGIN_DISPLACED = "login_displaced"  # by a new one: there were too many
    SECOND_FACTOR_ENABLED = "second_factor_enabled"
    SECOND_FACTOR_DISABLED = "second_factor_disabled"
    CODE_REFUSED = "code_refused"  # of the second factor; the password was right
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODES_RENEWED = "recovery_codes_renewed"
    API_TOKEN_CREATED = "api_token_created"  # noqa: S105 - no password
    API_TOKEN_REVOKED = "api_token_revoked"  # noqa: S105 - as above
    BOT_CREATED = "bot_created"
    BOT_REMOVED = "bot_removed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - it is not one
    PASSWORD_RESET_ASKED = "password_reset_asked"  # noqa: S105 - as above
    PASSWORD_RESET = "password_reset"  # noqa: S105 - as above
    EMAIL_VERIFIED = "email_verified"
    EMAIL_CHANGE_ASKED = "email_change_asked"
    EMAIL_CHANGED = "email_changed"


async def write_down(
    services: Services, caller: Caller, act: Act, user_id: UUID | None, **details: Any
) -> None:
    """Write an act into the audit log; `user_id` is None when it is nobody's account."""
    await services.store.write_audit(
        act.value, user_id=user_id, address=caller.address, at=services.now(), details=details
    )


async def list_own(services: Services, caller: Caller, command: AuditList) -> bytes:
    """Return a page of what was done to the caller's account, the newest first."""
    before = None if command.cursor is None else int(command.cursor)
    rows = await services.store.audit_page(caller.user_id, before=before, limit=command.limit + 1)
    page = rows[: command.limit]
    cursor = str(page[-1].id) if len(rows) > command.limit else None
    return dumps({"entries": [audit_dict(row) for row in page], "nextCursor": cursor})


def audit_dict(row: AuditRow) -> dict[str, Any]:
    """Return an `AuditEntry`."""
    return {
        "at": iso(row.at),
        "action": row.action,
        "address": row.address,
        "details": row.details,
    }


OPERATIONS = (
    Operation(
        "user-audit",
        AuditList,
        AuditPage,
        "What was done to the caller's account, and from where",
        run=list_own,
        event="user:audit",
        route=Route("GET", "/users/me/audit"),
        rate=Rate(1, 20),
    ),
)
