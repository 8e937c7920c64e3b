"""All operations, by name, event and route."""

from __future__ import annotations

from chatd.handlers import (
    accounts,
    bans,
    changes,
    devices,
    invites,
    members,
    messages,
    presence,
    session_audit,
    sessions,
    settings,
    users,
)
from chatd.handlers.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *accounts.OPERATIONS,
    *devices.OPERATIONS,
    *users.OPERATIONS,
    *sessions.OPERATIONS,
    *settings.OPERATIONS,
    *members.OPERATIONS,
    *bans.OPERATIONS,
    *invites.OPERATIONS,
    *session_audit.OPERATIONS,
    *messages.OPERATIONS,
    *changes.OPERATIONS,
    *presence.OPERATIONS,
)

BY_EVENT: dict[str, Operation] = {
    operation.event: operation for operation in OPERATIONS if operation.event is not None
}
