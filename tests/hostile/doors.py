"""One operation by each door: what it answers, or the error with which it refuses."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import orjson
import pytest
import trio
from pydantic.alias_generators import to_camel

from chatd.handlers.operations import Operation
from tests.hostile.engine import open_session
from tests.hostile.place import PATIENCE, Place, ask
from tests.scenarios.wire import TEXT, frame, open_wire

Door = Callable[[Place, str, Operation, dict[str, Any]], Awaitable[dict[str, Any]]]
STATUS = {"not_a_member": 403, "not_found": 404, "validation_failed": 422}


async def by_rest(
    place: Place, token: str, operation: Operation, data: dict[str, Any]
) -> dict[str, Any]:
    """Ask by the route; a status must be its code's."""
    route = operation.route
    assert route is not None
    left = dict(data)

    def take(match: re.Match[str]) -> str:
        return str(left.pop(to_camel(match[1]), uuid4()))

    path = re.sub(r"<\w+:(\w+)>", take, route.path)
    in_query = route.method in {"GET", "DELETE"} and not route.takes_body
    if in_query and left:
        path += "?" + urlencode(left)
    answer = await ask(place, route.method, path, None if in_query else left, token=token)
    said: dict[str, Any] = answer.json
    if answer.status == route.status:
        return said
    assert answer.status == STATUS[answer.code]
    error: dict[str, Any] = said["error"]
    return error


async def by_ws(
    place: Place, token: str, operation: Operation, data: dict[str, Any]
) -> dict[str, Any]:
    """Ask on `/ws`."""
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(token)
            await wire.send(frame(orjson.dumps({"event": operation.event, "id": 7, "data": data})))
            while (found := await wire.frames()) is not None:
                for said in (orjson.loads(one.payload) for one in found if one.opcode == TEXT):
                    if said.get("id") == 7:
                        answer: dict[str, Any] = said["data"] if said["ok"] else said["error"]
                        return answer
    pytest.fail("closed without an answer")


async def by_socketio(
    place: Place, token: str, operation: Operation, data: dict[str, Any]
) -> dict[str, Any]:
    """Ask over Socket.IO."""
    async with open_session(place, token) as engine:
        said = await engine.ask(operation.event or "", data)
    is_done = said.pop("ok")
    answer: dict[str, Any] = said if is_done else said["error"]
    return answer


def doors_of(operation: Operation) -> dict[str, Door]:
    """Return the doors by which an operation is reached."""
    by_route: dict[str, Door] = {} if operation.route is None else {"rest": by_rest}
    if operation.event is None:
        return by_route
    return by_route | {"ws": by_ws, "socket.io": by_socketio}
