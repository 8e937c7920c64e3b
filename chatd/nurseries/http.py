"""The HTTP loop: requests of a connection in, each to its route; a WebSocket takes over.

Every request of a keep-alive connection passes the same screen (`chatd.wire.http`), and an upgrade
may come as any of them: proxies reuse idle connections for it. There is no task per connection
beside the one that serves it; what waits for a client's end waits in the route's own task.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog
import trio

from chatd.config import Settings
from chatd.errors import ChatError, Draining, InternalError, NotFound
from chatd.ids import random_hex
from chatd.nurseries.asgi import ASGIApp, AsgiCycle
from chatd.nurseries.doors import Doors
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http_stream import HttpStream, PeerGone
from chatd.nurseries.poller import Poller
from chatd.peers import Peers
from chatd.wire.edge import edge_lines
from chatd.wire.forwarded import client_in
from chatd.wire.http import RequestHead, handshake_answer
from chatd.wire.http_refusals import UpgradeRequired
from chatd.wire.http_response import Headers, Response, error_answer

__all__ = [
    "DirectHandler",
    "Exchange",
    "HttpServer",
    "PeerGone",
    "Routes",
    "Upgrade",
    "UpgradeRefused",
    "UpgradeRoute",
]

RETRY_AFTER = 1.0  # seconds; a draining server is replaced in a moment
_log = structlog.get_logger("chatd.http")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A connection that speaks WebSocket from here on, as soon as `answer` is sent.

    The 101 is left to who has something to send behind it, in one write. `leftover` came behind the
    head and belongs to the first frame. `poller` tells when there is more; None: Trio does.
    """

    stream: trio.abc.Stream
    answer: bytes
    leftover: bytes
    head: RequestHead
    connection_id: str
    peer: str
    poller: Poller | None = None


DirectHandler = Callable[[Exchange], Awaitable[None]]


class UpgradeRefused(Exception):
    """A handshake that is answered in the words of its protocol, ahead of the 101."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


@dataclass(frozen=True, slots=True)
class UpgradeRoute:
    """What becomes of a handshake.

    Args:
        screen: asked before the 101, with the client's address; raises a `ChatError` or
            `UpgradeRefused`. Browsers send Origin and ask nobody, so that this is the only guard
            against foreign pages.
        serve: has the connection behind the 101.
    """

    screen: Callable[[RequestHead, str], None]
    serve: Callable[[Upgrade], Awaitable[None]]


Screen = Callable[[], None]
"""Asked ahead of the app; raises the `ChatError` with which a POST is refused without it."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Who answers what, by exact path: handshakes `upgrades`, `direct`, the rest is the app's.

    What `screens` refuse costs a sixth of what the app takes to say the same.
    """

    app: ASGIApp
    direct: Mapping[str, DirectHandler]
    upgrades: Mapping[str, UpgradeRoute]
    screens: Mapping[str, Screen] = field(default_factory=dict)


def _first(group: BaseExceptionGroup[ChatError]) -> ChatError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, ChatError) else InternalError()


class HttpServer:
    """Serves HTTP on accepted streams; `peers` may say whose request they pass on."""

    def __init__(
        self,
        routes: Routes,
        settings: Settings,
        doors: Doors | None = None,
        peers: Peers | None = None,
        poller: Poller | None = None,
    ) -> None:
        self._routes = routes
        self._poller = poller
        self._peers = peers
        self._settings = settings
        self._doors = doors or Doors(settings)
        self._live: set[HttpStream] = set()
        self.is_draining = False  # no new sockets
        self._is_closing = False  # nor any new request

    @property
    def live(self) -> int:
        """How many connections speak HTTP now; those that became WebSockets are not counted."""
        return len(self._live)

    @property
    def is_awaiting(self) -> bool:
        """Whether a connection has not asked anything yet."""
        return not all(stream.has_asked for stream in self._live)

    def drain(self) -> None:
        """Close idle connections now; those under way answer with Connection: close."""
        self.is_draining = self._is_closing = True
        for stream in self._live:
            stream.drain()

    async def serve_connection(
        self, stream: trio.abc.Stream, peer: str, connection_id: str
    ) -> None:
        """Serve a connection to its end; the caller closes the stream.

        An upgrade's handler is awaited here when everything of HTTP has been freed.
        """
        upgrade = await self._serve_http(stream, peer, connection_id)
        if upgrade is not None:
            handled = self._routes.upgrades[upgrade.head.path].serve(upgrade)
            address = upgrade.peer
            del upgrade  # an idle WebSocket does not keep its head: 2 KiB each
            if address == peer and not self._doors.proxies.trusts(peer):
                await handled
                return
            with self._doors.held(address):  # the connection itself is a proxy's or a daemon's
                await handled

    async def _serve_http(
        self, stream: trio.abc.Stream, peer: str, connection_id: str
    ) -> Upgrade | None:
        proxies = self._doors.proxies
        connection = HttpStream(
            stream, peer, connection_id, self._settings, proxies if proxies.trusts(peer) else None
        )
        connection.is_draining = self._is_closing
        self._live.add(connection)
        try:
            if connection.begin():
                return await self._requests(connection)
            with connection.scope:
                return await self._requests(connection)
        except PeerGone as left:
            _log.debug("client_gone", connection=connection_id, reason=str(left))
            return None
        finally:
            self._live.discard(connection)
        return None  # silent for too long, or drained

    async def _requests(self, connection: HttpStream) -> Upgrade | None:
        while True:
            request_id = random_hex(8)
            try:
                head = await connection.read_head()
            except ChatError as refusal:
                await self._refuse_head(connection, request_id, refusal)
                return None
            if head is None:
                return None
            exchange = Exchange(
                connection, head, request_id, client_in(self._peers, head, time.time())
            )
            if head.wants_websocket:
                return await self._upgrade(connection, exchange)
            if not await self._answer(exchange):
                return None

    async def _answer(self, exchange: Exchange) -> bool:
        """Answer one request; return whether the connection goes on."""
        refusal: ChatError | None = None
        try:
            await self._route(exchange)
        except* PeerGone as left:
            raise PeerGone from left
        except* ChatError as refusals:
            refusal = _first(refusals)
        except* Exception as failure:  # noqa: BLE001 - a bug ends its request, logged
            refusal = InternalError()
            _log.error(
                "request_failed",
                connection=exchange.connection_id,
                request=exchange.request_id,
                exc_info=failure,
            )
        if refusal is None and not exchange.is_started:
            _log.error("request_unanswered", request=exchange.request_id)
            refusal = InternalError()
        if refusal is not None:
            await self._refuse(exchange, refusal)
        return await exchange.finish()

    async def _route(self, exchange: Exchange) -> None:
        path = exchange.head.path
        direct = self._routes.direct.get(path)
        if direct is not None:
            await direct(exchange)
        elif path in self._routes.upgrades:
            raise UpgradeRequired
        else:
            screen = self._routes.screens.get(path)
            if screen is not None and exchange.head.method == "POST":
                screen()
            await AsgiCycle(exchange, self._settings.body_bytes).run(self._routes.app)

    async def _upgrade(self, connection: HttpStream, exchange: Exchange) -> Upgrade | None:
        head = exchange.head
        try:
            route = self._routes.upgrades.get(head.path)
            if route is None:
                raise NotFound
            answer = handshake_answer(head, exchange.request_id)
            route.screen(head, exchange.peer)
            if self.is_draining:
                raise Draining(retry_after=RETRY_AFTER)
            if connection.proxies is not None or exchange.forwarded is not None:
                self._doors.check_space(exchange.peer)
        except (ChatError, UpgradeRefused) as refusal:
            exchange.close_behind()  # what follows may be frames: it is not read as requests
            if isinstance(refusal, UpgradeRefused):
                await exchange.respond(refusal.status, refusal.headers, refusal.body)
            else:
                await self._refuse(exchange, refusal)
            await exchange.finish()
            return None
        return Upgrade(
            connection.stream,
            answer,
            bytes(connection.buffer),
            head,
            connection.connection_id,
            exchange.peer,
            self._poller,
        )

    async def _refuse(self, exchange: Exchange, refusal: ChatError) -> None:
        if exchange.is_started:
            raise PeerGone from refusal  # half an answer is out: cut, so that it is seen as half
        _log.info(
            "request_refused",
            connection=exchange.connection_id,
            request=exchange.request_id,
            status=refusal.status,
            reason=refusal.message,
        )
        await exchange.refuse(refusal)

    async def _refuse_head(
        self, connection: HttpStream, request_id: str, refusal: ChatError
    ) -> None:
        _log.info(
            "request_refused",
            connection=connection.connection_id,
            request=request_id,
            status=refusal.status,
            reason=refusal.message,
        )
        headers, body = error_answer(refusal, request_id)
        response = Response(
            None,
            refusal.status,
            headers,
            request_id=request_id,
            now=time.time(),
            closes=True,
            edge=edge_lines(
                {name for name, _ in headers},
                origin=connection.refused_origin,
                allowed=self._settings.cors_origins,
                is_secure=isinstance(connection.stream, trio.SSLStream),
            ),
        )
        await connection.write(response.head + response.encode(body, more=False))
        await connection.linger()
