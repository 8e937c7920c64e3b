"""The front door: accept, a guard around each connection, a cap on their number.

Whatever a connection's task raises ends that connection and nothing else: one unauthenticated
request ended a whole server (Hypercorn 0.18, issue 225). The accept loop runs in a scope of its
own, so that the stop can end it first while connections go on.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress

import structlog
import trio

from chatd.config import Settings
from chatd.errors import ChatError, Overloaded
from chatd.ids import random_hex
from chatd.metrics import Metrics
from chatd.nurseries.doors import Doors
from chatd.wire.edge import edge_lines
from chatd.wire.http_response import Response, error_answer

ACCEPT_PAUSE = 0.1  # seconds; without descriptors only an ending connection helps
BURST = 16  # clients taken in one step: 1 ms in which nobody else runs
USER_TIMEOUT_MS = 20_000  # a cut link was unnoticed after 45 s without it
RETRY_AFTER = 5.0  # seconds, for clients above max_connections
# What a defect of ours gives; all else, such as EMFILE or a route that went, may pass (accept(2)).
_BROKEN = frozenset((errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP))
_PASSING = frozenset((errno.ECONNABORTED,))

ServeConnection = Callable[[trio.abc.Stream, str, str], Awaitable[None]]
Listener = trio.abc.Listener[trio.abc.Stream]
_log = structlog.get_logger("chatd.listener")


async def open_listeners(
    settings: Settings,
    tls: ssl.SSLContext | None = None,
    inherited: Sequence[socket.socket] = (),
) -> list[Listener]:
    """Listen on the host and port of the settings, with TLS where there is a context for it.

    Args:
        inherited: sockets that listen already; then host and port do not count.

    Raises:
        OSError: the address cannot be had.
    """
    listeners = [
        trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in inherited
    ] or await trio.open_tcp_listeners(settings.port, host=settings.host, backlog=settings.backlog)
    _inherit_options(listeners)
    if tls is None:
        return list(listeners)
    return [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners]


async def open_node_listeners(settings: Settings) -> list[Listener]:
    """Listen for other daemons, when the settings have a port for them; without TLS.

    Raises:
        OSError: the address cannot be had.
    """
    if settings.node_port is None:
        return []
    listeners = await trio.open_tcp_listeners(
        settings.node_port, host=settings.node_host, backlog=settings.backlog
    )
    _inherit_options(listeners)
    return list(listeners)


def node_url_of(settings: Settings, listeners: Sequence[Listener]) -> str | None:
    """Return how other daemons reach this one; None when there is no way.

    Args:
        listeners: those of `open_node_listeners`.
    """
    if settings.node_url is not None or not listeners:
        return settings.node_url
    host = f"[{settings.node_host}]" if ":" in settings.node_host else settings.node_host
    return f"http://{host}:{bound_port(listeners[0])}"


def _inherit_options(listeners: Sequence[trio.SocketListener]) -> None:
    for listener in listeners:
        # Every accepted socket inherits these: three system calls a connection less.
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def bound_port(listener: Listener) -> int:
    """Return the port that a listener got, for settings that leave the choice to the kernel."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    if not isinstance(listener, trio.SocketListener):
        msg = "a listener without a port"
        raise TypeError(msg)
    port: int = listener.socket.getsockname()[1]
    return port


def descriptor_of(listener: Listener) -> int:
    """Return the descriptor of a listener without TLS, to be handed to another process."""
    if not isinstance(listener, trio.SocketListener):
        msg = "a listener without a socket"
        raise TypeError(msg)
    number: int = listener.socket.fileno()
    return number


class Guard:
    """Runs each connection in a task of `connections`, and keeps its failure to itself.

    Args:
        serve: speaks with one client: stream, address, connection id; the guard closes the stream.
        connections: outlives the accept loop; cancel it to cut every connection.
        max_connections: above it a client gets 503 with Retry-After, over TLS a close.
        doors: what one address may.
    """

    def __init__(
        self,
        serve: ServeConnection,
        connections: trio.Nursery,
        *,
        max_connections: int,
        metrics: Metrics,
        doors: Doors,
    ) -> None:
        self._serve = serve
        self._connections = connections
        self._max = max_connections
        self._metrics = metrics
        self._doors = doors
        self.open = 0  # connections now
        self.refused = 0  # clients turned away so far

    async def admit(self, stream: trio.abc.Stream, peer: str | None = None) -> None:
        """Start the task of a new connection, or turn the client away.

        Args:
            peer: the client's address, where accepting has told it.
        """
        peer = peer or _address_of(stream)
        if peer is not None:
            try:
                if self.open >= self._max:
                    raise Overloaded("too many connections", retry_after=RETRY_AFTER)
                self._doors.connect(peer)
            except ChatError as refusal:
                self._count_refusal(refusal)
                _turn_away(stream, refusal)
            else:
                self.open += 1
                self._doors.enter(peer)  # not in the task: a burst of clients would not see it
                self._connections.start_soon(self._run, stream, peer)
                return
        await trio.aclose_forcefully(stream)

    def _count_refusal(self, refusal: ChatError) -> None:
        self.refused += 1
        self._metrics.refused.labels(refusal.code).inc()
        if self.refused == 1 or self.refused % 1000 == 0:  # a flood does not fill the log
            _log.warning(
                "connection_refused",
                open=self.open,
                refused=self.refused,
                reason=refusal.message,
            )

    async def _run(self, stream: trio.abc.Stream, peer: str) -> None:
        connection_id = random_hex(4)
        try:
            await self._serve(stream, peer, connection_id)
        except* Exception as failure:  # noqa: BLE001 - a bug ends its connection, logged
            self._metrics.failures.inc()
            _log.error("connection_failed", connection=connection_id, exc_info=failure)
        finally:
            self._doors.leave(peer)
            self.open -= 1
            await trio.aclose_forcefully(stream)


async def serve_listeners(
    listeners: Sequence[Listener],
    guard: Guard,
    *,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until cancelled, then close the listeners. Connections are the guard's and go on.

    `nursery.start` returns the cancel scope of accepting alone.
    """
    with trio.CancelScope() as accept_scope:
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(_accept, listener, guard)
            task_status.started(accept_scope)


async def _accept(listener: Listener, guard: Guard) -> None:
    is_short = False
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as failure:
                if failure.errno in _PASSING:
                    continue
                if failure.errno in _BROKEN:
                    raise
                if not is_short:  # once: this can go on for minutes at ten times a second
                    _log.error("accept_paused", reason=failure.strerror)
                is_short = True
                await trio.sleep(ACCEPT_PAUSE)
                continue
            is_short = False
            await guard.admit(stream)
            for more, peer in _waiting(listener):
                await guard.admit(more, peer)


def _waiting(listener: Listener) -> Iterator[tuple[trio.abc.Stream, str]]:
    """Yield clients that have come as well: in a crowd not each costs a pass of the scheduler."""
    if not isinstance(listener, trio.SocketListener):
        return
    plain: socket.socket = listener.socket._sock  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    with suppress(OSError):  # nobody, or a trouble that the next wait meets again
        for _ in range(BURST):
            accepted, address = plain.accept()
            yield trio.SocketStream(trio.socket.from_stdlib_socket(accepted)), address[0]


def _socket_of(stream: trio.abc.Stream) -> trio.SocketStream | None:
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream if isinstance(stream, trio.SocketStream) else None


def _address_of(stream: trio.abc.Stream) -> str | None:
    """Return the client's address; None if it has left already."""
    transport = _socket_of(stream)
    if transport is None:
        return "memory"
    try:
        peer: str = transport.socket.getpeername()[0]
    except OSError:  # ENOTCONN or EINVAL: reset between the handshake and here
        return None
    return peer


def _turn_away(stream: trio.abc.Stream, refusal: ChatError) -> None:
    """Write the refusal if that can be done without waiting; a flood must not cost tasks."""
    if not isinstance(stream, trio.SocketStream):
        return
    request_id = random_hex(8)
    headers, body = error_answer(refusal, request_id)
    response = Response(
        None,
        refusal.status,
        headers,
        request_id=request_id,
        now=time.time(),
        closes=True,
        edge=edge_lines((b"cache-control",), origin=None, allowed=(), is_secure=False),
    )
    descriptor = stream.socket.fileno()
    with suppress(OSError):  # a full or broken socket: the close says it too
        os.write(descriptor, response.head + response.encode(body, more=False))
        # What has been asked is read, or closing would send a reset that overtakes the answer.
        os.read(descriptor, 65_536)
