"""Clients whose session lives on another daemon: their requests and sockets are passed on to it.

A load balancer that knows nothing of sessions sends polls and upgrades anywhere. Ids of sessions
begin with the tag of their daemon, so that each daemon knows where they belong. What cannot be
passed on is answered as an unknown session is: the client then shakes hands again.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog
import trio

from chatd.config import Settings
from chatd.errors import Overloaded
from chatd.ids import random_hex
from chatd.metrics import Metrics
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http import Upgrade
from chatd.nurseries.http_stream import PeerGone
from chatd.nurseries.node_links import Away, NodeLink, NodeLinks
from chatd.nurseries.splice import splice
from chatd.peers import TAG_CHARS, Peers
from chatd.wire.edge import edge_lines
from chatd.wire.engineio import EngineRefusal, Refusal
from chatd.wire.forwarded import HEADER, AnswerHead, chunk, mark, polling_head, upgrade_head
from chatd.wire.http import RequestHead
from chatd.wire.http_response import Headers, Response

RETRY_AFTER = 1.0  # seconds: polls end all the time

log = structlog.get_logger("chatd.forwarding")


class Forwarder:
    """Passes on what belongs to other daemons; made by `open_forwarder`."""

    def __init__(
        self, peers: Peers, settings: Settings, links: NodeLinks, metrics: Metrics
    ) -> None:
        self._peers = peers
        self._settings = settings
        self._ends = metrics.forwards
        self._links = links
        self._splices: set[trio.CancelScope] = set()
        self.under_way = 0  # requests and sockets

    def route_of(self, head: RequestHead, sid: str) -> str | None:
        """Return the URL of the daemon whose session this is; None when it is not passed on.

        That is also what was passed on already: daemons that are wrong of each other make no loop.
        """
        tag = sid[:TAG_CHARS]
        if head.method not in {"GET", "POST"}:
            return None
        if tag == self._peers.tag or head.header(HEADER) is not None:
            return None
        return self._peers.url_of(tag)

    def check_room(self) -> None:
        """Look whether one more can be passed on.

        Raises:
            Overloaded: as many are under way as the settings allow.
        """
        if self.under_way >= self._settings.max_forwards:
            raise Overloaded("too many requests for other daemons", retry_after=RETRY_AFTER)

    @contextmanager
    def _place(self) -> Iterator[None]:
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1

    async def drain(self, seconds: float, rng: random.Random) -> None:
        """End the sockets in random order, evenly over `seconds`; polls end by themselves."""
        scopes = list(self._splices)
        rng.shuffle(scopes)
        start = trio.current_time()
        for index, scope in enumerate(scopes):
            await trio.sleep_until(start + seconds * index / len(scopes))
            scope.cancel(reason="draining")

    def cut_all(self) -> None:
        """End the sockets now."""
        for scope in self._splices:
            scope.cancel(reason="the daemon stops")

    # Polling

    async def poll(self, exchange: Exchange, url: str, headers: Headers) -> None:
        """Answer a request of polling with what the owner of the session says.

        Args:
            url: of the owner. See `route_of`.
            headers: what the engine adds to every answer.

        Raises:
            EngineRefusal: the owner is away, or says nothing.
            ChatError: too many are passed on; or the body is too large, or did not arrive.
            PeerGone: the client has left.
        """
        self.check_room()
        exchange.open_body(self._settings.frame_bytes)
        with self._place():
            try:
                async with self._links.held(url) as link:
                    await self._send(link, exchange)
                    answer = await self._answer(link, exchange)
                    await _pass_back(link, exchange, answer, headers)
                    link.is_reusable = answer.keeps_alive
                self._ends.labels("polling").inc()
            except Away as trouble:
                self._note_away(exchange.connection_id, trouble)
                raise EngineRefusal(Refusal.SESSION_UNKNOWN) from None

    async def _send(self, link: NodeLink, exchange: Exchange) -> None:
        head = exchange.head
        data = polling_head(head, mark(self._peers, head, exchange.peer, time.time()))
        is_chunked = head.body_length is None
        with suppress(Away):  # a refusal may come ahead of the whole body: its answer tells more
            while piece := await exchange.read_piece():
                await link.send(data + (chunk(piece) if is_chunked else piece))
                data = b""
            await link.send(data + (chunk(b"") if is_chunked else b""))

    async def _answer(self, link: NodeLink, exchange: Exchange) -> AnswerHead:
        """Wait for the head of the owner's answer; the client may leave meanwhile.

        A parked poll waits for the next ping at most.
        """
        settings = self._settings
        answer: AnswerHead | None = None
        trouble: Away | None = None
        with trio.move_on_after(settings.ping_interval + settings.ping_timeout) as patience:
            async with trio.open_nursery() as nursery:

                async def watch() -> None:
                    await exchange.wait_disconnected()
                    nursery.cancel_scope.cancel(reason="the client has left")

                nursery.start_soon(watch)
                try:
                    answer = await link.read_head()
                except Away as away:  # out of the nursery it would be a group
                    trouble = away
                nursery.cancel_scope.cancel(reason="answered")
        if answer is not None:
            return answer
        if trouble is not None or patience.cancelled_caught:
            raise trouble or Away("no answer in time")
        raise PeerGone

    def _note_away(self, connection_id: str, trouble: Away) -> None:
        self._ends.labels("away").inc()
        log.info("owner_away", connection=connection_id, reason=str(trouble))

    # WebSockets

    async def upgrade(self, upgrade: Upgrade, url: str) -> None:
        """Let a WebSocket and the owner of its session speak with each other, to the end of one.

        The answer to the handshake is the owner's.
        """
        head = upgrade.head
        data = upgrade_head(head, mark(self._peers, head, upgrade.peer, time.time()))
        with self._place(), trio.CancelScope() as scope:
            self._splices.add(scope)
            try:
                async with self._links.dialled(url) as link:
                    await link.send(data + upgrade.leftover)
                    del data, head
                    timeout = self._settings.write_timeout
                    await splice(upgrade.stream, link.stream, timeout)
                self._ends.labels("websocket").inc()
            except Away as trouble:
                self._note_away(upgrade.connection_id, trouble)
                await self._refuse(upgrade)
            finally:
                self._splices.discard(scope)

    async def _refuse(self, upgrade: Upgrade) -> None:
        refusal = EngineRefusal(Refusal.SESSION_UNKNOWN)
        body = refusal.message.encode()
        is_secure = isinstance(upgrade.stream, trio.SSLStream)
        response = Response(
            upgrade.head,
            refusal.status,
            [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))],
            request_id=random_hex(8),
            now=time.time(),
            closes=True,
            edge=edge_lines((), origin=None, allowed=(), is_secure=is_secure),
        )
        with trio.move_on_after(self._settings.goodbye_timeout), suppress(trio.BrokenResourceError):
            await upgrade.stream.send_all(response.head + response.encode(body, more=False))


async def _pass_back(
    link: NodeLink, exchange: Exchange, answer: AnswerHead, headers: Headers
) -> None:
    length = (b"content-length", b"%d" % answer.length)
    exchange.start(answer.status, [*answer.headers, length, *headers])
    left = answer.length
    try:
        while left:
            piece = await link.read(left)
            left -= len(piece)
            await exchange.send(piece, more=left > 0)
    except Away as trouble:  # half an answer is out: cut, so that it is seen as half
        raise PeerGone from trouble
    if not answer.length:
        await exchange.send(b"", more=False)


@asynccontextmanager
async def open_forwarder(
    peers: Peers,
    settings: Settings,
    metrics: Metrics,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Forwarder]:
    """Pass on what belongs to other daemons for the length of the block.

    Args:
        context: how daemons behind https are verified; by default as the system does.
    """
    links = NodeLinks(settings.write_timeout, context)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.sweep)
        forwarder = Forwarder(peers, settings, links, metrics)
        try:
            yield forwarder
        finally:
            forwarder.cut_all()
            links.close()
        nursery.cancel_scope.cancel(reason="the engine stops")
