"""All operations, by name, event and route."""

from __future__ import annotations

from chatd.handlers import (
    accounts,
    ai,
    ai_sessions,
    api_tokens,
    audit,
    bans,
    bots,
    changes,
    devices,
    erasure,
    export,
    features,
    files,
    invites,
    mail,
    members,
    messages,
    passwords,
    pins,
    presence,
    profile,
    reading,
    search,
    second_factor,
    session_audit,
    sessions,
    settings,
    sign_in,
    users,
)
from chatd.handlers.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *features.OPERATIONS,
    *accounts.OPERATIONS,
    *second_factor.OPERATIONS,
    *sign_in.OPERATIONS,
    *mail.OPERATIONS,
    *passwords.OPERATIONS,
    *devices.OPERATIONS,
    *api_tokens.OPERATIONS,
    *bots.OPERATIONS,
    *users.OPERATIONS,
    *profile.OPERATIONS,
    *audit.OPERATIONS,
    *export.OPERATIONS,
    *erasure.OPERATIONS,
    *sessions.OPERATIONS,
    *settings.OPERATIONS,
    *members.OPERATIONS,
    *bans.OPERATIONS,
    *invites.OPERATIONS,
    *session_audit.OPERATIONS,
    *messages.OPERATIONS,
    *changes.OPERATIONS,
    *pins.OPERATIONS,
    *reading.OPERATIONS,
    *search.OPERATIONS,
    *files.OPERATIONS,
    *presence.OPERATIONS,
    *ai_sessions.OPERATIONS,
    *ai.OPERATIONS,
)

BY_EVENT: dict[str, Operation] = {
    operation.event: operation for operation in OPERATIONS if operation.event is not None
}
