"""What a virtual person writes and reads on each of the server's two live wires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    id: int
    ok: bool
    content: dict[str, Any]  # the data, or the error


@dataclass(frozen=True, slots=True)
class Push:
    """An event of the server's."""

    name: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Echo:
    """What the wire itself asks to be sent back, such as Engine.IO's pong."""

    text: str


Read = Reply | Push | Echo | None


class PersonWire(Protocol):
    """One wire, as its client sees it."""

    path: str

    def greeting(self, token: str) -> str:
        """Return the message that presents the token."""

    def request(self, event: str, id_: int, data: dict[str, Any]) -> str:
        """Return an event that asks for an answer."""

    def read(self, text: str) -> Read:
        """Return what a message of the server says; None for what says nothing."""


class PlainWire:
    """`/ws`: JSON objects."""

    path = "/ws"

    def greeting(self, token: str) -> str:
        """Return the first frame."""
        return _json({"event": "auth", "data": {"token": token}})

    def request(self, event: str, id_: int, data: dict[str, Any]) -> str:
        """Return a request. See `PersonWire`."""
        return _json({"event": event, "id": id_, "data": data})

    def read(self, text: str) -> Read:
        """Return what a frame says. See `PersonWire`."""
        frame = orjson.loads(text)
        if "event" in frame:
            return Push(frame["event"], frame["data"])
        if frame.get("id") is None:  # of the greeting, or an error without an id
            return None
        return Reply(frame["id"], frame["ok"], frame["data" if frame["ok"] else "error"])


class SocketIoWire:
    """Socket.IO on a WebSocket, one namespace: a digit for Engine.IO, one for Socket.IO, JSON."""

    path = "/socket.io/?EIO=4&transport=websocket"

    def greeting(self, token: str) -> str:
        """Return CONNECT."""
        return "40" + _json({"token": token})

    def request(self, event: str, id_: int, data: dict[str, Any]) -> str:
        """Return an event with an ack id. See `PersonWire`."""
        return f"42{id_}" + _json([event, data])

    def read(self, text: str) -> Read:
        """Return what a packet says. See `PersonWire`."""
        kind = text[:2]
        if kind == "2":
            return Echo("3")
        if kind == "42":
            name, data = orjson.loads(text[2:])[:2]  # a durable event has its offset behind it
            return Push(name, data)
        if kind == "43":
            id_, bracket, rest = text[2:].partition("[")
            [answer] = orjson.loads(bracket + rest)
            ok = answer.pop("ok")
            return Reply(int(id_), ok, answer if ok else answer["error"])
        if kind == "44":
            return Reply(0, ok=False, content=orjson.loads(text[2:])["data"])
        return None


def _json(value: Any) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    msg = f"{type(value).__name__} is nothing that JSON has"
    raise TypeError(msg)
