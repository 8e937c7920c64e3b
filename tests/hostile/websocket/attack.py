"""What the attacks share: their target, and how to send what nobody should."""

from __future__ import annotations

import orjson
import pytest
import trio

from tests.hostile.place import PATIENCE, SOON, Place
from tests.scenarios.wire import (
    TEXT,
    Frame,
    Wire,
    frame,
    open_wire,
)

__all__ = ["FLAT", "GET", "PATIENCE", "SOON", "Place"]

FLAT = 16 * 2**20  # bytes that the daemon may grow by at most, whatever is sent
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def request(event: str, **data: object) -> bytes:
    return orjson.dumps({"event": event, "id": 1, "data": data})


async def attack(
    place: Place, data: bytes, *, logged_in: bool = True
) -> tuple[list[Frame], int | None]:
    """Send bytes on a new WebSocket, and return what came back until the server closed it."""
    async with open_wire(place.port) as wire:
        await wire.upgrade(place.ann.token if logged_in else None)
        await wire.send(data)
        return await wire.until_closed()


async def is_answered(wire: Wire) -> bool:
    """Return whether a live WebSocket answers a request, whatever else it says before."""
    await wire.send(frame(orjson.dumps({"event": "session:list", "id": "last", "data": {}})))
    while (found := await wire.frames()) is not None:
        for one in found:
            if one.opcode == TEXT and orjson.loads(one.payload).get("id") == "last":
                return True
    return False


async def pour(wire: Wire, data: bytes) -> None:
    """Send the same bytes until the server hangs up."""
    try:
        while True:
            await wire.send(data)
    except trio.BrokenResourceError:
        return


async def send_many(wire: Wire, opening: bytes, more: bytes, times: int) -> None:
    at_once = max(1, 65_536 // len(more))
    try:
        await wire.send(opening)
        for done in range(0, times, at_once):
            await wire.send(more * min(at_once, times - done))
    except trio.BrokenResourceError:
        return


async def first_answer(wire: Wire) -> dict[str, dict[str, object]]:
    while (found := await wire.frames()) is not None:
        for said in (orjson.loads(one.payload) for one in found if one.opcode == TEXT):
            if "ok" in said:
                answer: dict[str, dict[str, object]] = said
                return answer
    pytest.fail("closed without an answer")
