"""One client: its nursery with reader, heartbeat and writer, its registration, its goodbye.

Whatever ends a connection is a `CloseCode` given to `cut`; log line, metric, close frame and the
client's `connection:closing` come from that one value. What a client says
is its wire's: see `chatd.nurseries.plain`.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

import structlog
import trio

from chatd.context import Place, Services
from chatd.errors import CloseCode, StoreError
from chatd.events import MAX_CONTENT
from chatd.model import dumps, iso, position_dict
from chatd.nurseries.heartbeat import Heartbeat
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.presence import Presence
from chatd.nurseries.sockets import Sockets
from chatd.nurseries.typing import Typing
from chatd.rows import PositionRow
from chatd.tokens import Identity

READ_BYTES = 65_536
MAX_POSITIONS = 500  # sessions told in connection:ready; the rest by GET /chat/sessions
LINGER = 1.0  # seconds for a peer to take the close frame before the socket is closed
TYPING_RESEND_MS = 3000  # below half of the expiry: one lost start does not end a typing

log = structlog.get_logger("chatd.connection")


@dataclass(frozen=True, slots=True)
class Live:
    """What connections need of the daemon beside the handlers' services."""

    services: Services
    sockets: Sockets
    presence: Presence
    typing: Typing


class Connection(ABC):
    """Keeps `chatd.context.Socket` and `chatd.nurseries.seat.Receiver`."""

    transport: ClassVar[str]
    encode_event: Callable[[str, bytes], bytes]  # one per wire: rooms encode once for each

    def __init__(
        self, stream: trio.abc.Stream, *, connection_id: str, peer: str, live: Live
    ) -> None:
        self.id = connection_id
        self.peer = peer
        self.identity: Identity  # set by `_register`; nobody sees this connection before
        self.places: dict[UUID, Place] = {}
        self._heard = trio.current_time()
        self._is_reading = True
        self._live = live
        self._services = live.services
        self._stream = stream
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._code: CloseCode | None = None
        self._is_mute = False  # the client cannot be told anything any more
        self._is_registered = False
        settings = live.services.settings
        self._heartbeat = Heartbeat(self, settings, live.services.now)
        # Read and written without Trio's stream around it: 15 µs less a message.
        self._socket = _plain_socket(stream)
        self.outbox = Outbox(
            stream=stream,
            descriptor=None if self._socket is None else self._socket.fileno(),
            start_writer=self._start_writer,
            cut=self._cut_by_outbox,
            max_bytes=settings.outbox_bytes,
            max_frames=settings.outbox_frames,
            write_timeout=settings.write_timeout,
        )

    @abstractmethod
    async def _converse(self) -> None:
        """Log in, then read and answer until cut."""

    @abstractmethod
    def _farewell(self, code: CloseCode) -> bytes:
        """Return the last bytes that tell the client why."""

    @abstractmethod
    def ping(self) -> None:
        """Ask the client for a sign of life."""

    # Life

    async def run(self) -> None:
        """Serve until something cuts this connection; then say goodbye and close."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    try:
                        await self._converse()
                    finally:
                        self._nursery = None  # it may close before this task runs again
                    nursery.cancel_scope.cancel(reason="the conversation is over")
        finally:
            if self._is_registered:
                self._unregister()
            with trio.move_on_after(self._services.settings.goodbye_timeout, shield=True):
                await self._say_goodbye()
            self.outbox.close()  # before the descriptor can be another connection's
            with trio.move_on_after(LINGER, shield=True):
                await trio.aclose_forcefully(self._stream)

    def cut(self, code: CloseCode) -> None:
        """End this connection; the first reason counts."""
        if self._code is None:
            self._code = code
            self._nursery = None  # frames wait for the goodbye from now on
            self._is_mute = self._is_mute or code is CloseCode.HEARTBEAT_LOST
            self._scope.cancel(reason=code.reason)

    def _cut_by_outbox(self, code: CloseCode) -> None:
        self._is_mute = True
        self.cut(code)

    def _start_writer(self) -> None:
        if self._nursery is not None:  # else the goodbye drains the outbox itself
            self._nursery.start_soon(self.outbox.drain)

    async def _say_goodbye(self) -> None:
        """Tell the client why, in the outbox's order, and let it read that."""
        if self._is_mute or not self.outbox.is_open:
            return
        self.outbox.push(self._farewell(self._code or CloseCode.NORMAL))
        await self.outbox.drain()
        await self._linger()

    async def _linger(self) -> None:
        """Read what the peer still sends: closing over unread bytes resets what it has not read."""
        if not isinstance(self._stream, trio.SocketStream | trio.SSLStream):
            return
        with trio.move_on_after(LINGER):
            try:
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                while await self._stream.receive_some(READ_BYTES):
                    continue
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # it is gone already

    async def _receive(self) -> bytes:
        """Wait for bytes of the peer; its end ends the connection."""
        self._heard = trio.current_time()
        self._is_reading = True
        try:
            if self._socket is None:
                data = bytes(await self._stream.receive_some(READ_BYTES))
            else:  # a client that waits for its answer has sent nothing yet: ask the kernel after
                await trio.lowlevel.wait_readable(self._socket)
                data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return b""  # readable, and then not
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            data = b""
        if not data:
            self._is_mute = True
            self.cut(CloseCode.NORMAL)
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
        self._is_reading = False
        return data

    # Registration

    async def _register(self, identity: Identity) -> bool:
        """Make this connection known and send its first state; False when it may not stay."""
        services = self._services
        if self._live.sockets.is_revoked(identity.family_id):
            self.cut(CloseCode.REVOKED)
            return False
        try:
            first = await services.store.first_state(identity.user_id, MAX_POSITIONS)
        except StoreError as trouble:
            log.warning("no first state", connection=self.id, error=str(trouble))
            self.cut(CloseCode.INTERNAL)
            return False
        # Asked again: the login may have been revoked, or the account erased, during the read.
        if first is None or self._live.sockets.is_revoked(identity.family_id):
            self.cut(CloseCode.REVOKED)
            return False
        self.identity = identity
        if not self._live.sockets.add(self):
            self.cut(CloseCode.TOO_MANY_CONNECTIONS)
            return False
        self._is_registered = True
        user, positions = first
        self._heartbeat.follow(identity)
        services.metrics.connections.labels(self.transport).inc()
        self.push("connection:ready", self._ready(positions))
        self._live.presence.connected(self, user, [row.session_id for row in positions])
        if self._nursery is None:
            return False  # cut while it was told
        self._nursery.start_soon(self._heartbeat.run)
        return True

    def _ready(self, positions: list[PositionRow]) -> bytes:
        services, settings = self._services, self._services.settings
        state = {
            "connectionId": self.id,
            "deviceId": self.identity.device_id,
            "serverTime": iso(services.now()),
            "recovered": False,
            "expiresAt": iso(datetime.fromtimestamp(self.identity.expires_at, UTC)),
            "epoch": services.epoch,
            "limits": {
                "maxFrameBytes": settings.frame_bytes,
                "maxContentChars": MAX_CONTENT,
                "maxJoinedSessions": settings.max_joined_sessions,
                "replayEvents": settings.replay_events,
            },
            "timings": {
                "pingIntervalMs": round(settings.ping_interval * 1000),
                "pingTimeoutMs": round(settings.ping_timeout * 1000),
                "typingResendMs": TYPING_RESEND_MS,
                "typingExpiryMs": round(settings.typing_expiry * 1000),
            },
            "sessions": [position_dict(row, services.epoch) for row in positions],
        }
        return dumps(state)

    def _unregister(self) -> None:
        for place in list(self.places.values()):
            place.leave()
        self.places.clear()
        code = self._code or CloseCode.NORMAL
        self._live.sockets.remove(self)
        if not self._live.sockets.of_user(self.identity.user_id):
            self._live.typing.stop_everywhere(self.identity.user_id)
        self._live.presence.disconnected(self, at_once=code is CloseCode.REVOKED)
        self._services.metrics.connections.labels(self.transport).dec()
        self._services.metrics.closes.labels(str(code.code)).inc()
        log.info("closed", connection=self.id, code=code.code, reason=code.reason)

    # What others do with it

    @property
    def heard(self) -> float:
        """When the peer last gave a sign of life, on Trio's clock.

        A peer is not silent while its requests are worked on, for then nobody reads its pongs, nor
        while frames wait for it: those have a deadline of their own.
        """
        if self._is_reading and not self.outbox.waiting_bytes:
            return self._heard
        return trio.current_time()

    @property
    def user_id(self) -> UUID:
        """Whose connection it is."""
        return self.identity.user_id

    def push(self, name: str, data: bytes) -> None:
        """Send an event to this client alone."""
        self.outbox.push(self.encode_event(name, data))

    def push_ephemeral(self, name: str, data: bytes) -> None:
        """Send an event that a slow client can do without."""
        if not self.outbox.push_ephemeral(self.encode_event(name, data)):
            self._services.metrics.dropped.inc()

    def drop_place(self, session_id: UUID) -> None:
        """Forget a place that the room takes back."""
        place = self.places.pop(session_id, None)
        if place is not None:
            place.leave()

    def renew(self, identity: Identity) -> None:
        """Take a newer access token of the same login."""
        self.identity = identity
        self._heartbeat.follow(identity)


def _plain_socket(stream: trio.abc.Stream) -> socket.socket | None:
    """Return the non-blocking socket under a TCP stream, for as long as the stream lives."""
    if not isinstance(stream, trio.SocketStream):
        return None
    plain: socket.socket = stream.socket._sock  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    return plain
