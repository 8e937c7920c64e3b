"""The table of HTTP attacks, raw bytes to a real port.

Every attack is made twice: as the first request of a connection, and behind a good one (T20).
After each a bystander, connected all the time, must still be served on its own connection.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from quart import Response, abort, request
from quart_trio import QuartTrio
from structlog.testing import capture_logs

from chatd.config import Settings
from chatd.errors import ValidationFailed
from chatd.metrics import Metrics
from chatd.nurseries.doors import Doors
from chatd.nurseries.http import Exchange, HttpServer, Routes, Upgrade, UpgradeRoute
from chatd.nurseries.listener import Guard, bound_port, open_listeners, serve_listeners
from chatd.wire.frames import FrameError, loads
from tests.hostile.http_attacks import ATTACKS, CLIENT_HELLO, KEPT, handshake, post
from tests.http_kit import Client, echo, get, hello, peer, screen_none, wait_until

SHORT = {"head_timeout": 1, "body_timeout": 1, "write_timeout": 1}  # room for a busy machine


@dataclass
class Port:
    """A running server and somebody who uses it all the time."""

    number: int
    guard: Guard
    server: HttpServer
    metrics: Metrics
    bystander: Client

    async def connect(self) -> Client:
        return Client(await trio.open_tcp_stream("127.0.0.1", self.number))

    async def check(self) -> None:
        """Everybody else is served, on old and new connections, and nothing was a bug."""
        assert (await self.bystander.ask(get())).status == 200
        newcomer = await self.connect()
        assert (await newcomer.ask(get())).status == 200
        await newcomer.stream.aclose()
        assert self.metrics.registry.get_sample_value("chatd_connection_failures_total") == 0


async def read_json(exchange: Exchange) -> None:
    try:
        loads(await exchange.read_body(1_000_000))
    except FrameError as refusal:
        raise ValidationFailed from refusal
    await exchange.respond(200, [], b"")


def quart_app() -> QuartTrio:
    app = QuartTrio(__name__)

    @app.post("/app")
    async def write() -> dict[str, Any]:
        if not request.is_json:
            abort(415)
        return {"got": await request.get_json()}

    @app.get("/large")
    async def large() -> Response:
        async def pieces() -> AsyncGenerator[bytes, None]:
            for _ in range(20):
                yield b"x" * 1_000_000

        return Response(pieces(), headers={"Content-Length": "20000000"})

    return app


async def late(exchange: Exchange) -> None:
    await exchange.wait_disconnected()
    await exchange.respond(200, [], b"late")


async def keep(upgrade: Upgrade) -> None:
    await upgrade.stream.send_all(upgrade.answer)
    while await upgrade.stream.receive_some():
        pass


async def big(exchange: Exchange) -> None:
    await exchange.respond(200, [], b"x" * 20_000_000)


@asynccontextmanager
async def open_port(**limits: float) -> AsyncIterator[Port]:
    settings = Settings(port=0, body_bytes=1_048_576, **limits)  # type: ignore[arg-type] # by name
    direct = {
        "/hello": hello,
        "/echo": echo,
        "/peer": peer,
        "/json": read_json,
        "/big": big,
        "/late": late,
    }
    server = HttpServer(
        Routes(quart_app(), direct, {"/ws": UpgradeRoute(screen_none, keep)}), settings
    )
    metrics = Metrics()
    with trio.fail_after(60):
        async with trio.open_nursery() as connections:
            guard = Guard(
                server.serve_connection,
                connections,
                max_connections=5000,
                metrics=metrics,
                doors=Doors(Settings(rate_limits="off")),
            )
            [listener] = await open_listeners(settings)
            await connections.start(serve_listeners, [listener], guard)
            number = bound_port(listener)
            stream = await trio.open_tcp_stream("127.0.0.1", number)
            port = Port(number, guard, server, metrics, Client(stream))
            async with stream:
                assert (await port.bystander.ask(get())).status == 200
                yield port
                await port.check()
            connections.cancel_scope.cancel()


@pytest.mark.parametrize("place", ["first", "second"])
@pytest.mark.parametrize(
    ("attack", "statuses"),
    [(attack, statuses) for _, attack, statuses in ATTACKS],
    ids=[name for name, _, _ in ATTACKS],
)
async def test_an_attack_is_answered_and_the_connection_closed(
    attack: bytes, statuses: set[int], place: str
) -> None:
    async with open_port(**(SHORT if statuses == {408} else {})) as port:
        mallory = await port.connect()
        async with mallory.stream:
            if place == "second":
                assert (await mallory.ask(get())).status == 200
            with capture_logs() as logs:
                answer = await mallory.ask(attack)
                assert answer.status in statuses
                assert answer.code
                assert answer.headers["connection"] == "close"
                assert answer.headers["content-type"] == "application/json"
                assert await mallory.read_until_closed() == b""
            assert [line["event"] for line in logs] == ["request_refused"]


@pytest.mark.parametrize(
    ("attack", "statuses"),
    [(attack, statuses) for _, attack, statuses in KEPT],
    ids=[name for name, _, _ in KEPT],
)
async def test_an_attack_on_more_than_the_framing_keeps_the_connection(
    attack: bytes, statuses: set[int]
) -> None:
    async with open_port() as port:
        mallory = await port.connect()
        async with mallory.stream:
            for _ in range(2):
                answer = await mallory.ask(attack)
                assert answer.status in statuses
                assert b"6.6.6.6" not in answer.body
            assert (await mallory.ask(get())).status == 200


@pytest.mark.parametrize(
    "attack",
    [
        handshake(behind=b"x"),
        handshake(behind=b"\x81\x80abcd"),
        handshake(
            b"\r\n\r\n",
            b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n\r\n",
        ),
    ],
    ids=["T29-trailing-byte", "T29-early-frame", "T33-deflate"],
)
async def test_an_odd_handshake_that_is_one_is_accepted_and_extensions_declined(
    attack: bytes,
) -> None:
    async with open_port() as port:
        mallory = await port.connect()
        async with mallory.stream:
            await mallory.send(attack)
            head = await mallory.stream.receive_some()
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"deflate" not in head


async def test_t18_silent_connections_are_closed_and_harm_nobody() -> None:
    async with open_port(**SHORT) as port:
        crowd = [await port.connect() for _ in range(200)]
        await port.check()
        for client in crowd:
            assert await client.read_until_closed() == b""
            await client.stream.aclose()


async def test_t19_a_slow_reader_of_a_large_answer_is_cut() -> None:
    async with open_port(**SHORT) as port:
        mallory = trio.socket.socket()
        mallory.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await mallory.connect(("127.0.0.1", port.number))
        with mallory:
            await mallory.send(get("/big"))
            await mallory.recv(100)
            assert port.server.live == 2
            await wait_until(lambda: port.server.live == 1)


@pytest.mark.parametrize("count", [3, 1000])
async def test_t21_pipelined_requests_are_answered_in_order(count: int) -> None:
    bodies = [b"%d" % number for number in range(count)]
    async with open_port() as port:
        mallory = await port.connect()
        async with mallory.stream, trio.open_nursery() as nursery:
            requests = b"".join(
                post(b"Content-Length: %d" % len(body), body=body) for body in bodies
            )
            nursery.start_soon(mallory.send, requests)
            assert [(await mallory.read()).body for _ in bodies] == bodies


async def test_t28_a_wrong_method_with_a_late_body_never_hangs() -> None:
    async with open_port() as port:
        mallory = await port.connect()
        async with mallory.stream:
            for _ in range(2000):
                await mallory.send(b"PUT /app HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
                await mallory.send(b"{}")
                assert (await mallory.read()).status == 405


async def test_a_reset_at_any_point_of_a_request_harms_nobody() -> None:
    whole = post(b"Content-Length: 5", body=b"abcde") + get("/big") + CLIENT_HELLO
    async with open_port() as port:
        for size in range(0, len(whole), 7):
            mallory = trio.socket.socket()
            await mallory.connect(("127.0.0.1", port.number))
            await mallory.send(whole[:size] or b"G")
            # Linger 0: the close is a reset, with whatever is under way.
            mallory.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            mallory.close()
        await wait_until(lambda: port.server.live == 1)


async def test_an_answer_to_a_client_that_was_reset_harms_nobody() -> None:
    async with open_port() as port:
        mallory = trio.socket.socket()
        await mallory.connect(("127.0.0.1", port.number))
        await mallory.send(get("/late"))
        await wait_until(lambda: port.server.live == 2)
        mallory.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        mallory.close()
        await wait_until(lambda: port.server.live == 1)


@pytest.mark.parametrize("path", ["/big", "/large"])
async def test_a_big_answer_arrives_whole_at_a_client_that_reads(path: str) -> None:
    async with open_port() as port:
        anna = await port.connect()
        async with anna.stream:
            await anna.send(get(path))
            head = (await anna.stream.receive_some(65_536)).partition(b"\r\n\r\n")
            left = 20_000_000 - len(head[2])
            while left > 0:
                left -= len(await anna.stream.receive_some(65_536))
            assert left == 0
            assert (await anna.ask(get())).status == 200
