"""All operations, by name, event and route."""

from __future__ import annotations

from chatd.handlers import (
    accounts,
    changes,
    devices,
    features,
    members,
    messages,
    presence,
    sessions,
    sign_in,
    users,
)
from chatd.handlers.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *features.OPERATIONS,
    *accounts.OPERATIONS,
    *sign_in.OPERATIONS,
    *devices.OPERATIONS,
    *users.OPERATIONS,
    *sessions.OPERATIONS,
    *members.OPERATIONS,
    *messages.OPERATIONS,
    *changes.OPERATIONS,
    *presence.OPERATIONS,
)

BY_EVENT: dict[str, Operation] = {
    operation.event: operation for operation in OPERATIONS if operation.event is not None
}
