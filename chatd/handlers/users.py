"""People: find somebody by their address, look somebody up by id."""

from __future__ import annotations

from chatd.context import Caller, Services
from chatd.errors import NotFound
from chatd.events.people import UserAnswer, UserQuery, UserRef, Users
from chatd.handlers.operations import Operation, Route
from chatd.limits import Rate
from chatd.model import dumps, user_dict


async def find(services: Services, _caller: Caller, command: UserQuery) -> bytes:
    """Return the one user with this address, or nobody: addresses cannot be browsed."""
    user = await services.store.user_by_email(command.query)
    return dumps({"users": [] if user is None else [user_dict(user)]})


async def get(services: Services, _caller: Caller, command: UserRef) -> bytes:
    """Return a user as others see them."""
    users = await services.store.users_by_ids([command.user_id])
    if not users:
        raise NotFound
    return dumps({"user": user_dict(users[0])})


OPERATIONS = (
    Operation(
        "user-find",
        UserQuery,
        Users,
        "The user with an e-mail address",
        run=find,
        event="user:find",
        route=Route("GET", "/users"),
        rate=Rate(1, 20),
    ),
    Operation(
        "user-get",
        UserRef,
        UserAnswer,
        "One user",
        run=get,
        event="user:get",
        route=Route("GET", "/users/<uuid:user_id>"),
    ),
)
