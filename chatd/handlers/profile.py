"""The profile: what others see of the caller, changed and told."""

from __future__ import annotations

from chatd.context import Caller, Services
from chatd.errors import Unauthorized
from chatd.events.accounts import Me
from chatd.events.profile import UserUpdate
from chatd.handlers.files import files_of
from chatd.handlers.operations import Operation, Route
from chatd.handlers.refusals import missing
from chatd.limits import Rate
from chatd.model import account_dict, dumps, user_dict

TOLD_SESSIONS = 500  # whose members hear of it, the latest active: as many as a connect is told


async def update(services: Services, caller: Caller, command: UserUpdate) -> bytes:
    """Change the caller's name or avatar; who is connected and shares a session is told."""
    store = services.store
    if command.avatar_file_id is not None:
        files_of(services)
        user = await store.set_avatar_file(
            caller.user_id, command.avatar_file_id, name=command.name
        )
        if user is None:
            raise missing("avatarFileId", "no complete picture of yours, or one of a session")
    else:
        user = await store.update_user(
            caller.user_id,
            name=command.name,
            avatar=command.avatar,
            sets_avatar=command.sets_avatar,
        )
    if user is None:
        raise Unauthorized
    states = await store.first_states([user.id], TOLD_SESSIONS)
    _, positions = states.get(user.id, (user, []))
    event = dumps({"user": user_dict(user)})
    services.presence.announce(
        user.id, [row.session_id for row in positions], "user:updated", event
    )
    return dumps({"user": account_dict(user)})


OPERATIONS = (
    Operation(
        "user-update",
        UserUpdate,
        Me,
        "Change the caller's name or avatar",
        run=update,
        event="user:update",
        route=Route("PATCH", "/users/me"),
        rate=Rate(0.1, 10),  # each is told to everybody around
    ),
)
