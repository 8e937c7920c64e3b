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

    def greeting(self, payload: bytes, token: str) -> bytes:
        """Return what a client that is not ready says to a payload, or nothing."""
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

    def greeting(self, payload: bytes, token: str) -> bytes:
        """Return nothing: the head said it all."""
        del payload, token
        return b""

    def join(self, request_id: int, session_id: str) -> bytes:
        """Return `session:join`."""
        return _request("session:join", request_id, {"sessionId": session_id})

    def send(self, request_id: int, session_id: str, content: str) -> bytes:
        """Return `message:send`, with a clientMsgId as real clients have."""
        return _request("message:send", request_id, _message(session_id, content))

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


class SocketIoWire:
    """Socket.IO 5 over Engine.IO 4, WebSocket only: the same for chatd and for its peers.

    https://socket.io/docs/v4/socket-io-protocol/, https://socket.io/docs/v4/engine-io-protocol/
    """

    name = "/socket.io/"
    mark = b'42["message:new"'

    def upgrade(self, host: str, token: str) -> bytes:
        """Return a head without the token: it comes with CONNECT."""
        del token
        return upgrade_head("/socket.io/?EIO=4&transport=websocket", host)

    def greeting(self, payload: bytes, token: str) -> bytes:
        """Answer Engine.IO's open packet with CONNECT to the default namespace.

        Raises:
            ConnectionError: CONNECT was refused.
        """
        if payload.startswith(b"44"):
            raise ConnectionError(f"refused: {payload!r}")
        return masked(b"40" + _compact({"token": token})) if payload.startswith(b"0") else b""

    def join(self, request_id: int, session_id: str) -> bytes:
        """Return `session:join`."""
        return _event("session:join", request_id, {"sessionId": session_id})

    def send(self, request_id: int, session_id: str, content: str) -> bytes:
        """Return `message:send`, with a clientMsgId as real clients have."""
        return _event("message:send", request_id, _message(session_id, content))

    def is_ready(self, payload: bytes) -> bool:
        """Tell the answer to CONNECT from everything else."""
        return payload.startswith(b'40{"sid"')

    def answer(self, payload: bytes) -> tuple[int, str | None] | None:
        """Read `43<id>[{"ok", "data" | "error"}]`; what went well is not parsed."""
        if not payload.startswith(b"43"):
            return None
        start = payload.index(b"[")
        request_id = int(payload[2:start])
        if payload.startswith(b'[{"ok":true', start):
            return request_id, None
        (answer,) = json.loads(payload[start:])
        return request_id, None if answer["ok"] else answer["error"]["code"]

    def reply(self, opcode: int, payload: bytes) -> bytes:
        """Answer a ping of the WebSocket or of Engine.IO."""
        if opcode == CLOSE or payload.startswith(b"41"):
            raise ConnectionError(f"closed by the server: {payload!r}")
        if opcode == PING:
            return masked(payload, PONG)
        return masked(b"3") if payload == b"2" else b""


def upgrade_head(path: str, host: str, token: str = "") -> bytes:
    """Return the head of a WebSocket upgrade that carries a bearer token, if there is one."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *((f"Authorization: Bearer {token}",) if token else ()),
    )
    return "\r\n".join((*lines, "", "")).encode()


def _message(session_id: str, content: str) -> dict[str, Any]:
    client_msg_id = base64.urlsafe_b64encode(os.urandom(15)).decode()
    return {"sessionId": session_id, "content": content, "clientMsgId": client_msg_id}


def _request(event: str, request_id: int, data: dict[str, Any]) -> bytes:
    return masked(_compact({"event": event, "id": request_id, "data": data}))


def _event(event: str, ack_id: int, data: dict[str, Any]) -> bytes:
    return masked(b"42%d%b" % (ack_id, _compact([event, data])))


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


WIRES: dict[str, type[Wire]] = {"plain": PlainWire, "socketio": SocketIoWire}
