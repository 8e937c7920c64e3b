"""A Socket.IO namespace of one's own: handlers for events, acks both ways, recovery if wanted.

The chat does not use it; it is what the two layers below are to somebody who builds on them. Each
socket's events are handled in their order by one task; answers to its `call` are resolved by the
session's reader, so that a handler may wait for one.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio

from chatd.errors import CloseCode, InternalError
from chatd.nurseries.event_state import EventState
from chatd.nurseries.recovery import Recoveries, new_pid
from chatd.nurseries.socketio import (
    RECOVERABLE,
    SocketIoSession,
    new_socket_id,
    reason_of,
)
from chatd.wire import socketio

INBOX = 32  # events of one socket that wait for its handlers; then its session is not read
CALLING_INBOX = 512  # the same while a handler awaits an answer, which stands behind them
FAREWELL_TIMEOUT = 10.0  # seconds for the hook of a disconnect

log = structlog.get_logger("chatd.socketio")


class AckError(Exception):
    """The answer will not come: the client is gone."""


Handler = Callable[..., Awaitable[Any]]


async def _nothing(*_args: Any) -> None:
    """Do nothing: the hook of a namespace that has none."""


@dataclass(eq=False)
class EventNamespace:
    """See `chatd.nurseries.socketio.Namespace`.

    Args:
        authorize: called with a socket ahead of its CONNECT; raises `ConnectRefused`.
        connected: called behind it, ahead of all events.
        disconnected: called once with the socket and the reason, in Node's words.
        recovery_seconds: how long a client may be away; 0 for no recovery.
    """

    name: str = "/"
    authorize: Handler = _nothing
    connected: Handler = _nothing
    disconnected: Handler = _nothing
    recovery_seconds: float = 0
    handlers: dict[str, Handler] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recoveries = Recoveries[EventState](self.recovery_seconds)

    def on(self, event: str) -> Callable[[Handler], Handler]:
        """Decorate the handler of an event; what it returns is the ack, a tuple several values."""

        def register(handler: Handler) -> Handler:
            self.handlers[event] = handler
            return handler

        return register

    async def admit(self, session: SocketIoSession, auth: dict[str, Any]) -> EventSocket:
        """Let a client in. See `chatd.nurseries.socketio.Namespace`."""
        pid, offset = auth.get("pid"), auth.get("offset")
        # Refused or not, a recovered client is asked again.
        socket = EventSocket(self, session, auth, offset)
        await self.authorize(socket)
        state = None
        if self.recovery_seconds and isinstance(pid, str):
            state = self.recoveries.claim(pid, None, offset)
        missed = None if state is None else state.missed(offset)
        if state is not None and missed is not None:
            socket.resume(state, str(pid), missed)
        elif self.recovery_seconds:
            socket.pid = new_pid()
        socket.open()
        return socket


class EventSocket:
    """One client in the namespace. See `chatd.nurseries.socketio.NamespaceSocket`.

    `data` is the application's and is kept over a recovery.
    """

    def __init__(
        self,
        namespace: EventNamespace,
        session: SocketIoSession,
        auth: dict[str, Any],
        origin: object,
    ) -> None:
        self.id = new_socket_id()
        self.auth = {key: auth[key] for key in auth if key not in {"pid", "offset"}}
        self.data: dict[str, Any] = {}
        self.pid: str | None = None
        self.is_connected = False
        self.is_recovered = False
        self._resumed_at = 0  # events that were sent before this connection
        self._namespace = namespace
        self._session = session
        self._state = EventState(self.id, self.data, origin, holder=self)
        self._ids = itertools.count()
        self._acks: dict[int, trio.MemorySendChannel[list[Any]]] = {}
        self._inbox: deque[tuple[list[Any], int | None]] = deque()
        self._arrived = trio.Event()  # something to handle, or nothing will come any more
        self._has_room = trio.Event()  # the inbox may have: look again
        self._reason: str | None = None

    # Out

    def emit(self, event: str, *args: Any) -> bool:
        """Send an event, kept for recovery; False when the client is gone. Never waits.

        Raises:
            ValueError: the arguments cannot be written: NaN, more than 10 attachments.
        """
        name, data = self._namespace.name, [event, *args]
        packets: Sequence[bytes]
        if self.pid is None:
            packets = socketio.encode(socketio.EVENT, name, data)
        elif self._state.holder is self:
            packets = self._state.note(name, data)
        if self.is_connected:
            self._session.send(packets)
        return self.is_connected

    async def call(self, event: str, *args: Any) -> list[Any]:
        """Send an event and return what the client acknowledges it with; the caller has a deadline.

        Raises:
            AckError: the client is gone, or goes before it answers.
        """
        if not self.is_connected:
            raise AckError(event)
        id_ = next(self._ids)
        give, take = trio.open_memory_channel[list[Any]](1)
        self._acks[id_] = give
        self._has_room.set()
        try:
            self._session.emit(socketio.EVENT, self._namespace.name, [event, *args], id_)
            return await take.receive()
        except trio.EndOfChannel:
            raise AckError(event) from None
        finally:
            self._acks.pop(id_, None)

    def disconnect(self) -> None:
        """Send the client away from this namespace; it stays away until it connects by itself."""
        self._session.disconnect(self._namespace.name)

    # In

    async def receive(self, args: list[Any], id_: int | None, *, is_binary: bool) -> None:
        """Queue an event; with many waiting the session's next packet waits too."""
        del is_binary  # handlers see bytes where attachments were
        while self.is_connected and len(self._inbox) >= (CALLING_INBOX if self._acks else INBOX):
            if self._acks:  # neither the answer nor room for it will come
                self._session.cut(CloseCode.RATE_LIMITED)
                await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
            self._has_room = trio.Event()
            await self._has_room.wait()
        if self.is_connected:  # else a handler has sent the client away meanwhile
            self._inbox.append((args, id_))
            self._arrived.set()

    def take_at_once(self, text: bytes, now: float) -> bool:
        """Leave everything to the task: handlers may wait."""
        del text, now
        return False

    def acked(self, id_: int, args: list[Any]) -> None:
        """Give an answer to who waits for it; an unknown id is ignored, as on Node."""
        give = self._acks.pop(id_, None)
        if give is not None:
            give.send_nowait(args)

    async def _serve(self) -> None:
        try:
            await self._guarded(self._namespace.connected, self)
            while self.is_connected or self._inbox:
                if not self._inbox:
                    self._arrived = trio.Event()
                    await self._arrived.wait()
                    continue
                args, id_ = self._inbox.popleft()
                self._has_room.set()
                handler = self._namespace.handlers.get(args[0])
                if handler is not None:
                    await self._answer(handler, args[1:], id_)
        finally:
            code = self._session.code or CloseCode.NORMAL
            reason = self._reason or reason_of(code)
            self.left(reason, code)  # the session says so only when all its tasks have ended
            with trio.move_on_after(FAREWELL_TIMEOUT, shield=True):
                await self._guarded(self._namespace.disconnected, self, reason)

    async def _answer(self, handler: Handler, args: list[Any], id_: int | None) -> None:
        is_done, result = await self._guarded(handler, self, *args)
        if id_ is None or not self.is_connected:
            return
        values = list(result) if isinstance(result, tuple) else [result]
        if is_done:
            try:
                answer = [] if result is None else values
                self._session.emit(socketio.ACK, self._namespace.name, answer, id_)
            except (ValueError, TypeError):
                log.exception("ack_failed", connection=self._session.id, handler=str(handler))
            else:
                return
        error = InternalError().to_wire(f"{self._session.id}-{id_}")
        refusal = [{"ok": False, "error": error}]
        self._session.emit(socketio.ACK, self._namespace.name, refusal, id_)

    async def _guarded(self, handler: Handler, *args: Any) -> tuple[bool, Any]:
        """Call code that is not ours; whatever it raises ends that call and nothing else."""
        try:
            return True, await handler(*args)
        except AckError as event:
            log.info("client_gone", connection=self._session.id, asked=str(event))
            return False, None
        except Exception:
            log.exception("handler_failed", connection=self._session.id, handler=str(handler))
            return False, None

    # Life

    def resume(self, state: EventState, pid: str, missed: list[list[bytes]]) -> None:
        """Be the socket that went, and send what it missed ahead of CONNECT."""
        self.id, self.pid, self.data = state.socket_id, pid, state.data
        self._state, state.holder = state, self
        self._resumed_at = state.count
        self.is_recovered = True
        for packets in missed:
            self._session.send(packets)

    def open(self) -> None:
        """Send CONNECT and begin to handle events."""
        self.is_connected = True
        data = {"sid": self.id}
        if self.pid is not None:
            data["pid"] = self.pid
            self._namespace.recoveries.opened(self.pid, None, self)
        self._session.emit(socketio.CONNECT, self._namespace.name, data)
        self._session.start_soon(self._serve)

    def switched(self) -> None:
        """Take no notice: the session encodes for the transport that it has."""

    def left(self, reason: str, code: CloseCode) -> None:
        """Be gone: calls fail, handlers end behind what they do now."""
        del code
        if not self.is_connected:
            return
        self.is_connected = False
        self._reason = reason
        if self.pid is not None:
            self._state.data = self.data
            state = self._state if reason in RECOVERABLE else None
            self._namespace.recoveries.closed(self.pid, self, state)
        self._arrived.set()
        self._has_room.set()
        for give in self._acks.values():
            give.close()

    def has_told(self, offset: object) -> bool:
        """Return whether this very connection sent an offset. See `Holder`."""
        told = list(self._state.sent)[-(self._state.count - self._resumed_at) :]
        return self._state.count > self._resumed_at and offset in [known for known, _ in told]

    def surrender(self) -> EventState:
        """Leave to a newer connection. See `chatd.nurseries.recovery.Holder`."""
        self._state.data = self.data
        self.pid = None  # it is given, not kept
        self.left("transport close", CloseCode.SUPERSEDED)
        self._session.cut(CloseCode.SUPERSEDED)
        return self._state

    def last_packets(self, code: CloseCode) -> Sequence[bytes]:
        """Return nothing: a close says it all."""
        del code
        return ()
