"""People: find somebody by a name or an address, look somebody up by id."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from chatd.context import Caller, Services
from chatd.errors import NotFound
from chatd.events.people import UserAnswer, UserList, UserPage, UserRef
from chatd.handlers.operations import Operation, Route
from chatd.handlers.refusals import wrong
from chatd.limits import Rate
from chatd.model import dumps, user_dict
from chatd.rows import FoundUser


async def list_users(services: Services, _caller: Caller, command: UserList) -> bytes:
    """Return a page of the users whose name holds the query, or whose whole address it is.

    All accounts of this server are visible. A part of an address finds nobody: addresses cannot
    be guessed letter by letter.
    """
    after = None if command.cursor is None else _read_cursor(command.cursor)
    rows = await services.store.find_users(command.query, after=after, limit=command.limit + 1)
    page = rows[: command.limit]
    cursor = _cursor_of(page[-1]) if len(rows) > command.limit else None
    return dumps({"users": [user_dict(row.user) for row in page], "nextCursor": cursor})


def _cursor_of(row: FoundUser) -> str:
    return base64.urlsafe_b64encode(f"{row.rank}:{row.user.id}:{row.key}".encode()).decode()


def _read_cursor(cursor: str) -> tuple[int, str, UUID]:
    try:
        rank, user_id, key = base64.urlsafe_b64decode(cursor.encode()).decode().split(":", 2)
        if rank not in {"0", "1"} or "\0" in key:
            raise ValueError
        return int(rank), key, UUID(user_id)
    except (ValueError, binascii.Error):
        raise wrong("cursor", "is not one of ours") from None


async def get(services: Services, _caller: Caller, command: UserRef) -> bytes:
    """Return a user as others see them."""
    users = await services.store.users_by_ids([command.user_id])
    if not users:
        raise NotFound
    return dumps({"user": user_dict(users[0])})


OPERATIONS = (
    Operation(
        "user-list",
        UserList,
        UserPage,
        "Users by a part of their name, or by their whole e-mail address",
        run=list_users,
        event="user:list",
        route=Route("GET", "/users"),
        rate=Rate(2, 20),  # each looks at every name
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
