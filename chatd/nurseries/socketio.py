"""Socket.IO (protocol 5) on one Engine.IO session: namespaces, events, acks, refusals.

What a namespace does with its sockets is its own: see `chatd.nurseries.event_namespace` for
handlers of one's own, and `chatd.nurseries.chat_namespace` for the chat.
https://github.com/socketio/socket.io-protocol
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog
import trio

from chatd.errors import CloseCode
from chatd.ids import random_text
from chatd.nurseries.engine_session import EngineSession, Opening
from chatd.wire import socketio
from chatd.wire.engineio import ParseError

MAX_NAMESPACES = 8  # of one session, refused ones counted
MAX_CONNECTS = 64  # of one session, namespaces left again counted: each may cost a login

log = structlog.get_logger("chatd.socketio")

_REASONS = {
    CloseCode.NORMAL: "transport close",
    CloseCode.ABNORMAL: "transport error",
    CloseCode.TOO_BIG: "transport error",
    CloseCode.SLOW: "transport error",
    CloseCode.HEARTBEAT_LOST: "ping timeout",
    CloseCode.PROTOCOL_ERROR: "parse error",
    CloseCode.INVALID_DATA: "parse error",
    CloseCode.BAD_REQUEST: "parse error",
    CloseCode.SHUTDOWN: "server shutting down",
    CloseCode.DRAINING: "server shutting down",
    CloseCode.GOING_AWAY: "server shutting down",
    CloseCode.SUPERSEDED: "transport close",
}
CLIENT_LEFT = "client namespace disconnect"
SERVER_DROPPED = "server namespace disconnect"
RECOVERABLE = frozenset(
    (
        "transport close",
        "transport error",
        "ping timeout",
        "forced close",
        "forced server close",
        "server shutting down",
    )
)
"""After these a stock client comes back with its `pid`; the others it or we meant."""


def new_socket_id() -> str:
    """Return the id of a client in a namespace: 120 random bits; public, unlike sid and pid."""
    return random_text(15)


def reason_of(code: CloseCode) -> str:
    """Return why a session ended in the words of Node's server."""
    return _REASONS.get(code, "forced server close")


class ConnectRefused(Exception):
    """A namespace does not take this client; it gets `connect_error` with the same words.

    Args:
        message: becomes the message of the client's Error.
        data: JSON-ready, becomes its `data`.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.payload = {"message": message} if data is None else {"message": message, "data": data}


class NamespaceSocket(Protocol):
    """One client in one namespace."""

    async def receive(self, args: list[Any], id_: int | None, *, is_binary: bool) -> None:
        """Take an event, its name first; the session's next packet waits."""

    def take_at_once(self, text: bytes, now: float) -> bool:
        """Take a packet, not decoded yet, without a wait; False: nothing was done with it.

        Raises:
            ParseError: it is none, and nothing was done.
        """

    def acked(self, id_: int, args: list[Any]) -> None:
        """Take the client's answer to an event of ours; never waits."""

    def switched(self) -> None:
        """A WebSocket has taken over from polling."""

    def left(self, reason: str, code: CloseCode) -> None:
        """The client is gone from the namespace; called once, never waits."""

    def last_packets(self, code: CloseCode) -> Sequence[bytes]:
        """Return what tells the client why the session ends."""


class Namespace(Protocol):
    """Where clients connect to."""

    async def admit(self, session: SocketIoSession, auth: dict[str, Any]) -> NamespaceSocket:
        """Let a client in and send its CONNECT, ahead of all events.

        Raises:
            ConnectRefused: it may not; it is told, and its session goes on.
        """


class SocketIoSession(EngineSession):
    """One client and the namespaces it has joined.

    Args:
        connect_timeout: seconds to join a namespace, also after leaving the last one.
        first_bytes: size of a payload before that; the usual one when None.
    """

    __slots__ = (
        "_connect_timeout",
        "_connects",
        "_decoder",
        "_namespaces",
        "_refused",
        "_sockets",
        "_words",
    )

    def __init__(
        self,
        opening: Opening,
        namespaces: Mapping[str, Namespace],
        *,
        connect_timeout: float,
        first_bytes: int | None = None,
    ) -> None:
        super().__init__(opening)
        if first_bytes is not None:
            self.limit = min(first_bytes, self.limit)
        self._namespaces = namespaces
        self._sockets: dict[str, NamespaceSocket] = {}
        self._refused = 0
        self._connects = 0
        self._words: Sequence[bytes] = ()  # what tells the client why the session ends
        self._decoder = socketio.Decoder(self.max_payload)
        self._connect_timeout = connect_timeout

    @property
    def is_joined(self) -> bool:
        """Whether the client is in a namespace."""
        return bool(self._sockets)

    def emit(self, type_: int, namespace: str, data: Any = None, id_: int | None = None) -> None:
        """Send one Socket.IO packet with its attachments in one piece."""
        self.send(socketio.encode(type_, namespace, data, id_))

    def disconnect(self, namespace: str) -> None:
        """Send the client away from a namespace: it stays away until it connects by itself."""
        socket = self._sockets.pop(namespace, None)
        if socket is not None:
            self.emit(socketio.DISCONNECT, namespace)
            socket.left(SERVER_DROPPED, CloseCode.NORMAL)
            self._await_connect()

    # Packets

    def _opened(self) -> None:
        self._await_connect()

    async def _message(self, data: bytes) -> None:
        packet = self._decoder.feed(data)
        if packet is None:
            return
        socket = self._sockets.get(packet.namespace)
        if packet.type == socketio.EVENT and socket is not None:
            await socket.receive(packet.data, packet.id, is_binary=packet.is_binary)
        elif packet.type == socketio.CONNECT and socket is None:
            await self._connect(packet.namespace, packet.data or {})
        elif packet.type == socketio.DISCONNECT:
            if socket is not None:
                del self._sockets[packet.namespace]
                socket.left(CLIENT_LEFT, CloseCode.NORMAL)
                self._await_connect()
        elif packet.type == socketio.ACK and socket is not None:
            assert packet.id is not None  # noqa: S101 - the decoder has refused it
            socket.acked(packet.id, packet.data)
        else:
            msg = "an event without a CONNECT, or a second CONNECT"
            raise ParseError(msg)

    def _message_at_once(self, data: bytes, now: float) -> bool:
        socket = self._sockets.get("/")
        if socket is None or self._decoder.is_waiting:
            return False
        return socket.take_at_once(data, now)

    async def _connect(self, name: str, auth: dict[str, Any]) -> None:
        namespace = self._namespaces.get(name)
        self._connects += 1
        is_greedy = len(self._sockets) + self._refused >= MAX_NAMESPACES
        if is_greedy or self._connects > MAX_CONNECTS:
            self.cut(CloseCode.NOT_AUTHENTICATED)
            return
        try:
            if namespace is None:
                raise ConnectRefused("Invalid namespace")
            self._sockets[name] = await namespace.admit(self, auth)
        except ConnectRefused as refusal:
            self._refused += 1
            self.emit(socketio.CONNECT_ERROR, name, refusal.payload)
            return
        self.allow(self.max_payload)

    def _await_connect(self) -> None:
        if not self._sockets:
            self.heartbeat.watch(ConnectAlarm(self, trio.current_time() + self._connect_timeout))

    def _switched(self) -> None:
        for socket in self._sockets.values():
            socket.switched()

    # End

    def _ended(self, code: CloseCode) -> None:
        reason = reason_of(code)
        log.debug("session ended", connection=self.id, reason=reason)
        sockets, self._sockets = self._sockets, {}
        for socket in sockets.values():
            self._words = [*self._words, *socket.last_packets(code)]
            socket.left(reason, code)

    def _last_packets(self) -> Sequence[bytes]:
        return self._words


class ConnectAlarm:
    """Ends a session that joins no namespace in time. See `chatd.nurseries.heartbeat.Alarm`."""

    __slots__ = ("_session", "due")

    def __init__(self, session: SocketIoSession, due: float) -> None:
        self._session = session
        self.due = due

    def ring(self) -> None:
        """End the session, unless it has joined meanwhile."""
        self.due = math.inf
        if not self._session.is_joined:
            self._session.cut(CloseCode.NOT_AUTHENTICATED)
