"""How the chat is written on Socket.IO: packets, and the offsets of durable events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatd.context import RoomEvent
from chatd.model import dumps
from chatd.nurseries.chat_recovery import offset_of
from chatd.nurseries.chat_socket import RequestId
from chatd.nurseries.engine_session import EngineSession
from chatd.wire import engineio, socketio


class SocketIoWire:
    """Writes what the chat says as Socket.IO. See `chatd.nurseries.chat_socket.ChatWire`."""

    def __init__(self, wrap: Callable[[bytes], bytes]) -> None:
        self._wrap = wrap  # how the transport carries a packet

    def event(self, name: str, data: bytes) -> bytes:
        """Return an event without an offset: nobody recovers it."""
        return self._wrap(socketio.encode_event(name, data))

    def durable(self, event: RoomEvent) -> bytes:
        """Return a committed event, its offset behind the payload: the same for everybody."""
        offset = offset_of(event.session_id, event.seq)
        return self._wrap(socketio.encode_durable(event.name, event.data, offset))

    def greeting(self, data: bytes, offset: str) -> bytes:
        """Return `connection:ready`; with its offset a client that got no other can come back."""
        return self._wrap(socketio.encode_durable("connection:ready", data, offset))

    def answer(self, id_: RequestId, data: bytes) -> bytes:
        """Return the ack `{ok: true, ...}`."""
        assert isinstance(id_, int)  # noqa: S101 - as the decoder makes them
        body = b'{"ok":true}' if data == b"{}" else b'{"ok":true,' + data[1:]
        return self._wrap(socketio.encode_ack(id_, body))

    def refusal(self, id_: RequestId, event: str, error: dict[str, Any]) -> bytes:
        """Return the ack `{ok: false, error}`; without an id the event `request:failed`."""
        if isinstance(id_, int):
            return self._wrap(socketio.encode_ack(id_, dumps({"ok": False, "error": error})))
        return self.event("request:failed", dumps({"event": event[:64], "error": error}))

    def connected(self, socket_id: str, pid: str) -> bytes:
        """Return the CONNECT that lets a client in."""
        data = {"sid": socket_id, "pid": pid}
        return b"".join(map(self._wrap, socketio.encode(socketio.CONNECT, "/", data)))


FRAMED = SocketIoWire(engineio.framed)
QUEUED = SocketIoWire(engineio.queued)


def wire_of(session: EngineSession) -> SocketIoWire:
    """Return the wire of a session's transport of now."""
    return FRAMED if session.transport == "websocket" else QUEUED
