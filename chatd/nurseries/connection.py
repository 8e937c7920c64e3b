"""One client: its nursery with reader, heartbeat and writer, its outbox, its goodbye.

Whatever ends a connection is a `CloseCode` given to `cut`; log line, metric, close frame and the
client's `connection:closing` come from that one value. What a client says is its wire's: see
`chatd.nurseries.plain` and `chatd.nurseries.engine_session`; who the client is, the chat's: see
`chatd.nurseries.chat_socket`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

import trio

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.limits import Meter, rate_of
from chatd.nurseries.heartbeat import Heartbeat
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.poller import Poller
from chatd.nurseries.receiving import READ_BYTES, Receiving

TURN = 50  # messages of one read between two checkpoints: a flood of small ones stalls nobody
LINGER = 1.0  # seconds for a peer to take the close frame before the socket is closed

Args = TypeVarTuple("Args")


class Connection(Receiving):
    """One client's connection, over a stream that it has from the start or gets later.

    Args:
        is_steady: ping at every interval, whatever is heard (see `Heartbeat`).
    """

    # Slots here and below: the attributes of a Socket.IO session in a dict are 1.5 KiB.
    __slots__ = (
        "_controls",
        "_is_mute",
        "_nursery",
        "_scope",
        "code",
        "heartbeat",
        "outbox",
        "peer",
        "settings",
    )

    def __init__(
        self, *, connection_id: str, peer: str, settings: Settings, is_steady: bool = False
    ) -> None:
        super().__init__(connection_id)
        self.peer = peer
        self.settings = settings
        self.code: CloseCode | None = None
        self.heartbeat = Heartbeat(
            self, settings.ping_interval, settings.ping_timeout, is_steady=is_steady
        )
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
        self._read_from(stream, poller)
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

    def _has_left(self) -> None:
        self._is_mute = True
        self.cut(CloseCode.NORMAL)

    @property
    def heard(self) -> float:
        """When the peer last gave a sign of life, on Trio's clock.

        A peer is not silent while its requests are worked on, for then nobody reads its pongs, nor
        while frames wait for it: those have a deadline of their own, unless they wait to be taken.
        """
        if self._is_reading and (self.outbox.is_held or not self.outbox.waiting_bytes):
            return self._heard
        return trio.current_time()
