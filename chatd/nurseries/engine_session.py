"""One Engine.IO session (protocol 4): polling, a WebSocket, or the upgrade from one to the other.

Its task reads from whichever transport it has; its outbox is one, and follows to the WebSocket.
What the packets mean is the subclass's: an echo, or Socket.IO (`chatd.nurseries.socketio`).
https://github.com/socketio/engine.io-protocol
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import structlog
import trio

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.nurseries.connection import TURN, Connection
from chatd.nurseries.engine_upgrade import close_socket, probe
from chatd.nurseries.http import Upgrade
from chatd.nurseries.polling import Polling
from chatd.wire import engineio
from chatd.wire.engineio import (
    CLOSE,
    MESSAGE,
    NOOP,
    PING,
    PONG,
    UPGRADE,
    Packet,
    ParseError,
    decode_message,
    decode_text,
)
from chatd.wire.frames import close_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader

log = structlog.get_logger("chatd.engine")


class Opening(NamedTuple):
    """What is known of a client when its session opens."""

    sid: str  # a credential: whoever knows it speaks as this client
    transport: str  # the first one: "polling" or "websocket"
    b64: bool  # the client cannot take binary frames
    peer: str
    settings: Settings
    tag: str = ""  # of the daemon, which its sids begin with


class EngineSession(Connection):
    """One client. `run` is its nursery."""

    __slots__ = (
        "_answer",
        "_b64",
        "_early",
        "_goodbye",
        "_has_ended",
        "_leftover",
        "_reader",
        "_upgrading",
        "limit",
        "max_payload",
        "polling",
        "sid",
    )

    def __init__(self, opening: Opening) -> None:
        super().__init__(
            # The sid is a secret, so that the log has another name for the session.
            connection_id=opening.sid[: len(opening.tag) + 8],
            peer=opening.peer,
            settings=opening.settings,
            is_steady=True,
        )
        self.sid = opening.sid
        self.max_payload = opening.settings.frame_bytes  # as the handshake says
        self.limit = self.max_payload  # as it is now
        self._b64 = opening.b64
        self.polling = Polling(self) if opening.transport == "polling" else None
        self._has_ended: trio.Event | None = None  # somebody waits for it
        self._reader: WebSocketReader | None = None
        self._early: Sequence[Packet] = ()  # came with the packet that completed the upgrade
        self._leftover = b""  # came behind the head of the handshake
        self._answer = b""  # the 101, to be sent with the handshake of the engine
        self._goodbye: bytes | None = None  # the close frame that answers the peer's end
        self._upgrading: trio.CancelScope | None = None

    @property
    def transport(self) -> str:
        """The transport it has now."""
        return "polling" if self._reader is None else "websocket"

    # What a subclass does with it

    @abstractmethod
    async def _message(self, data: bytes) -> None:
        """Take a message, `Binary` or text; the next one waits.

        Raises:
            ParseError: it is not the protocol; the session ends.
        """

    def _opened(self) -> None:
        """Begin: the handshake is on its way."""

    def _last_packets(self) -> Sequence[bytes]:
        """Return what tells the client why, ahead of the close."""
        return ()

    def send(self, packets: Sequence[bytes]) -> None:
        """Send packets with nothing in between: text with its digit, or `Binary`; never waits."""
        self.outbox.push(self.encode(packets), len(packets))

    def encode(self, packets: Sequence[bytes]) -> bytes:
        """Return packets as the transport of now carries them."""
        if self._reader is None:
            return engineio.to_queue(packets)
        return engineio.to_stream(packets, b64=self._b64)

    def allow(self, limit: int) -> None:
        """Take payloads up to this size from now on: who has logged in may say more."""
        self.limit = limit
        if self._reader is not None:
            self._reader.allow(limit)

    def ping(self) -> None:
        """Ask the client for a sign of life; its pings are ours to send in this protocol."""
        self.send([PING])

    def is_alive_at(self, now: float) -> None:
        """Note a sign of life that came by a request."""
        self._heard = now

    # Life

    async def run(self) -> None:
        """Serve to the end, whatever transports come; then say goodbye."""
        try:
            await super().run()
        finally:
            if self.polling is not None:
                self.polling.close(None)
            if self._has_ended is not None:
                self._has_ended.set()

    async def _converse(self) -> None:
        settings = self.settings
        self.start_soon(self.heartbeat.run)
        upgrades = () if self.polling is None else ("websocket",)
        interval, timeout = settings.ping_interval, settings.ping_timeout
        hello = engineio.handshake(self.sid, upgrades, interval, timeout, self.max_payload)
        self.outbox.push(self._answer + self.encode([hello]))
        self._answer = b""
        self._opened()
        while True:
            for number, packet in enumerate(await self._packets(), 1):
                if self.outbox.is_over:
                    await self._has_less()
                if number % TURN == 0:
                    await trio.lowlevel.checkpoint()
                await self._handle(packet)

    async def _packets(self) -> Sequence[Packet]:
        """Wait for packets, by whichever transport they come."""
        if self._reader is None:
            assert self.polling is not None  # noqa: S101 - a session has one of them
            self._is_reading, self._heard = True, trio.current_time()  # its answers wait behind us
            packets = await self.polling.receive()
            self._is_reading = False
            return packets
        if self._early:
            early, self._early = self._early, ()
            return early
        data, self._leftover = self._leftover, b""
        return self._decode(self._feed(data or await self._receive()))

    def _take_at_once(self, data: bytes, now: float) -> bool:
        if self._reader is None or self.code is not None or self.outbox.is_over:
            return False
        message = self._reader.whole_text(data)
        if message is None:
            return False
        try:
            text = decode_text(message)
            return text is not None and self._message_at_once(text, now)
        except ParseError:
            return False  # the task finds the same

    def _message_at_once(self, data: bytes, now: float) -> bool:
        """Handle a text message without a wait; False: it is left as it was, for `_message`.

        Raises:
            ParseError: it is not the protocol, and left too.
        """
        del data, now
        return False

    async def _has_less(self) -> None:
        """Wait while an answer holds more than the bound; who does not fetch it is silent."""
        self._is_reading = self.outbox.is_held
        await self.outbox.has_less()
        self._is_reading = False

    async def _handle(self, packet: Packet) -> None:
        before, kind = self.code, packet.kind
        if before not in {None, CloseCode.NORMAL}:
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
        if kind == MESSAGE:
            try:
                await self._message(packet.data)
            except ParseError as trouble:
                log.info("parse error", connection=self.id, reason=str(trouble))
                self.cut(CloseCode.BAD_REQUEST)
        elif kind == CLOSE:
            if self.polling is not None:
                self.polling.close(NOOP)
            self.cut(CloseCode.NORMAL)
        elif kind not in {PONG, UPGRADE, NOOP}:  # these mean nothing here, or were heard already
            self.cut(CloseCode.BAD_REQUEST)  # opening and asking for life are the server's
        if self.code is not before:  # what came ahead of the peer's own close counts
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled

    def cut(self, code: CloseCode) -> None:
        """End this session. See `Connection.cut`."""
        super().cut(code)
        # A stock client that has its pong pauses polling, and is stuck for 45 s when the WebSocket
        # is closed before it has switched: it is let through, and closed then.
        is_probing = self.polling is not None and self.polling.is_probing
        is_let_through = is_probing and code is not CloseCode.NORMAL
        if self._upgrading is not None and not is_let_through:
            self._upgrading.cancel(reason="the session has ended")

    def _start_writer(self) -> None:
        if self.outbox.is_held:
            assert self.polling is not None  # noqa: S101 - what else would hold it
            self.polling.wake()
        else:
            super()._start_writer()

    def _farewell(self, code: CloseCode) -> bytes:
        words = self.encode(self._last_packets())
        if self._reader is None:
            return words
        return words + (self._goodbye or close_frame(code.code, code.reason))

    async def _say_goodbye(self) -> None:
        if self.polling is None or self._reader is not None:
            await super()._say_goodbye()
            return
        if self._is_mute:  # only a GET that is parked hears anything
            self.polling.close(CLOSE if self.polling.is_getting else None)
            await trio.lowlevel.checkpoint()
            return
        if self.code is CloseCode.NORMAL and not self.polling.is_getting:
            self.polling.close(None)  # it has closed by itself, and asks no more
            return
        words = self._farewell(self.code or CloseCode.NORMAL)
        if words:
            self.outbox.push(words)
        self.polling.close(CLOSE)
        await self.polling.wait_fetched()

    # WebSocket

    def take_over(self, upgrade: Upgrade) -> None:
        """Speak over a WebSocket from the start."""
        self._reader = self._new_reader()
        self._attach(upgrade.stream, poller=upgrade.poller)
        self._answer, self._leftover = upgrade.answer, upgrade.leftover

    def _new_reader(self) -> WebSocketReader:
        return WebSocketReader(
            max_size=self.limit,
            max_fragments=self.settings.max_fragments,
            takes_binary=True,
        )

    def _feed(self, data: bytes) -> list[bytes | bytearray]:
        """Return the messages that these bytes complete; no WebSocket ends the session."""
        assert self._reader is not None  # noqa: S101 - bytes came from it
        try:
            messages = self._reader.feed(data)
        except WebSocketEnd as end:
            self._goodbye = end.goodbye
            if end.code is CloseCode.TOO_BIG:
                log.info("message too big", connection=self.id, limit=self.limit)
            self.cut(end.code)
            return end.messages
        self._meter(self._reader.controls())
        pongs = self._reader.replies()
        if pongs and self.code is None:
            self.outbox.push(pongs)
        return messages

    def _decode(self, messages: list[bytes | bytearray]) -> list[Packet]:
        """Return the packets of messages; what is none ends the session behind those before."""
        packets = []
        for message in messages:
            try:
                packets.append(decode_message(message))
            except ParseError as trouble:
                log.info("parse error", connection=self.id, reason=str(trouble))
                self.cut(CloseCode.BAD_REQUEST)
                break
        return packets

    async def upgrade(self, upgrade: Upgrade) -> None:
        """Let a WebSocket take over from polling, and serve it to the end of the session.

        One that is not the first, says something else than the probe, or takes too long is closed;
        polling goes on.
        """
        if self._reader is None and self._upgrading is None and self.code is None:
            reader = self._new_reader()
            packets = None
            with trio.CancelScope() as self._upgrading:
                self._upgrading.deadline = trio.current_time() + self.settings.upgrade_timeout
                assert self.polling is not None  # noqa: S101 - not upgraded yet
                packets = await probe(upgrade, reader, self.polling)
            self._upgrading = None
            if packets is not None and self.code is None:
                await self._switch(upgrade, reader, packets)
                return
            assert self.polling is not None  # noqa: S101 - it was not upgraded
            self.polling.probe(is_on=False)
            await close_socket(upgrade, b"", self.settings.goodbye_timeout, self.code)
        else:
            await close_socket(upgrade, upgrade.answer, self.settings.goodbye_timeout)

    async def _switch(
        self, upgrade: Upgrade, reader: WebSocketReader, packets: list[Packet]
    ) -> None:
        assert self.polling is not None  # noqa: S101 - not upgraded yet
        self._reader = reader
        reader.allow(self.limit)  # it may have logged in since the probe began
        self._early = [*self.polling.take(), *packets]
        convert = partial(engineio.to_frames, b64=self._b64)
        self._attach(upgrade.stream, convert, upgrade.poller)
        self._switched()
        self.polling.close(NOOP if self.polling.is_getting else None)
        self._has_ended = trio.Event()
        try:
            await self._has_ended.wait()
        finally:
            # The stream is closed behind this: nobody may write to its descriptor any more.
            self._detach()
            self.cut(CloseCode.GOING_AWAY)

    def _switched(self) -> None:
        """Take note: from now on packets leave as frames."""
