"""What tests of the front door share: a running accept loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from chatd.config import Settings
from chatd.metrics import Metrics
from chatd.nurseries.doors import Doors
from chatd.nurseries.http import HttpServer, Routes
from chatd.nurseries.listener import (
    Guard,
    Listener,
    ServeConnection,
    bound_port,
    serve_listeners,
)
from tests.http_kit import Client, hello, no_app, peer


@dataclass
class Door:
    """A running accept loop."""

    guard: Guard
    accepting: trio.CancelScope
    metrics: Metrics
    connections: trio.Nursery
    port: int = 0

    async def connect(self) -> Client:
        return Client(await trio.open_tcp_stream("127.0.0.1", self.port))

    def failures(self) -> float | None:
        return self.metrics.registry.get_sample_value("chatd_connection_failures_total")


@asynccontextmanager
async def open_door(
    listeners: list[Listener],
    serve: ServeConnection,
    *,
    max_connections: int = 10,
    settings: Settings | None = None,
) -> AsyncIterator[Door]:
    metrics, doors = Metrics(), Doors(settings or Settings(rate_limits="off"))
    async with trio.open_nursery() as connections, trio.open_nursery() as accepts:
        guard = Guard(
            serve, connections, max_connections=max_connections, metrics=metrics, doors=doors
        )
        accepting = await accepts.start(serve_listeners, listeners, guard)
        door = Door(guard, accepting, metrics, connections)
        if isinstance(listeners[0], trio.SocketListener | trio.SSLListener):
            door.port = bound_port(listeners[0])
        yield door
        connections.cancel_scope.cancel()


def http(settings: Settings) -> ServeConnection:
    """Serve /hello and /peer."""
    return HttpServer(
        Routes(no_app, {"/hello": hello, "/peer": peer}, {}), settings
    ).serve_connection
