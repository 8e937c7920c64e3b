"""Presence and typing (protocol.md section 6)."""

from __future__ import annotations

from datetime import timedelta

from chatd.context import Caller, Services
from chatd.errors import NotAMember
from chatd.events.answers import Nothing
from chatd.events.presence import StatusAnswer, Statuses, StatusQuery, StatusSet
from chatd.events.sessions import SessionRef
from chatd.handlers.operations import Operation, Route
from chatd.handlers.refusals import wrong
from chatd.limits import Rate
from chatd.model import dumps
from chatd.payloads import presence_dict

MAX_TYPING_MEMBERS = 100  # of a session; above it somebody always types, and nobody looks
MAX_UNTIL = timedelta(days=366)


async def set_status(services: Services, caller: Caller, command: StatusSet) -> bytes:
    """Set the caller's status and return it as others see it."""
    presence, user_id = services.presence, caller.user_id
    if command.until is not None:
        left = command.until - services.now()
        if not timedelta(0) < left <= MAX_UNTIL:
            raise wrong("until", "does not lie ahead, or by more than a year")
    if command.status == "AWAY":
        if caller.socket is None:
            raise wrong("status", "AWAY is a device's: set it on its socket")
        return dumps({"presence": presence.set_away(caller.socket)})
    manual = None if command.status == "ONLINE" else command.status
    await services.store.set_status(
        user_id, manual_status=manual, text=command.text, until=command.until
    )
    view = presence.set_manual(user_id, manual, command.text, command.until, socket=caller.socket)
    return dumps({"presence": view})


async def be_active(_services: Services, _caller: Caller, _command: Nothing) -> bytes:
    """Do nothing: that it was asked is the sign of life."""
    return b"{}"


async def statuses(services: Services, caller: Caller, command: StatusQuery) -> bytes:
    """Return who of these is there; who may not be seen looks like nobody: OFFLINE, never seen."""
    store, user_ids = services.store, list(dict.fromkeys(command.user_ids))
    if services.presence.is_everyone:
        rows = await store.users_by_ids(user_ids)
    else:
        rows = await store.acquaintances(caller.user_id, user_ids)
    views = services.presence.views((row.id, row.last_seen) for row in rows)
    known = {view["userId"]: view for view in views}
    return dumps(
        {
            "presence": [
                known.get(each) or presence_dict(each, "OFFLINE", None, None) for each in user_ids
            ]
        }
    )


async def start_typing(services: Services, caller: Caller, command: SessionRef) -> bytes:
    """Tell the others in a joined session that the caller types."""
    _joined_here(caller, command)
    if services.presence.members_of(command.session_id) <= MAX_TYPING_MEMBERS:
        services.typing.start(command.session_id, caller.user_id)
    return b"{}"


async def stop_typing(services: Services, caller: Caller, command: SessionRef) -> bytes:
    """Tell the others in a joined session that the caller types no longer."""
    _joined_here(caller, command)
    services.typing.stop(command.session_id, caller.user_id)
    return b"{}"


def _joined_here(caller: Caller, command: SessionRef) -> None:
    if caller.socket is None or command.session_id not in caller.socket.places:
        raise NotAMember


OPERATIONS = (
    Operation(
        "status-set",
        StatusSet,
        StatusAnswer,
        "Set the caller's status",
        run=set_status,
        event="status:set",
        route=Route("POST", "/users/me/status"),
        is_activity=False,  # AWAY is the opposite; what it means is told once, by itself
        rate=Rate(1, 10),
    ),
    Operation(
        "status-active",
        Nothing,
        Nothing,
        "The caller is at this device",
        run=be_active,
        is_for_unverified=True,
        event="status:active",
        needs_socket=True,
        rate=Rate(10 / 30, 20),  # each of ten sockets twice a minute
    ),
    Operation(
        "users-status",
        StatusQuery,
        Statuses,
        "Who of these users is there",
        run=statuses,
        is_for_unverified=True,
        event="users:status",
        route=Route("POST", "/users/status"),
        rate=Rate(2, 20),
        is_lookup=True,
    ),
    Operation(
        "typing-start",
        SessionRef,
        Nothing,
        "The caller types",
        run=start_typing,
        event="typing:start",
        needs_socket=True,
        rate=Rate(1, 10),
    ),
    Operation(
        "typing-stop",
        SessionRef,
        Nothing,
        "The caller types no longer",
        run=stop_typing,
        event="typing:stop",
        needs_socket=True,
        rate=Rate(1, 10),
    ),
)
