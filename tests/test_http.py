"""The HTTP loop on memory streams: one request after another, and drains."""

from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from chatd.errors import NotAMember
from chatd.nurseries.http import Exchange
from tests.http_kit import (
    HANDSHAKE,
    get,
    open_wires,
)


async def test_a_direct_route_answers_every_request_of_a_connection() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        for _ in range(3):
            answer = await anna.ask(get())
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.headers["content-type"] == "text/plain"
            assert len(answer.headers["x-request-id"]) == 16
            assert answer.headers["date"].endswith(" GMT")
            assert "server" not in answer.headers
            assert "connection" not in answer.headers


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        bodies = [b"%d" % number for number in range(1000)]
        for body in bodies:
            await anna.send(
                b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )
        assert [(await anna.read()).body for _ in bodies] == bodies


async def test_a_request_may_come_byte_by_byte() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        for byte in b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n":
            await anna.send(bytes((byte,)))
        for byte in b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n":
            await anna.send(bytes((byte,)))
        assert (await anna.read()).body == b"abcd"
        assert (await anna.ask(get())).body == b"hello"


@pytest.mark.parametrize("ending", ["Connection: close", "Connection: keep-alive, Close"])
async def test_a_client_that_asks_for_it_gets_a_close(ending: str) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        assert (await anna.ask(get("/hello", ending))).headers["connection"] == "close"
        assert await anna.is_closed()


@pytest.mark.parametrize("path", ["/echo", "/into"])
@pytest.mark.parametrize("size", [0, 1, 700, 5000, 99_999])
@pytest.mark.parametrize("cut", [1, 100, 2000, 1 << 20])
async def test_a_body_is_read_to_its_end_and_no_further(path: str, size: int, cut: int) -> None:
    body = bytes(number % 251 for number in range(size))
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    sent = head + body + get() + head + body
    pieces = [sent[start : start + cut] for start in range(0, min(len(sent), 2000 * cut), cut)]
    pieces.append(sent[2000 * cut :])
    async with open_wires() as wires, trio.open_nursery() as nursery:
        anna = wires.connect()

        async def send() -> None:
            for piece in pieces:
                await anna.send(piece)

        nursery.start_soon(send)
        assert (await anna.read("POST")).body == body
        assert (await anna.read()).body == b"hello"
        assert (await anna.read("POST")).body == body


@pytest.mark.parametrize("path", ["/echo", "/into"])
async def test_a_client_that_leaves_within_a_body_is_forgotten(path: str) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab".encode())
        await wait_all_tasks_blocked()
        with capture_logs() as logs:
            await anna.stream.aclose()
            assert await anna.is_closed()
        assert [line["log_level"] for line in logs] == ["debug"]


async def test_a_head_request_gets_the_length_and_no_body() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await anna.read("HEAD")
        assert (answer.headers["content-length"], answer.body) == ("5", b"")
        assert (await anna.ask(get())).body == b"hello"


async def test_a_small_body_that_nobody_reads_is_skipped_and_the_connection_goes_on() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        for _ in range(3):
            await anna.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
            assert (await anna.read()).body == b"hello"
            await anna.send(b"cd")


async def test_a_big_body_that_nobody_reads_ends_the_connection() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        answer = await anna.ask(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n")
        assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_an_endless_chunked_body_that_nobody_reads_ends_the_connection() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await anna.read()).body == b"hello"
        await anna.send(b"10001\r\n")
        assert await anna.is_closed()


async def test_a_request_that_is_answered_twice_is_a_bug_and_ends_the_connection() -> None:
    async def twice(exchange: Exchange) -> None:
        await exchange.respond(200, [], b"one")
        await exchange.respond(200, [], b"two")

    async with open_wires(direct={"/twice": twice}) as wires:
        anna = wires.connect()
        with capture_logs() as logs:
            assert (await anna.ask(get("/twice"))).body == b"one"
            assert await anna.read_until_closed() == b""
        assert logs[0]["event"] == "request_failed"


async def test_an_answer_to_a_client_that_left_is_forgotten() -> None:
    go = trio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await exchange.respond(200, [], b"late")

    async with open_wires(direct={"/slow": slow}) as wires:
        anna = wires.connect()
        await anna.send(get("/slow"))
        await anna.stream.aclose()
        with capture_logs() as logs:
            go.set()
            assert await anna.is_closed()
        assert [line["log_level"] for line in logs] == ["debug"]


async def test_a_refusal_of_a_direct_route_is_an_envelope_and_keeps_the_connection() -> None:
    async def refuse(_exchange: Exchange) -> None:
        async with trio.open_nursery():  # so that it arrives in a group
            raise NotAMember

    async with open_wires(direct={"/no": refuse}) as wires:
        anna = wires.connect()
        answer = await anna.ask(get("/no"))
        assert (answer.status, answer.code) == (403, "not_a_member")
        assert (await anna.ask(get())).status == 200


async def test_a_bug_in_a_direct_route_is_logged_and_answered_with_500() -> None:
    async def fail(_exchange: Exchange) -> None:
        msg = "a bug"
        raise RuntimeError(msg)

    async def forget(_exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()

    async with open_wires(direct={"/bug": fail, "/forget": forget}) as wires:
        anna = wires.connect()
        with capture_logs() as logs:
            answer = await anna.ask(get("/bug"))
            assert (answer.status, answer.code) == (500, "internal")
            assert (await anna.ask(get("/forget"))).status == 500
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "request_failed",
            "request_unanswered",
        ]
        assert b"a bug" not in answer.body


async def test_a_drain_closes_idle_connections_and_lets_running_requests_finish() -> None:
    go = trio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        await exchange.respond(200, [], b"done")

    async with open_wires(direct={"/slow": slow}) as wires:
        idle, fresh, busy = wires.connect("idle"), wires.connect("fresh"), wires.connect("busy")
        await idle.ask(get())
        await busy.send(get("/slow"))
        await wait_all_tasks_blocked()
        wires.server.drain()
        assert await idle.is_closed()
        assert await fresh.is_closed()
        assert not await busy.is_closed()
        go.set()
        answer = await busy.read()
        assert (answer.body, answer.headers["connection"]) == (b"done", "close")
        assert await busy.is_closed()
        assert wires.server.live == 0


async def test_a_connection_that_comes_during_a_drain_is_closed() -> None:
    async with open_wires() as wires:
        wires.server.drain()
        assert await wires.connect().is_closed()


async def test_a_draining_server_takes_no_new_websockets() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(HANDSHAKE[:20])
        await wait_all_tasks_blocked()
        wires.server.drain()
        answer = await anna.ask(HANDSHAKE[20:])
        assert (answer.status, answer.code) == (503, "draining")
        assert answer.headers["retry-after"] == "1"


async def test_an_answer_that_a_direct_route_does_not_end_ends_the_connection() -> None:
    async def half(exchange: Exchange) -> None:
        exchange.start(200, [])
        await exchange.send(b"half", more=True)

    async with open_wires(direct={"/half": half}) as wires:
        anna = wires.connect()
        await anna.send(get("/half"))
        assert (await anna.read_until_closed()).endswith(b"4\r\nhalf\r\n")
