"""A TCP proxy in front of Redis that loses what is published, or everything, at will."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

READ_BYTES = 65_536


class LinkProxy:
    """Made by `open_link_proxy`.

    Attributes:
        loss: the share of published messages that do not arrive.
        is_cut: nothing goes through, in either direction, while connections stay open.
        lost: messages that were lost.
    """

    def __init__(self, port: int, seed: int) -> None:
        self.loss = 0.0
        self.is_cut = False
        self.lost = 0
        self.port = 0
        self._redis = port
        self._random = random.Random(seed)  # noqa: S311 - a seeded fault
        self._scopes: set[trio.CancelScope] = set()

    @property
    def url(self) -> str:
        """What goes into `redis_url`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def break_connections(self) -> None:
        """End all connections; new ones go through."""
        for scope in list(self._scopes):
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        """Carry one connection."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with (
                    client,
                    await trio.open_tcp_stream("127.0.0.1", self._redis) as redis,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._carry, client, redis, scope)
                    await self._carry_back(redis, client)
                    scope.cancel()
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # either side is gone: so is the other
            finally:
                self._scopes.discard(scope)

    async def _carry(
        self, source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        while data := await source.receive_some(READ_BYTES):
            if not self.is_cut:
                await target.send_all(data)
        scope.cancel()

    async def _carry_back(self, redis: trio.SocketStream, client: trio.SocketStream) -> None:
        buffer = b""
        while data := await redis.receive_some(READ_BYTES):
            buffer += data
            kept = []
            while (end := end_of(buffer, 0)) is not None:
                value, buffer = buffer[:end], buffer[end:]
                if value.startswith(b">3\r\n$7\r\nmessage") and self._random.random() < self.loss:
                    self.lost += 1
                else:
                    kept.append(value)
            if kept and not self.is_cut:
                await client.send_all(b"".join(kept))


def end_of(data: bytes, start: int) -> int | None:
    """Return where the RESP value ends that begins there; None when it is not whole."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, head, end = data[start : start + 1], data[start + 1 : line], line + 2
    if kind in b"$=!":
        size = int(head)
        end += 0 if size < 0 else size + 2
        return end if end <= len(data) else None
    if kind in b"*>~%":
        count = int(head) * (2 if kind == b"%" else 1)
        for _ in range(max(count, 0)):
            following = end_of(data, end)
            if following is None:
                return None
            end = following
    return end


@asynccontextmanager
async def open_link_proxy(port: int, *, seed: int = 1) -> AsyncIterator[LinkProxy]:
    """Run a proxy in front of the Redis on a port, for the length of the block."""
    proxy = LinkProxy(port, seed)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
