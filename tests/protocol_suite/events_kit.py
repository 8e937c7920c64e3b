"""A Socket.IO server with namespaces of the test's own, on memory streams, and its clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from chatd.config import Settings
from chatd.metrics import Metrics
from chatd.nurseries.engine import Engine, open_engine
from chatd.nurseries.event_namespace import EventNamespace
from chatd.nurseries.http import HttpServer, Routes, UpgradeRoute
from chatd.nurseries.socketio import SocketIoSession
from tests.http_kit import Client as HttpClient
from tests.http_kit import no_app
from tests.people import Wire

PATH = "/socket.io/"
QUERY = f"{PATH}?EIO=4&transport="


class EventClient:
    """One session of Socket.IO on a WebSocket; it answers no pings."""

    def __init__(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        self._socket = socket
        self.stream = stream

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self._socket.send_message(message)

    async def read(self) -> str | bytes:
        """Return the next message."""
        message: str | bytes = await self._socket.get_message()
        return message

    async def connect(self, packet: str = "40", **auth: Any) -> dict[str, Any]:
        """Join a namespace and return what CONNECT says; nothing may come ahead of it."""
        await self.send(packet + (orjson.dumps(auth).decode() if auth else ""))
        answer = str(await self.read())
        assert answer.startswith(packet), answer
        data: dict[str, Any] = orjson.loads(answer.removeprefix(packet))
        return data

    async def closed(self) -> list[str | bytes]:
        """Read until the server closes, and return what it said."""
        said: list[str | bytes] = []
        while True:
            try:
                said.append(await self.read())
            except ConnectionClosed:
                return said

    async def leave(self) -> None:
        """Be gone without a word, and let the server see it."""
        await trio.aclose_forcefully(self.stream)
        await wait_all_tasks_blocked()


class EventServer:
    """The server and where to meet it."""

    def __init__(self, engine: Engine, http: HttpServer, nursery: trio.Nursery) -> None:
        self.engine = engine
        self._http = http
        self._nursery = nursery

    def stream(self) -> trio.abc.Stream:
        """Return the client's end of a new connection."""
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._http.serve_connection, Wire(theirs), "192.0.2.1", "c")
        return ours

    def polling(self) -> HttpClient:
        """Return a connection for requests."""
        return HttpClient(self.stream())

    async def client(self) -> EventClient:
        """Return a new session on a WebSocket, its handshake read."""
        stream = self.stream()
        socket = await wrap_client_stream(
            self._nursery,
            cast("trio.SocketStream", stream),  # any stream will do
            "chatd.test",
            f"{QUERY}websocket",
            message_queue_size=2000,
        )
        client = EventClient(socket, stream)
        assert str(await client.read()).startswith("0{")
        return client


@asynccontextmanager
async def open_events(*namespaces: EventNamespace, **settings: Any) -> AsyncIterator[EventServer]:
    """Run a server with these namespaces for the length of the block."""
    known = {namespace.name: namespace for namespace in namespaces}
    chosen = Settings(port=0, **settings)
    async with (
        open_engine(
            lambda opening: SocketIoSession(opening, known, connect_timeout=45.0),
            chosen,
            Metrics(),
        ) as engine,
        trio.open_nursery() as nursery,
    ):
        upgrades = {PATH: UpgradeRoute(engine.screen, engine.upgrade)}
        http = HttpServer(Routes(no_app, {PATH: engine.serve}, upgrades), chosen)
        yield EventServer(engine, http, nursery)
        nursery.cancel_scope.cancel()
