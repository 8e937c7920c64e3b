"""The front door: guard, cap, accept errors, and a stop that leaves connections alone."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.nurseries.listener import (
    ACCEPT_PAUSE,
    bound_port,
    open_listeners,
)
from tests.http_kit import (
    Client,
    get,
    wait_until,
)
from tests.listener_kit import http, open_door


@dataclass
class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts what a test puts in: streams, or errors to raise."""

    is_closed: bool = False
    accepts: int = 0

    def __post_init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[trio.abc.Stream | OSError](100)

    def put(self, item: trio.abc.Stream | OSError) -> None:
        self._put.send_nowait(item)

    def connect(self) -> Client:
        near, far = memory_stream_pair()
        self.put(far)
        return Client(near)

    async def accept(self) -> trio.abc.Stream:
        item = await self._take.receive()
        self.accepts += 1
        if isinstance(item, OSError):
            raise item
        return item

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


# -- The guard


async def test_a_connection_that_fails_is_logged_and_dies_alone() -> None:
    async def serve(stream: trio.abc.Stream, _peer: str, _connection_id: str) -> None:
        async with trio.open_nursery():  # so that it comes in a group
            if await stream.receive_some() == b"bug":
                msg = "a bug"
                raise RuntimeError(msg)
            await stream.send_all(b"fine")

    listener = MemoryListener()
    async with open_door([listener], serve) as door:
        bad, good = listener.connect(), listener.connect()
        with capture_logs() as logs:
            await bad.send(b"bug")
            assert await bad.read_until_closed() == b""
        [line] = logs
        assert (line["event"], line["log_level"]) == ("connection_failed", "error")
        assert len(line["connection"]) == 8
        assert door.failures() == 1
        await good.send(b"hello")
        assert await good.read_until_closed() == b"fine"
        await wait_all_tasks_blocked()
        assert door.guard.open == 0


async def test_each_connection_has_an_id_of_its_own_and_is_closed_when_served() -> None:
    ids: list[str] = []

    async def serve(_stream: trio.abc.Stream, peer: str, connection_id: str) -> None:
        assert peer == "memory"
        ids.append(connection_id)
        await trio.lowlevel.checkpoint()

    listener = MemoryListener()
    async with open_door([listener], serve):
        for _ in range(3):
            assert await listener.connect().read_until_closed() == b""
    assert len(set(ids)) == 3


async def test_a_client_above_the_cap_gets_503_and_a_place_is_free_again_later() -> None:
    settings = Settings(port=0)
    async with open_door(await open_listeners(settings), http(settings), max_connections=1) as door:
        anna = await door.connect()
        assert (await anna.ask(get())).status == 200
        with capture_logs() as logs:
            for _ in range(3):
                boris = await door.connect()
                async with boris.stream:
                    answer = await boris.read()
                    assert (answer.status, answer.code) == (503, "overloaded")
                    assert answer.headers["retry-after"] == "5"
                    assert await boris.read_until_closed() == b""
        assert [line["event"] for line in logs] == ["connection_refused"]  # once, not per client
        assert door.guard.refused == 3
        await anna.stream.aclose()
        await wait_until(lambda: door.guard.open == 0)
        clara = await door.connect()
        async with clara.stream:
            assert (await clara.ask(get())).status == 200


async def test_a_client_above_the_cap_that_cannot_be_told_is_closed() -> None:
    async def serve(_stream: trio.abc.Stream, _peer: str, _connection_id: str) -> None:
        await trio.sleep_forever()

    listener = MemoryListener()
    async with open_door([listener], serve, max_connections=1):
        listener.connect()
        assert await listener.connect().read_until_closed() == b""


# -- Accepting


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_without_descriptors_accepting_pauses_and_says_so_once(
    number: int, mock_clock: MockClock
) -> None:
    listener = MemoryListener()
    async with open_door([listener], http(Settings())):
        with capture_logs() as logs:
            for _ in range(3):
                listener.put(OSError(number, os.strerror(number)))
            anna = listener.connect()
            await anna.send(get())
            for tries in (1, 2, 3):
                await wait_all_tasks_blocked()
                assert listener.accepts == tries
                mock_clock.jump(ACCEPT_PAUSE)
            assert (await anna.read()).status == 200
        assert [line["event"] for line in logs] == ["accept_paused"]


async def test_a_client_that_left_before_it_was_accepted_is_passed_over() -> None:
    listener = MemoryListener()
    async with open_door([listener], http(Settings())):
        listener.put(OSError(errno.ECONNABORTED, "aborted"))
        assert (await listener.connect().ask(get())).status == 200


async def test_any_other_failure_of_accepting_is_the_daemons() -> None:
    listener = MemoryListener()
    listener.put(OSError(errno.EBADF, "a bug"))
    with pytest.RaisesGroup(OSError, flatten_subgroups=True):
        async with open_door([listener], http(Settings())):
            await trio.sleep_forever()


async def test_accepting_stops_alone_and_connections_go_on() -> None:
    listener = MemoryListener()
    async with open_door([listener], http(Settings())) as door:
        anna = listener.connect()
        assert (await anna.ask(get())).status == 200
        door.accepting.cancel()
        await wait_all_tasks_blocked()
        assert listener.is_closed
        assert (await anna.ask(get())).status == 200


async def test_a_closed_port_refuses_while_connections_go_on() -> None:
    settings = Settings(port=0)
    async with open_door(await open_listeners(settings), http(settings)) as door:
        anna = await door.connect()
        async with anna.stream:
            assert (await anna.ask(get())).status == 200
            door.accepting.cancel()
            await wait_until(lambda: _is_refused(door.port))
            assert (await anna.ask(get())).status == 200


def _is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


async def test_an_accepted_socket_notices_a_cut_link_and_sends_at_once() -> None:
    options: list[int] = []

    async def serve(stream: trio.abc.Stream, peer: str, _connection_id: str) -> None:
        assert isinstance(stream, trio.SocketStream)
        assert peer == "127.0.0.1"
        options.extend(
            (
                stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
                stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )
        )

    async with open_door(await open_listeners(Settings(port=0)), serve) as door:
        anna = await door.connect()
        async with anna.stream:
            assert await anna.read_until_closed() == b""
    assert options == [1, 1, 20_000]


async def test_a_forwarded_address_of_an_unknown_proxy_is_ignored() -> None:
    settings = Settings(port=0)
    async with open_door(await open_listeners(settings), http(settings)) as door:
        anna = await door.connect()
        async with anna.stream:
            answer = await anna.ask(get("/peer", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6"))
            assert answer.body == b"127.0.0.1"


def test_a_listener_without_a_port_has_none() -> None:
    with pytest.raises(TypeError):
        bound_port(MemoryListener())


async def test_an_answer_waits_for_a_kernel_that_takes_nothing_more() -> None:
    near, far = trio.socket.socketpair()
    anna = Client(trio.SocketStream(near))
    async with anna.stream, trio.SocketStream(far) as stream, trio.open_nursery() as nursery:
        filled = _fill(far)
        await anna.send(get("/hello", "Connection: close"))
        nursery.start_soon(http(Settings()), stream, "anna", "1")
        await wait_all_tasks_blocked()
        assert await anna.read_bytes(filled) == b"x" * filled
        assert (await anna.read()).body == b"hello"


def _fill(sender: trio.socket.SocketType) -> int:
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += os.write(sender.fileno(), b"x" * 65_536)
    return filled
