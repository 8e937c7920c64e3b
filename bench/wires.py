"""How to speak to a server: bytes to send, and what the bytes that come back mean.

A `Wire` knows a protocol and nothing about sockets, so that a scenario can be told to another
server by another wire.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any, Protocol

from bench.frames import CLOSE, PING, PONG, masked


class Wire(Protocol):
    """One protocol over a WebSocket, seen from a client."""

    name: str
    mark: bytes  # stands in the first `MARK_WITHIN` bytes of a delivered message

    def upgrade(self, host: str, token: str) -> bytes:
        """Return the request head that opens a connection."""
        ...

    def hello(self, token: str) -> bytes:
        """Return what a client says first after the 101, nothing when the head says it all."""
        ...

    def join(self, request_id: int, session_id: str) -> bytes:
        """Return the frame that joins a session."""
        ...

    def send(self, request_id: int, session_id: str, content: str) -> bytes:
        """Return the frame that sends a message."""
        ...

    def is_ready(self, payload: bytes) -> bool:
        """Tell whether a payload says that the connection is authenticated."""
        ...

    def answer(self, payload: bytes) -> tuple[int, str | None] | None:
        """Return request id and error code (None: done) of an answer; None for anything else."""
        ...

    def reply(self, opcode: int, payload: bytes) -> bytes:
        """Return what keeps the connection alive, or nothing."""
        ...


class PlainWire:
    """chatd's plain WebSocket at `/ws` (protocol.md section 1)."""

    name = "/ws"
    mark = b'"message:new"'

    def upgrade(self, host: str, token: str) -> bytes:
        """Return a head with the token in it: no first frame is needed."""
        return upgrade_head("/ws", host, token)

    def hello(self, token: str) -> bytes:
        """Return nothing: the head said it all."""
        del token
        return b""

    def join(self, request_id: int, session_id: str) -> bytes:
        """Return `session:join`."""
        return _request("session:join", request_id, {"sessionId": session_id})

    def send(self, request_id: int, session_id: str, content: str) -> bytes:
        """Return `message:send`, with a clientMsgId as real clients have."""
        data = {
            "sessionId": session_id,
            "content": content,
            "clientMsgId": base64.urlsafe_b64encode(os.urandom(15)).decode(),
        }
        return _request("message:send", request_id, data)

    def is_ready(self, payload: bytes) -> bool:
        """Tell `connection:ready` from everything else."""
        return b'"connection:ready"' in payload[:64]

    def answer(self, payload: bytes) -> tuple[int, str | None] | None:
        """Read `{"id", "ok", "data" | "error"}`."""
        frame = json.loads(payload)
        if "ok" not in frame:
            return None
        return frame["id"], None if frame["ok"] else frame["error"]["code"]

    def reply(self, opcode: int, payload: bytes) -> bytes:
        """Answer a ping."""
        if opcode == CLOSE:
            raise ConnectionError(f"closed by the server: {payload!r}")
        return masked(payload, PONG) if opcode == PING else b""


def upgrade_head(path: str, host: str, token: str) -> bytes:
    """Return the head of a WebSocket upgrade that carries a bearer token."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {token}",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _request(event: str, request_id: int, data: dict[str, Any]) -> bytes:
    frame = {"event": event, "id": request_id, "data": data}
    return masked(json.dumps(frame, separators=(",", ":")).encode())


WIRES: dict[str, type[Wire]] = {"plain": PlainWire}
