"""HTTP long-polling of one Engine.IO session: GETs fetch what waits, POSTs bring what is said.

A GET is parked until something waits; it watches its connection meanwhile, so that a client that
leaves is noticed at once. At most one payload waits to be read: a POST waits for its turn, and with
it the client. A GET that comes again is answered as before: see `Polling.fetch`.
"""

from __future__ import annotations

from typing import Protocol

import trio

from chatd.errors import ChatError, CloseCode, PayloadTooLarge
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http_stream import PeerGone
from chatd.nurseries.outbox import Outbox
from chatd.wire.engineio import (
    CLOSE,
    NOOP,
    EngineRefusal,
    Packet,
    ParseError,
    Refusal,
    decode_payload,
    payload,
    queued,
)
from chatd.wire.http_response import Headers

PROBE_PAUSE = 0.1  # seconds a GET is kept that comes while a WebSocket is probed, as on Node
FETCH_HEADERS: Headers = [
    (b"content-type", b"text/plain; charset=UTF-8"),
]
BRING_HEADERS: Headers = [
    (b"content-type", b"text/html"),
]


class Pollable(Protocol):
    """What polling needs of its session."""

    outbox: Outbox

    def cut(self, code: CloseCode) -> None:
        """End the session."""

    def is_alive_at(self, now: float) -> None:
        """The peer gave a sign of life."""


class Polling:
    """The requests of one session, until a WebSocket takes over or the session ends."""

    __slots__ = (
        "_answered",
        "_arrived",
        "_fetched",
        "_inbox",
        "_is_over",
        "_is_probing",
        "_last_word",
        "_session",
        "_taken",
        "_wakes",
        "is_getting",
        "is_posting",
    )

    def __init__(self, session: Pollable) -> None:
        self._session = session
        self.is_getting = False
        self.is_posting = False
        self._answered: tuple[str, bytes] | None = (
            None  # the stamp of the last GET, and what it got
        )
        self._inbox: list[Packet] = []
        self._arrived = trio.Event()  # something to read, or nothing will come any more
        self._taken = trio.Event()  # the inbox was read
        self._wakes = trio.Event()  # a parked GET has something to say
        self._fetched = trio.Event()  # the last word was fetched
        self._last_word: bytes | None = None
        self._is_probing = False
        self._is_over = False

    # For the session

    async def receive(self) -> list[Packet]:
        """Wait for the packets of a POST; none when there will be no more."""
        while not self._inbox and not self._is_over:
            await self._arrived.wait()
            self._arrived = trio.Event()
        if not self._inbox:
            await trio.lowlevel.checkpoint()  # closed: when the session has ended, it ends here
        packets, self._inbox = self._inbox, []
        self._taken.set()
        self._taken = trio.Event()
        return packets

    def take(self) -> list[Packet]:
        """Return what a POST has brought and nobody has read: a WebSocket takes over."""
        self._answered = None
        packets, self._inbox = self._inbox, []
        return packets

    def wake(self) -> None:
        """Let a parked GET look: something waits for it."""
        self._wakes.set()

    def probe(self, *, is_on: bool) -> None:
        """Release GETs with a NOOP while a WebSocket is probed, so that the client can pause."""
        self._is_probing = is_on
        self.wake()

    @property
    def is_probing(self) -> bool:
        """Whether a WebSocket is probed, and the client may have paused."""
        return self._is_probing

    def close(self, last_word: bytes | None) -> None:
        """Take and give nothing more but this last packet."""
        self._is_over = True
        self._last_word = self._last_word or last_word
        self._arrived.set()
        self._taken.set()
        self.wake()

    async def wait_fetched(self) -> None:
        """Wait until a GET has taken the last word."""
        if self._last_word is not None:
            await self._fetched.wait()

    # Requests

    async def fetch(self, exchange: Exchange, headers: Headers) -> None:
        """Answer a GET, as soon as there is something.

        Stock clients stamp each GET (`t`). One with the stamp of the last one is that GET, which a
        proxy sends again, as nginx does with what it had given to a daemon that died: what was on
        its way there is lost, and nobody else has it.

        Raises:
            EngineRefusal: another GET is parked, which ends the session; or it has ended.
            PeerGone: the client left, which ends the session too.
        """
        session = self._session
        if self.is_getting:
            self.close(CLOSE)
            session.cut(CloseCode.ABNORMAL)
            raise EngineRefusal(Refusal.BAD_REQUEST)
        self.is_getting = True
        session.is_alive_at(trio.current_time())
        try:
            body = await self._next(exchange)
            await exchange.respond(200, [*FETCH_HEADERS, *headers], body)
        except PeerGone:
            session.cut(CloseCode.ABNORMAL)  # what it was to fetch is lost, or it has gone anyway
            raise
        finally:
            self.is_getting = False

    async def _next(self, exchange: Exchange) -> bytes:
        """Return what a GET gets: what waits, what comes, or what the same GET got before."""
        stamp = exchange.head.query.get("t")
        if self._answered is not None and stamp == self._answered[0]:
            return self._answered[1]
        self._answered = None  # whoever asks for the next has got it
        if not self._has_news() and not await self._park(exchange):
            raise PeerGone
        body = self._take()
        if stamp:
            self._answered = stamp, body
        return body

    def _has_news(self) -> bool:
        return self._is_over or self._session.outbox.waiting_bytes > 0

    async def _park(self, exchange: Exchange) -> bool:
        """Wait for news; False when the client has left."""
        is_here = False
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await exchange.wait_disconnected()
                nursery.cancel_scope.cancel(reason="the client has left")

            nursery.start_soon(watch)
            pause = trio.current_time() + PROBE_PAUSE if self._is_probing else None
            while not self._has_news():
                if self._is_probing:
                    if pause is None:
                        break  # it was parked before the probe
                    with trio.move_on_at(pause):
                        await self._wakes.wait()
                    if trio.current_time() >= pause:
                        break
                else:
                    await self._wakes.wait()
                self._wakes = trio.Event()
            is_here = True
            nursery.cancel_scope.cancel(reason="there is something to say")
        return is_here

    def _take(self) -> bytes:
        outbox = self._session.outbox
        queue = outbox.take() if outbox.is_held else []  # else it is the WebSocket's
        if self._is_over:
            # Not behind other packets: a stock client drops what comes in one body with CLOSE.
            if not queue and self._last_word is not None:
                queue.append(queued(self._last_word))
                self._last_word = None
                self._fetched.set()
        elif not queue:
            queue.append(queued(NOOP))
        if not queue:
            raise EngineRefusal(Refusal.SESSION_UNKNOWN)
        return payload(queue)

    async def bring(self, exchange: Exchange, headers: Headers, max_payload: int) -> None:
        """Take the packets of a POST and answer it.

        Raises:
            EngineRefusal: it is no payload, or comes beside another POST; the session ends.
            ChatError: its body did not arrive.
            PeerGone: the client left within it.
        """
        session = self._session
        content_type = (exchange.head.header(b"content-type") or b"").partition(b";")[0].strip()
        if self.is_posting or content_type.lower() == b"application/octet-stream":
            self.close(CLOSE)
            session.cut(CloseCode.ABNORMAL)
            raise EngineRefusal(Refusal.BAD_REQUEST)
        self.is_posting = True
        try:
            packets = await self._read(exchange, max_payload)
            if packets is not None:
                await self._hand_over(packets)
        finally:
            self.is_posting = False
        if packets is None:
            await exchange.respond(413, [*BRING_HEADERS, *headers], b"")
        else:
            await exchange.respond(200, [*BRING_HEADERS, *headers], b"ok")

    async def _read(self, exchange: Exchange, max_payload: int) -> list[Packet] | None:
        """Return the packets of a POST; None when it is too large, which leaves the session."""
        session = self._session
        try:
            return decode_payload(await exchange.read_body(max_payload))
        except PayloadTooLarge:
            return None
        except ParseError:
            self.close(CLOSE)
            session.cut(CloseCode.BAD_REQUEST)
            raise EngineRefusal(Refusal.BAD_REQUEST) from None
        except (ChatError, PeerGone):
            session.cut(CloseCode.ABNORMAL)
            raise

    async def _hand_over(self, packets: list[Packet]) -> None:
        while self._inbox and not self._is_over:
            await self._taken.wait()
        if self._is_over:
            raise EngineRefusal(Refusal.SESSION_UNKNOWN)
        self._session.is_alive_at(trio.current_time())
        self._inbox = packets
        self._arrived.set()
