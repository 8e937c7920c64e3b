"""One client: its nursery with reader, heartbeat and writer, its outbox, its goodbye.

Whatever ends a connection is a `CloseCode` given to `cut`; log line, metric, close frame and the
client's `connection:closing` come from that one value. What a client says is its wire's: see
`chatd.nurseries.plain` and `chatd.nurseries.engine_session`; who the client is, the chat's: see
`chatd.nurseries.chat_socket`.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import outcome
import structlog
import trio

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.limits import Meter, rate_of
from chatd.nurseries.heartbeat import Heartbeat
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.plain_socket import plain_socket
from chatd.nurseries.poller import Poller

READ_BYTES = 65_536
TURN = 50  # messages of one read between two checkpoints: a flood of small ones stalls nobody
LINGER = 1.0  # seconds for a peer to take the close frame before the socket is closed

Args = TypeVarTuple("Args")

log = structlog.get_logger("chatd.connection")


class Connection(ABC):
    """One client's connection, over a stream that it has from the start or gets later.

    Args:
        is_steady: ping at every interval, whatever is heard (see `Heartbeat`).
    """

    # Slots here and below: the attributes of a Socket.IO session in a dict are 1.5 KiB.
    __slots__ = (
        "_controls",
        "_heard",
        "_is_mute",
        "_is_reading",
        "_is_watched",
        "_nursery",
        "_parked",
        "_poller",
        "_scope",
        "_socket",
        "_stream",
        "code",
        "heartbeat",
        "id",
        "outbox",
        "peer",
        "settings",
    )

    def __init__(
        self, *, connection_id: str, peer: str, settings: Settings, is_steady: bool = False
    ) -> None:
        self.id = connection_id
        self.peer = peer
        self.settings = settings
        self.code: CloseCode | None = None
        self.heartbeat = Heartbeat(
            self, settings.ping_interval, settings.ping_timeout, is_steady=is_steady
        )
        self._heard = trio.current_time()
        self._is_reading = True
        self._stream: trio.abc.Stream | None = None
        self._socket: socket.socket | None = None
        self._poller: Poller | None = None
        self._is_watched = False  # the poller calls `readable`
        self._parked: trio.lowlevel.Task | None = None  # the task, while it waits for that
        self._scope: trio.CancelScope | None = None  # the nursery's: a second one is 0.8 KiB
        self._nursery: trio.Nursery | None = None
        self._is_mute = False  # the client cannot be told anything any more
        self._controls: Meter | None = None
        self.outbox = Outbox(
            start_writer=self._start_writer,
            cut=self._cut_by_outbox,
            max_bytes=settings.outbox_bytes,
            max_frames=settings.outbox_frames,
            write_timeout=settings.write_timeout,
        )

    @abstractmethod
    async def _converse(self) -> None:
        """Read and answer until cut."""

    @abstractmethod
    def _farewell(self, code: CloseCode) -> bytes:
        """Return the last bytes that tell the client why."""

    @abstractmethod
    def _ended(self, code: CloseCode) -> None:
        """Take the client out of everything that knows it; called once, before the goodbye."""

    @abstractmethod
    def ping(self) -> None:
        """Ask the client for a sign of life."""

    # Life

    async def run(self) -> None:
        """Serve until something cuts this connection; then say goodbye and close."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if self.code is None:
                    self._nursery = nursery
                else:  # cut before it began
                    self._scope.cancel(reason=self.code.reason)
                try:
                    await self._converse()
                finally:
                    self._nursery = None  # it may close before this task runs again
                nursery.cancel_scope.cancel(reason="the conversation is over")
        finally:
            try:
                self._ended(self.code or CloseCode.NORMAL)
                with trio.move_on_after(self.settings.goodbye_timeout, shield=True):
                    await self._say_goodbye()
            finally:
                self._detach()
            if self._stream is not None:
                with trio.move_on_after(LINGER, shield=True):
                    await trio.aclose_forcefully(self._stream)

    def cut(self, code: CloseCode) -> None:
        """End this connection; the first reason counts."""
        if self.code is None:
            self.code = code
            self._nursery = None  # frames wait for the goodbye from now on
            self._is_mute = self._is_mute or code in {CloseCode.HEARTBEAT_LOST, CloseCode.ABNORMAL}
            if self._scope is not None:
                self._scope.cancel(reason=code.reason)

    def start_soon(self, task: Callable[[*Args], Awaitable[object]], *args: *Args) -> bool:
        """Run a task for as long as this connection lives; False when it is ending."""
        if self._nursery is None:
            return False
        self._nursery.start_soon(task, *args)
        return True

    def _attach(
        self,
        stream: trio.abc.Stream,
        convert: Callable[[bytes], bytes] | None = None,
        poller: Poller | None = None,
    ) -> None:
        """Speak over this stream from now on. See `Outbox.attach`.

        Args:
            poller: tells when there is something to read; None: Trio does.
        """
        self._stream, self._poller = stream, poller
        # Read and written without Trio's stream around it: 15 µs less a message.
        self._socket = plain_socket(stream)
        descriptor = None if self._socket is None else self._socket.fileno()
        self.outbox.attach(stream, descriptor, convert)

    def _detach(self) -> None:
        """Let go of the descriptor, before it can be another connection's."""
        self._unwatch()
        self.outbox.close()

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
        self.outbox.push(self._farewell(self.code or CloseCode.NORMAL))
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

    def _meter(self, controls: int) -> None:
        """Count pings and pongs of the peer, like its events; one that floods is cut.

        Each costs 3 µs, and a read holds 10,000 of them: nobody else runs meanwhile.
        """
        if not controls or self.settings.rate_limits == "off":
            return
        if self._controls is None:
            self._controls = Meter()
        if self._controls.wait(rate_of(self.settings.event_rate), trio.current_time(), controls):
            self.cut(CloseCode.RATE_LIMITED)

    async def _receive(self) -> bytes:
        """Wait for bytes of the peer; its end ends the connection."""
        self._heard = trio.current_time()
        self._is_reading = True
        if self._poller is None or self._socket is None:
            data = await self._read()
        else:
            data = await self._park(self._poller, self._socket)
        if data is None:
            return b""
        if not data:
            self._is_mute = True
            self.cut(CloseCode.NORMAL)
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
        self._is_reading = False
        return data

    async def _read(self) -> bytes | None:
        """Wait for bytes, in Trio; empty at the peer's end, None when there are none after all."""
        assert self._stream is not None  # noqa: S101 - attached before anything is read
        try:
            if self._socket is None:
                return bytes(await self._stream.receive_some(READ_BYTES))
            # A client that waits for its answer has sent nothing yet: ask the kernel afterwards.
            await trio.lowlevel.wait_readable(self._socket)
            return self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return b""

    async def _park(self, poller: Poller, sock: socket.socket) -> bytes:
        """Wait for bytes that `_take_at_once` leaves; empty at the peer's end."""
        if not self._is_watched:
            try:
                poller.watch(sock.fileno(), self)
            except (OSError, ValueError):  # no room for it, or closed by who had the stream
                return b""
            self._is_watched = True
        self._parked = trio.lowlevel.current_task()
        data: bytes = await trio.lowlevel.wait_task_rescheduled(self._unpark)
        return data

    def _unpark(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED

    def readable(self, now: float) -> None:
        """Read what has come, and wake the task if it is for it. See `Reader`."""
        if self._parked is None or self._socket is None:
            self._unwatch()  # the task is busy: it comes back for it
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if data and self._take_at_once(data, now):
                self._heard = now
                return
        except Exception as bug:
            if not self._wake(outcome.Error(bug)):  # it was cut before: its task ends already
                log.exception("connection_failed", connection=self.id)
        else:
            self._wake(outcome.Value(data))

    def _wake(self, result: outcome.Outcome[bytes]) -> bool:
        task, self._parked = self._parked, None
        if task is not None:
            trio.lowlevel.reschedule(task, result)
        return task is not None

    def _take_at_once(self, data: bytes, now: float) -> bool:
        """Handle bytes without a wait and without the task; False: they are left as they were."""
        del data, now
        return False

    def _unwatch(self) -> None:
        if self._is_watched and self._poller is not None and self._socket is not None:
            self._is_watched = False
            self._poller.forget(self._socket.fileno())

    @property
    def heard(self) -> float:
        """When the peer last gave a sign of life, on Trio's clock.

        A peer is not silent while its requests are worked on, for then nobody reads its pongs, nor
        while frames wait for it: those have a deadline of their own, unless they wait to be taken.
        """
        if self._is_reading and (self.outbox.is_held or not self.outbox.waiting_bytes):
            return self._heard
        return trio.current_time()
