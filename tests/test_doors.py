"""What one address may: connections, handshakes, logins; and who stands behind a proxy."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from chatd.config import Settings
from chatd.nurseries.doors import Doors
from chatd.nurseries.http import HttpServer, Routes
from chatd.nurseries.listener import bound_port, open_listeners
from chatd.testing.server import PEER
from tests.http_kit import Answer, get, no_app, peer, wait_until
from tests.listener_kit import http, open_door
from tests.people import World, open_world

POLL = "/socket.io/?EIO=4&transport=polling"
PASSWORD = "correct horse battery"
HANDSHAKE = (
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PROXIED: dict[str, Any] = {"rate_limits": "on", "trusted_proxies": (f"{PEER}/32",)}


def of(address: str) -> list[str]:
    return [f"X-Forwarded-For: {address}"]


def refused(answer: Answer) -> bool:
    assert answer.status in {200, 429, 503}, answer
    return answer.status != 200


# Connections


@pytest.mark.threat("T18")
async def test_one_address_has_so_many_connections_and_others_are_let_in() -> None:
    settings = Settings(port=0, max_connections_per_address=2)
    async with open_door(await open_listeners(settings), http(settings), settings=settings) as door:
        anna, boris = await door.connect(), await door.connect()
        for client in (anna, boris):
            assert (await client.ask(get())).status == 200
        with capture_logs() as logs:
            clara = await door.connect()
            async with clara.stream:
                answer = await clara.read()
                assert (answer.status, answer.code) == (503, "overloaded")
                assert answer.headers["retry-after"] == "5"
        assert [line["event"] for line in logs] == ["connection_refused"]
        refusals = {"code": "overloaded"}
        assert door.metrics.registry.get_sample_value("chatd_refused_total", refusals) == 1
        other = await trio.open_tcp_stream("127.0.0.1", door.port, local_address="127.0.0.2")
        async with other:
            await other.send_all(get())
            assert (await other.receive_some()).startswith(b"HTTP/1.1 200 ")
        await anna.stream.aclose()
        await wait_until(lambda: door.guard.open == 1)
        dora = await door.connect()
        async with dora.stream, boris.stream:
            assert (await dora.ask(get())).status == 200


@pytest.mark.threat("T18")
async def test_those_who_wait_to_be_accepted_together_are_counted_one_by_one() -> None:
    settings = Settings(port=0, max_connections_per_address=2)
    listeners = await open_listeners(settings)
    async with AsyncExitStack() as clients:
        for _ in range(12):
            client = await trio.open_tcp_stream("127.0.0.1", bound_port(listeners[0]))
            await clients.enter_async_context(client)
        async with open_door(listeners, http(settings), settings=settings) as door:
            await wait_until(lambda: door.guard.open + door.guard.refused == 12)
            assert door.guard.refused == 10


async def test_one_address_connects_so_often_and_is_told_when_to_come_back() -> None:
    settings = Settings(port=0, connect_rate="1/h burst 2")
    async with open_door(await open_listeners(settings), http(settings), settings=settings) as door:
        for expected in (200, 200, 429):
            client = await door.connect()
            async with client.stream:
                answer = await client.ask(get()) if expected == 200 else await client.read()
                assert answer.status == expected
        assert answer.code == "rate_limited"
        assert 3590 < int(answer.headers["retry-after"]) <= 3600


async def test_a_proxy_of_ours_connects_as_often_as_it_wants() -> None:
    settings = Settings(
        port=0,
        connect_rate="1/h burst 1",
        max_connections_per_address=1,
        trusted_proxies=("127.0.0.1",),
    )
    doors = Doors(settings)
    server = HttpServer(Routes(no_app, {"/peer": peer}, {}), settings, doors)
    async with open_door(
        await open_listeners(settings), server.serve_connection, settings=settings
    ) as door:
        for number in range(3):
            client = await door.connect()
            async with client.stream:
                answer = await client.ask(get("/peer", *of(f"6.6.6.6, 203.0.113.{number}")))
                assert answer.body == b"203.0.113.%d" % number


# Handshakes


async def test_a_flood_of_polling_handshakes_does_not_keep_others_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    limits: dict[str, Any] = {"max_connections": 60, "handshake_rate": "1/h burst 50"}
    async with open_world(tmp_path, **PROXIED, **limits) as world:
        flood = [await world.rest("GET", POLL, headers=of("203.0.113.1")) for _ in range(70)]
        assert [refused(answer) for answer in flood] == [False] * 50 + [True] * 20
        assert flood[-1].code == "rate_limited"
        assert int(flood[-1].headers["retry-after"]) > 3000
        other = await world.rest("GET", POLL, headers=of("203.0.113.2"))
        assert other.status == 200


async def test_one_address_polls_with_so_many_sessions(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, **PROXIED, max_connections_per_address=3) as world:
        answers = [await world.rest("GET", POLL, headers=of("2001:db8::1")) for _ in range(3)]
        answers.append(await world.rest("GET", POLL, headers=of("2001:db8::2")))
        assert [refused(answer) for answer in answers] == [False, False, False, True]
        assert answers[-1].code == "overloaded"
        assert (await world.rest("GET", POLL, headers=of("2001:db8:0:1::1"))).status == 200


async def upgrade(world: World, path: str, address: str) -> bytes:
    """Ask for a WebSocket and return the status line; it stays open."""
    stream = world.stream()
    await stream.send_all(get(path, "Connection: Upgrade", *HANDSHAKE, *of(address)))
    return bytes(await stream.receive_some()).split(b"\r\n")[0]


async def test_handshakes_of_websockets_are_counted_by_address_on_both_wires(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, **PROXIED, handshake_rate="1/h burst 2") as world:
        socketio = "/socket.io/?EIO=4&transport=websocket"
        assert b" 101 " in await upgrade(world, "/ws", "203.0.113.1")
        assert b" 101 " in await upgrade(world, socketio, "203.0.113.1")
        assert b" 429 " in await upgrade(world, "/ws", "203.0.113.1")
        assert b" 429 " in await upgrade(world, socketio, "203.0.113.1")
        assert refused(await world.rest("GET", POLL, headers=of("203.0.113.1")))
        assert b" 101 " in await upgrade(world, "/ws", "203.0.113.2")


async def test_sockets_through_a_proxy_are_capped_by_the_address_behind_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, **PROXIED, max_connections_per_address=2) as world:
        for _ in range(2):
            assert b" 101 " in await upgrade(world, "/ws", "203.0.113.1")
        assert b" 503 " in await upgrade(world, "/ws", "203.0.113.1")
        assert b" 101 " in await upgrade(world, "/ws", "203.0.113.2")
        await trio.sleep(world.server.settings.auth_timeout + 5)  # nobody logged in: closed
        assert b" 101 " in await upgrade(world, "/ws", "203.0.113.1")


# Logins


@pytest.mark.threat("T77")
async def test_logins_are_counted_by_address_and_the_headers_say_what_is_left(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, **PROXIED, login_rate="5/min burst 2") as world:
        answers = []
        for name in ("anna", "bert", "carol"):
            body = {"email": f"{name}@example.com", "password": PASSWORD}
            answers.append(await world.rest("POST", "/auth/login", body, headers=of("203.0.113.1")))
        assert [answer.status for answer in answers] == [401, 401, 429]
        left = [answer.headers["ratelimit-remaining"] for answer in answers]
        assert left == ["1", "0", "0"]
        assert {answer.headers["ratelimit-limit"] for answer in answers} == {"2"}
        assert answers[0].headers["ratelimit-reset"] == "12"
        assert int(answers[2].headers["retry-after"]) <= 12
        other = await world.rest("POST", "/auth/login", body, headers=of("203.0.113.2"))
        assert other.status == 401


async def test_accounts_are_opened_by_one_address_so_often(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, **PROXIED, register_rate="3/h burst 1") as world:
        statuses = []
        for name, address in (("anna", 1), ("bert", 1), ("carol", 2)):
            body = {"email": f"{name}@example.com", "password": PASSWORD}
            headers = of(f"203.0.113.{address}")
            statuses.append(
                (await world.rest("POST", "/auth/register", body, headers=headers)).status
            )
        assert statuses == [201, 429, 201]


async def test_the_rate_that_has_the_least_left_is_the_one_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        anna = world.token(await world.person("anna"))
        answer = await world.rest("GET", "/chat/sessions", token=anna)
        assert (answer.status, answer.headers["ratelimit-limit"]) == (200, "100")
        assert answer.headers["ratelimit-remaining"] == "99"
        wrong = await world.rest("GET", "/chat/sessions?limit=x", token=anna)
        assert (wrong.status, wrong.headers["ratelimit-remaining"]) == (422, "98")
        unknown = await world.rest("GET", "/nothing", token=anna)
        assert "ratelimit-limit" not in unknown.headers


@pytest.mark.threat("T27")
async def test_a_forwarded_address_is_ignored_from_anybody_else(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path, rate_limits="on", login_rate="5/min burst 1") as world:
        body = {"email": "anna@example.com", "password": PASSWORD}
        statuses = [
            (await world.rest("POST", "/auth/login", body, headers=of(f"203.0.113.{n}"))).status
            for n in range(2)
        ]
        assert statuses == [401, 429]


# Events


@pytest.mark.threat("T41")
async def test_a_socket_that_goes_on_above_its_rate_is_closed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path, rate_limits="on", event_rate="50/s burst 10") as world,
        world.connect(await world.person("anna")) as eve,
    ):
        for _ in range(112):
            await eve.emit("no:such")
        assert await eve.closed() == 4013


async def test_a_socket_that_heeds_its_refusals_is_not_closed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path, rate_limits="on", event_rate="50/s burst 10") as world,
        world.connect(await world.person("anna")) as anna,
    ):
        for _ in range(20):
            for _ in range(60):
                await anna.emit("no:such")
            await trio.sleep(12)
        await anna.ask("session:list")
