"""Engine.IO and Socket.IO as an attacker speaks them: packets as text, none of them checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from tests.hostile.place import PATIENCE, Place, open_http
from tests.http_kit import Answer
from tests.scenarios.wire import CLOSE, TEXT, Frame, Wire, frame, handshake, open_wire

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"


class Engine:
    """One Engine.IO session on a WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._waiting: list[Frame] = []

    async def send(self, packet: str, opcode: int = TEXT) -> None:
        await self.wire.send(frame(packet.encode(), opcode))

    async def packet(self) -> str:
        """Return the next packet; the end of the connection is an error."""
        while not self._waiting:
            found = await self.wire.frames()
            assert found is not None, "the connection has ended"
            self._waiting = found
        assert self._waiting[0].opcode == TEXT, self._waiting
        return self._waiting.pop(0).payload.decode()

    async def until(self, prefix: str) -> str:
        """Return the first packet that begins so; those before it are forgotten."""
        while not (packet := await self.packet()).startswith(prefix):
            continue
        return packet

    async def connect(self, token: str) -> None:
        """Join the chat."""
        await self.send("40" + orjson.dumps({"token": token}).decode())
        await self.until("40{")

    async def ask(self, event: str, data: object) -> dict[str, Any]:
        """Emit an event with an ack, and return what that says."""
        await self.send("4277" + orjson.dumps([event, data]).decode())
        [answer] = orjson.loads((await self.until("4377["))[4:])
        said: dict[str, Any] = answer
        return said

    async def closed(self) -> int | None:
        """Read to the end and return the close code."""
        codes = [one.code for one in self._waiting if one.opcode == CLOSE]
        _, code = await self.wire.until_closed()
        return codes[0] if codes else code


@asynccontextmanager
async def open_session(place: Place, token: str | None = None) -> AsyncIterator[Engine]:
    """Open a session on a WebSocket, in the chat when there is a token."""
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(path=WEBSOCKET))
            head = await wire.head()
            assert head is not None
            assert head.startswith(b"HTTP/1.1 101 "), head
            engine = Engine(wire)
            await engine.until("0{")
            if token is not None:
                await engine.connect(token)
            yield engine


def poll(method: str, query: str, body: bytes | None = None, *lines: str) -> bytes:
    """Return a request of polling; `query` as it is."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    head = [f"{method} /socket.io/?{query} HTTP/1.1", "Host: localhost", *lines, *length, "", ""]
    return "\r\n".join(head).encode("latin-1") + (body or b"")


async def asked(place: Place, request: bytes, method: str = "GET") -> Answer:
    """Send one request of polling on a connection of its own."""
    async with open_http(place) as client:
        await client.send(request)
        return await client.read(method)


async def polled(place: Place, token: str) -> str:
    """Open a session by polling, join the chat, fetch all that it says; return its sid."""
    opened = await asked(place, poll("GET", "EIO=4&transport=polling"))
    assert opened.status == 200
    sid: str = orjson.loads(opened.body[1:])["sid"]
    await bring(place, sid, "40" + orjson.dumps({"token": token}).decode())
    said = ""
    while "connection:ready" not in said:
        said += (await fetch(place, sid)).body.decode()
    return sid


async def fetch(place: Place, sid: str) -> Answer:
    """GET what waits for a session."""
    return await asked(place, poll("GET", f"EIO=4&transport=polling&sid={sid}"))


async def bring(place: Place, sid: str, payload: str) -> Answer:
    """POST packets to a session."""
    return await asked(
        place, poll("POST", f"EIO=4&transport=polling&sid={sid}", payload.encode()), "POST"
    )
