"""A link to something that is no good Redis, or that says no: it waits, and ends nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from chatd.nurseries.redis_link import RedisAway, RedisLink, open_redis
from chatd.wire.resp import command, parse_address
from tests.cluster.kit import until
from tests.redis_kit import RedisServer

HELLO = b"+OK\r\n"  # the answer to HELLO is not looked at
CHANNEL = b"somewhere"

Talk = Callable[[trio.SocketStream], Awaitable[None]]


class Listener:
    """Notes what a link tells."""

    def __init__(self) -> None:
        self.connects = 0
        self.channels: list[bytes] = []
        self.link: RedisLink

    def connected(self) -> None:
        """Subscribe, as a backplane does."""
        self.connects += 1
        self.link.subscribe([CHANNEL])

    def disconnected(self) -> None:
        """Nothing."""

    def paused(self) -> None:
        """Nothing."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Nothing."""

    def subscribed(self, channel: bytes) -> None:
        """Note it."""
        self.channels.append(channel)


@asynccontextmanager
async def open_link(url: str, **limits: float) -> AsyncIterator[tuple[RedisLink, Listener]]:
    listener = Listener()
    link = listener.link = RedisLink(
        parse_address(url),
        listener,
        name="test",
        timeout=limits.get("timeout", 1.0),
        buffer_bytes=int(limits.get("buffer_bytes", 1 << 20)),
    )
    async with open_redis(link):
        yield link, listener


@asynccontextmanager
async def open_peer(talk: Talk) -> AsyncIterator[str]:
    """Run something that is taken for a Redis; yields its URL."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the link has ended it
            await talk(stream)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield f"redis://127.0.0.1:{listeners[0].socket.getsockname()[1]}/0"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"-NOAUTH HELLO must be called with the client already authenticated\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-ERR unknown command `HELLO`\r\n",
        b"",
    ],
)
async def test_what_is_no_redis_is_tried_again(words: bytes) -> None:
    tries = 0

    async def talk(stream: trio.SocketStream) -> None:
        nonlocal tries
        tries += 1
        await stream.receive_some()
        await stream.send_all(words)

    async with open_peer(talk) as url, open_link(url) as (link, _):
        await until(lambda: tries >= 2)
        assert not link.is_up


async def test_a_subscription_that_is_refused_is_no_answer_to_a_question(
    redis_server: RedisServer,
) -> None:
    """Redis 7 gives a new user no channels: `ACL SETUSER chatd on >secret ~* +@all`."""
    async with open_link(redis_server.url) as (admin, _):
        await admin.came_up()
        await admin.ask(command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all"))
    url = redis_server.url.replace("redis://", "redis://deaf:secret@")
    async with open_link(url) as (link, listener):
        await link.came_up()
        with pytest.raises(RedisAway):
            await link.ask(command("PING"))
        await until(lambda: listener.connects >= 2)
        assert not listener.channels


async def test_a_redis_that_ends_each_connection_at_once_is_not_stormed() -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(HELLO)

    async with open_peer(talk) as url, open_link(url) as (_, listener):
        await trio.sleep(1.0)
        assert 2 <= listener.connects <= 10


async def test_a_subscription_leaves_though_the_buffer_is_full(redis_server: RedisServer) -> None:
    async with open_link(redis_server.url, buffer_bytes=10) as (link, listener):
        await link.came_up()
        assert not link.publish(CHANNEL, b"more than there is room for")
        await until(lambda: listener.channels == [CHANNEL])
        link.unsubscribe([CHANNEL])
        assert await link.ask(command("PING")) == [b"PONG"]
