"""A daemon on its ports: accept until told to stop, then the drain."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog
import trio

from chatd.config import Settings
from chatd.nurseries.certificates import reload_at_hangup, tls_context
from chatd.nurseries.doors import Doors
from chatd.nurseries.http import HttpServer
from chatd.nurseries.listener import (
    Guard,
    bound_port,
    node_url_of,
    open_listeners,
    open_node_listeners,
    serve_listeners,
)
from chatd.nurseries.systemd import notify, tell_systemd

if TYPE_CHECKING:
    from chatd.nurseries.daemon import Daemon  # it opens what is served here

POLL = 0.05  # seconds between two looks whether the last connection has gone
FIRST_REQUEST = 1.0  # seconds for who has come in to ask something before the drain begins

log = structlog.get_logger("chatd.daemon")


async def serve(
    daemon: Daemon,
    announce: Callable[[int], None],
    stop: trio.Event,
    inherited: Sequence[socket.socket] = (),
) -> None:
    """Accept until told to stop; then stop accepting, drain, and cut what is left.

    Args:
        announce: called with the port once connections are accepted.
        inherited: sockets to accept on. Others hold them too, and accept when we do not.
    """
    settings = daemon.settings
    tls = tls_context(settings)
    listeners = await open_listeners(settings, tls, inherited)
    for_nodes = await open_node_listeners(settings)
    daemon.node_url = node_url_of(settings, for_nodes)
    if daemon.cluster is not None:
        daemon.cluster.nodes.url = daemon.node_url
    async with trio.open_nursery() as connections:
        if tls is not None:  # else a closed terminal ends the daemon, as it ends other programs
            await connections.start(reload_at_hangup, tls, settings)
        guard = _guard(daemon, daemon.doors, connections)
        # Other daemons come with everybody's clients: an address says nothing there.
        node_guard = _guard(daemon, _open_doors(settings), connections)
        accepting = await connections.start(serve_listeners, listeners, guard)
        accepting_nodes = await connections.start(serve_listeners, for_nodes, node_guard)
        announce(bound_port(listeners[0]))
        await connections.start(tell_systemd, lambda: guard.open)
        await stop.wait()
        await notify("STOPPING=1")
        with trio.move_on_after(settings.drain_seconds):
            if inherited:
                accepting.cancel(reason="draining")
                await _let_new_ask(daemon.http)
            daemon.begin_drain()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(daemon.drain)
                await daemon.let_polling_go()
                accepting.cancel(reason="draining")
                accepting_nodes.cancel(reason="draining")
                daemon.http.drain()
            while guard.open or node_guard.open or daemon.engine:  # noqa: ASYNC110 - the guards count, nobody waits for it but this
                await trio.sleep(POLL)
        daemon.cut_all()
        connections.cancel_scope.cancel(reason="the drain is over")
    log.info("stopped")


async def _let_new_ask(http: HttpServer) -> None:
    """Wait until who has just come in has asked something, for a moment at most.

    Who connects now is accepted by another worker; who did a moment ago must not be turned away.
    """
    with trio.move_on_after(FIRST_REQUEST):
        await trio.sleep(POLL)  # their tasks begin
        while http.is_awaiting:  # noqa: ASYNC110 - the server knows, nobody waits for it but this
            await trio.sleep(POLL)


def _guard(daemon: Daemon, doors: Doors, connections: trio.Nursery) -> Guard:
    return Guard(
        daemon.http.serve_connection,
        connections,
        max_connections=daemon.settings.max_connections,
        metrics=daemon.services.metrics,
        doors=doors,
    )


def _open_doors(settings: Settings) -> Doors:
    return Doors(settings.model_copy(update={"rate_limits": "off"}))
