"""Every deadline of the HTTP loop, on a mock clock: not before, and then."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.nurseries.http import Exchange
from tests.http_kit import (
    HANDSHAKE,
    get,
    open_wires,
    quart_app,
)

LIMITS = Settings(port=0)


async def test_a_silent_new_connection_is_closed_at_the_head_timeout(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.head_timeout - 0.125)
        assert not await anna.is_closed()
        mock_clock.jump(0.125)
        assert await anna.is_closed()


async def test_a_slow_first_head_is_refused_at_the_head_timeout(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await wait_all_tasks_blocked()
        await anna.send(b"GET /hello HTTP/1.1\r\n")
        for step in range(39):  # a header every 0.125 s does not buy time
            await anna.send(b"X-%d: y\r\n" % step)
            await wait_all_tasks_blocked()
            mock_clock.jump(0.125)
        await wait_all_tasks_blocked()
        assert wires.server.live == 1
        mock_clock.jump(0.125)
        answer = await anna.read()
        assert (answer.status, answer.code) == (408, "deadline_exceeded")


async def test_a_later_head_has_its_timeout_from_its_first_byte(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.ask(get())
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.idle_timeout - 1)
        await anna.send(b"G")
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.head_timeout - 0.125)
        await anna.send(b"ET /hello HTTP/1.1\r\n")
        assert not await anna.is_closed()
        mock_clock.jump(0.125)
        assert (await anna.read()).status == 408


async def test_an_idle_connection_is_closed_at_the_idle_timeout(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.ask(get())
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.idle_timeout - 0.125)
        assert not await anna.is_closed()
        mock_clock.jump(0.125)
        assert await anna.is_closed()


async def test_an_answer_may_take_longer_than_the_idle_timeout(mock_clock: MockClock) -> None:
    async def slow(exchange: Exchange) -> None:
        await trio.sleep(LIMITS.idle_timeout * 2)
        await exchange.respond(200, [], b"late")

    async with open_wires(direct={"/slow": slow}) as wires:
        anna = wires.connect()
        await anna.send(get("/slow"))
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.idle_timeout * 2)
        assert (await anna.read()).body == b"late"


@pytest.mark.parametrize("path", ["/echo", "/into", "/json"])
async def test_a_slow_body_is_refused_at_the_body_timeout(path: str, mock_clock: MockClock) -> None:
    async with open_wires(quart_app()) as wires:
        anna = wires.connect()
        await anna.send(
            b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n" % path.encode()
        )
        await wait_all_tasks_blocked()
        for _ in range(19):
            await anna.send(b"x")
            await wait_all_tasks_blocked()
            mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        mock_clock.jump(0.375)
        await wait_all_tasks_blocked()
        assert wires.server.live == 1
        mock_clock.jump(0.125)
        answer = await anna.read()
        assert (answer.status, answer.code) == (408, "deadline_exceeded")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("path", ["/echo", "/into"])
async def test_a_body_that_makes_progress_gets_a_second_for_each_64_kib(
    path: str, mock_clock: MockClock
) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" % path.encode()
        await anna.send(head)
        await anna.send(b"x" * 65536)
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.body_timeout + 0.9)
        await wait_all_tasks_blocked()
        await anna.send(b"x")
        assert len((await anna.read()).body) == 65537


@pytest.mark.parametrize("path", ["/echo", "/into"])
async def test_a_client_that_expects_100_and_then_falls_silent_is_refused(
    path: str, mock_clock: MockClock
) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        head = b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        await anna.send(b"POST " + path.encode() + head)
        assert await anna.read_bytes(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.body_timeout)
        assert (await anna.read()).status == 408


async def test_a_client_that_expects_100_gets_it_only_when_the_body_is_wanted() -> None:
    head = b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    async with open_wires() as wires:
        anna, boris = wires.connect(), wires.connect("boris")
        await anna.send(b"POST /echo" + head)
        assert await anna.read_bytes(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await anna.ask(b"abc")).body == b"abc"
        await boris.send(b"POST /hello" + head)
        answer = await boris.read()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


class Deaf(trio.abc.HalfCloseableStream):
    """A client that asked once and never reads: every write waits."""

    def __init__(self, asked: bytes) -> None:
        self._asked = asked

    async def receive_some(self, max_bytes: int | None = None) -> bytes:  # noqa: ARG002 - the ABC's
        if not self._asked:
            await trio.sleep_forever()
        asked, self._asked = self._asked, b""
        return asked

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 - as above
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def send_eof(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "asked",
    [get(), get("/big"), b"nonsense\r\n\r\n"],
    ids=["direct", "app", "400"],
)
async def test_a_client_that_does_not_read_is_cut_at_the_write_timeout(
    asked: bytes, mock_clock: MockClock
) -> None:
    async with open_wires(quart_app()) as wires:
        done = trio.Event()

        async def serve() -> None:
            await wires.server.serve_connection(Deaf(asked), "192.0.2.1", "deaf")
            done.set()

        wires.nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        mock_clock.jump(LIMITS.write_timeout - 0.125)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        mock_clock.jump(0.125)
        await done.wait()


class Reset(Deaf):
    """A client whose connection was reset behind what it asked."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._asked:
            raise trio.BrokenResourceError
        return await super().receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 - as above
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("asked", [get(), b"nonsense\r\n\r\n", b"GET", HANDSHAKE[:-2]])
async def test_a_reset_ends_a_connection_at_once(asked: bytes) -> None:
    async with open_wires() as wires:
        await wires.server.serve_connection(Reset(asked), "192.0.2.1", "reset")
        assert wires.server.live == 0


async def test_the_linger_behind_a_refusal_is_bounded(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(b"nonsense\r\n\r\n")
        assert (await anna.read()).status == 400
        await wait_all_tasks_blocked()
        assert wires.ended == []
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        assert wires.ended == ["anna"]
