"""The Engine.IO server: its sessions, and who may open or use one (protocol 4).

Requests come from the HTTP loop directly, without Quart (0.14 ms against 1.3). A session that polls
lives in a nursery of its own here, because no connection of HTTP is its; one that starts on a
WebSocket lives in the task of its connection, and costs no second one.
https://github.com/socketio/engine.io-protocol
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import trio

from chatd.config import Settings
from chatd.errors import ChatError, CloseCode, Draining, Overloaded
from chatd.ids import random_text
from chatd.metrics import Metrics
from chatd.nurseries.doors import Doors
from chatd.nurseries.engine_session import EngineSession, Opening
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.forwarding import Forwarder, open_forwarder
from chatd.nurseries.http import Upgrade, UpgradeRefused
from chatd.nurseries.polling import Polling
from chatd.peers import Peers
from chatd.wire.engineio import EngineRefusal, Existing, Handshake, Refusal, screen
from chatd.wire.http import RequestHead
from chatd.wire.http_response import Headers, error_answer
from chatd.wire.origins import is_own_page

SID_BYTES = 18  # 144 random bits: the sid is all that a request of a session shows
RETRY_AFTER = 1.0  # seconds; a draining server is replaced in a moment, sessions end all the time
_METHODS = b"GET,HEAD,PUT,PATCH,POST,DELETE"  # as the package `cors` answers on Node
_JSON = (b"content-type", b"application/json")
_HTML = (b"content-type", b"text/html")

MakeSession = Callable[[Opening], EngineSession]
log = structlog.get_logger("chatd.engine")


class Engine:
    """All sessions of one path; made by `open_engine`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        make_session: MakeSession,
        settings: Settings,
        metrics: Metrics,
        doors: Doors,
        tag: str = "",
        forwarder: Forwarder | None = None,
    ) -> None:
        self._nursery = nursery
        self._make_session = make_session
        self._settings = settings
        self._metrics = metrics
        self._doors = doors
        self._tag = tag
        self._forwarder = forwarder
        self._sessions: dict[str, EngineSession] = {}
        self.is_draining = False

    def __len__(self) -> int:
        """Return how many sessions are open."""
        return len(self._sessions)

    @property
    def polling(self) -> list[EngineSession]:
        """The sessions that poll now."""
        return [each for each in self._sessions.values() if each.transport == "polling"]

    def drain(self) -> None:
        """Take no new sessions, and end those that poll: nobody accepts their next connection."""
        self.is_draining = True
        for session in self.polling:
            session.cut(CloseCode.DRAINING)

    async def drain_forwards(self, seconds: float, rng: random.Random) -> None:
        """End the sockets of other daemons' sessions evenly over `seconds`."""
        if self._forwarder is not None:
            await self._forwarder.drain(seconds, rng)

    def cut_all(self) -> None:
        """End every session now."""
        if self._forwarder is not None:
            self._forwarder.cut_all()
        for session in list(self._sessions.values()):
            session.cut(CloseCode.SHUTDOWN)

    # Requests

    async def serve(self, exchange: Exchange) -> None:
        """Answer a request that is no handshake of a WebSocket."""
        head = exchange.head
        headers = self._cors(head)
        try:
            self._check_origin(head)
            if head.method == "OPTIONS" and head.header(b"origin") is not None:
                await exchange.respond(204, _preflight(head, headers), b"")
                return
            await self._answer(exchange, headers)
        except EngineRefusal as refusal:
            answer = [_JSON, *headers]
            await exchange.respond(refusal.status, answer, refusal.body())
        except ChatError as refusal:
            common, body = error_answer(refusal, exchange.request_id)
            length = [pair for pair in common if pair[0].lower() != b"content-length"]
            await exchange.respond(refusal.status, [*length, *headers], body)

    async def _answer(self, exchange: Exchange, headers: Headers) -> None:
        head = exchange.head
        wanted = screen(head.method, head.query, is_upgrade=False)
        if isinstance(wanted, Handshake):
            self._check_room(exchange.peer)
            session = self._open(wanted, exchange.peer)
            self._nursery.start_soon(self._run, session)
            await _polling(session).fetch(exchange, headers)
            return
        forwarder, url = self._forwarder, self._owner(head, wanted)
        if forwarder is not None and url is not None:
            await forwarder.poll(exchange, url, headers)
            return
        session = self._find(wanted)
        if head.method == "GET":
            await _polling(session).fetch(exchange, headers)
        else:
            await _polling(session).bring(exchange, headers, session.limit)

    def screen(self, head: RequestHead, address: str) -> None:
        """Check the handshake of a WebSocket ahead of its 101.

        Raises:
            UpgradeRefused: Node's answer to a socket that it does not take.
            ChatError: the server goes down or is full.
        """
        try:
            self._check_origin(head)
            wanted = screen(head.method, head.query, is_upgrade=True)
            if isinstance(wanted, Existing):
                if self._forwarder is not None and self._owner(head, wanted) is not None:
                    self._forwarder.check_room()
                else:
                    self._find(wanted)
            elif self.is_draining:
                raise Draining(retry_after=RETRY_AFTER)
            else:
                self._doors.handshake(address)
        except EngineRefusal as refusal:
            raise UpgradeRefused(refusal.status, [_HTML], refusal.message.encode()) from None

    async def upgrade(self, upgrade: Upgrade) -> None:
        """Serve a WebSocket to its end: a session of its own, or the next transport of one."""
        wanted = screen("GET", upgrade.head.query, is_upgrade=True)
        if isinstance(wanted, Existing):  # screened in the same step
            url = self._owner(upgrade.head, wanted)
            if self._forwarder is not None and url is not None:
                await self._forwarder.upgrade(upgrade, url)
            else:
                await self._sessions[wanted.sid].upgrade(upgrade)
            return
        session = self._open(wanted, upgrade.peer)
        session.take_over(upgrade)
        del upgrade  # an idle session does not keep its head
        await self._run(session)

    # Sessions

    def _open(self, wanted: Handshake, peer: str) -> EngineSession:
        sid = self._tag + random_text(SID_BYTES)
        session = self._make_session(
            Opening(sid, wanted.transport, wanted.b64, peer, self._settings, self._tag)
        )
        self._sessions[sid] = session
        return session

    def _check_room(self, address: str) -> None:
        if self.is_draining:
            raise Draining(retry_after=RETRY_AFTER)
        # Those on a WebSocket are counted as connections, where they come in: a flood of handshakes
        # that nobody follows up must not keep them out.
        polling = self.polling
        if len(polling) >= self._settings.max_connections:
            raise Overloaded("too many connections", retry_after=RETRY_AFTER)
        self._doors.handshake(address)
        self._doors.check_polling(address, [session.peer for session in polling])

    def _owner(self, head: RequestHead, wanted: Existing) -> str | None:
        """Return where the daemon is whose session this is; None when it is ours or nobody's."""
        if self._forwarder is None or wanted.sid in self._sessions:
            return None
        return self._forwarder.route_of(head, wanted.sid)

    def _find(self, wanted: Existing) -> EngineSession:
        session = self._sessions.get(wanted.sid)
        if session is None:
            raise EngineRefusal(Refusal.SESSION_UNKNOWN)
        wanted.check(session.transport)
        return session

    async def _run(self, session: EngineSession) -> None:
        """Run a session; whatever it raises ends it and nothing else."""
        try:
            await session.run()
        except* Exception as failure:
            self._metrics.failures.inc()
            log.exception("session_failed", connection=session.id, exc_info=failure)
        finally:
            self._sessions.pop(session.sid, None)

    # Origins

    def _check_origin(self, head: RequestHead) -> None:
        if not is_own_page(head, self._settings.cors_origins):
            origin = (head.header(b"origin") or b"").decode("ascii")
            log.info("origin refused: it is not in cors_origins", origin=origin)
            raise EngineRefusal(Refusal.FORBIDDEN)

    def _cors(self, head: RequestHead) -> list[tuple[bytes, bytes]]:
        """Return what the engine adds to the CORS of the edge, for a page of a listed origin."""
        origin = head.header(b"origin")
        if origin is None or origin.decode("ascii") not in self._settings.cors_origins:
            return []
        # Harmless: there are no cookies, and pages may set `withCredentials`.
        return [(b"access-control-allow-credentials", b"true")]


def _preflight(head: RequestHead, headers: Headers) -> Headers:
    wanted = head.header(b"access-control-request-headers") or b"content-type"
    return [
        *headers,
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", b"600"),
    ]


def _polling(session: EngineSession) -> Polling:
    if session.polling is None:
        raise EngineRefusal(Refusal.BAD_REQUEST)
    return session.polling


@asynccontextmanager
async def open_engine(
    make_session: MakeSession,
    settings: Settings,
    metrics: Metrics,
    doors: Doors | None = None,
    peers: Peers | None = None,
) -> AsyncIterator[Engine]:
    """Run an Engine.IO server for the length of the block; leaving it ends the sessions.

    Args:
        doors: what one address may; by default anything.
        peers: the other daemons, whose sessions are passed on to them.
    """
    anybody = Doors(settings.model_copy(update={"rate_limits": "off"}))
    async with AsyncExitStack() as stack:
        forwarder = None
        if peers is not None:
            forwarder = await stack.enter_async_context(open_forwarder(peers, settings, metrics))
        nursery = await stack.enter_async_context(trio.open_nursery())
        tag = "" if peers is None else peers.tag
        engine = Engine(nursery, make_session, settings, metrics, doors or anybody, tag, forwarder)
        yield engine
        engine.cut_all()
        nursery.cancel_scope.cancel(reason="the engine stops")
