"""A TCP proxy on which links are cut, or go silent while both ends believe in them."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from tests.scenarios.daemon import Daemon

READ_BYTES = 65_536
WEBSOCKET = b"&transport=websocket"  # stands in the first line of a request for one
SWITCHED = b"HTTP/1.1 101 "
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: close sends RST (socket(7))


class Proxy:
    """Forwards to the daemon, wherever it listens now; made by `open_proxy`."""

    def __init__(self, daemon: Daemon) -> None:
        self.url = ""
        self._daemon = daemon
        self._links: set[trio.CancelScope] = set()
        self._is_cut = False
        self._flows = trio.Event()
        self._flows.set()
        self._upgrades = trio.Event()
        self._upgrades.set()
        self._probes = trio.Event()
        self._probes.set()
        self.probing = trio.Event()  # a WebSocket was opened while probes are held

    def freeze(self) -> None:
        """Forward nothing from now on, not even an end; connections are taken and wait."""
        if self._flows.is_set():
            self._flows = trio.Event()

    def thaw(self) -> None:
        """Forward again, what waits first."""
        self._flows.set()

    def cut(self) -> None:
        """Reset all links, on both sides, and each new one until `restore`.

        Else a client that was just between two polls would not have noticed anything.
        """
        self._is_cut = True
        for link in self._links:
            link.cancel()

    def restore(self) -> None:
        """Take connections again, and forward again."""
        self._is_cut = False
        self.thaw()

    def hold_upgrades(self) -> None:
        """Let WebSockets wait from now on, while polling flows."""
        self._upgrades = trio.Event()

    def release_upgrades(self) -> None:
        """Let WebSockets through again, all that wait at once."""
        self._upgrades.set()

    def hold_probes(self) -> None:
        """Let WebSockets open from now on, and nothing that a client says on them come through."""
        self._probes = trio.Event()

    async def serve(self, client: trio.SocketStream) -> None:
        """Be one link."""
        with trio.CancelScope() as link:
            self._links.add(link)
            if self._is_cut:
                link.cancel()
            try:
                await self._flows.wait()
                try:
                    first = await client.receive_some(READ_BYTES)
                    # Ahead of the connect: the daemon does not wait long for a request.
                    if WEBSOCKET in first:
                        await self._upgrades.wait()
                    server = await trio.open_tcp_stream("127.0.0.1", self._daemon.port)
                except (OSError, trio.BrokenResourceError):  # it is down: the client tries again
                    return
                async with server:
                    await self._forward(client, server, first, link)
            finally:
                self._links.discard(link)
                if link.cancel_called:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def _forward(
        self,
        client: trio.SocketStream,
        server: trio.SocketStream,
        first: bytes,
        link: trio.CancelScope,
    ) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, nursery.cancel_scope, first)
                nursery.start_soon(self._pump, server, client, nursery.cancel_scope)
        finally:
            if link.cancel_called:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def _pump(
        self,
        source: trio.SocketStream,
        sink: trio.SocketStream,
        both: trio.CancelScope,
        data: bytes = b"",
    ) -> None:
        try:
            while data := data or await source.receive_some(READ_BYTES):
                await self._flows.wait()
                await sink.send_all(data)
                if WEBSOCKET in data:
                    await self._probes.wait()
                if data.startswith(SWITCHED):
                    self.probing.set()
                data = b""
        except trio.BrokenResourceError:
            pass  # an end like another
        await self._flows.wait()
        both.cancel()


@asynccontextmanager
async def open_proxy(daemon: Daemon) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the daemon for the length of the block."""
    proxy = Proxy(daemon)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        proxy.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield proxy
        nursery.cancel_scope.cancel(reason="the test is over")
