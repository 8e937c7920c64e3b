"""Requests that stay: upgrades to WebSocket, and long-polls that are parked."""

from __future__ import annotations

import gc

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import Forbidden
from chatd.nurseries.http import Exchange, Upgrade, UpgradeRoute
from chatd.nurseries.http_stream import HttpStream
from chatd.wire.http import RequestHead
from tests.http_kit import (
    HANDSHAKE,
    get,
    open_wires,
    screen_none,
)


async def test_an_upgrade_may_come_as_any_request_and_takes_the_bytes_behind_it() -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.ask(get())
        await anna.send(HANDSHAKE + b"\x81\x80abcd")
        head = await anna.stream.receive_some(65_536)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        assert b"x-request-id: " in head.lower()
        await wait_all_tasks_blocked()
        [upgrade] = wires.upgrades
        assert (upgrade.leftover, upgrade.peer) == (b"\x81\x80abcd", "192.0.2.1")
        assert (upgrade.connection_id, upgrade.head.path) == ("anna", "/ws")
        assert wires.server.live == 0


async def test_an_upgraded_connection_has_no_deadline_of_http(mock_clock: MockClock) -> None:
    async with open_wires() as wires:
        anna = wires.connect()
        await anna.send(HANDSHAKE)
        await wait_all_tasks_blocked()
        mock_clock.jump(1000)
        await wait_all_tasks_blocked()
        assert wires.ended == []
        wires.server.drain()  # the goodbye of a WebSocket is not HTTP's
        await wait_all_tasks_blocked()
        assert wires.ended == []


async def test_an_upgrade_of_an_unknown_path_is_not_found() -> None:
    async with open_wires() as wires:
        answer = await wires.connect().ask(HANDSHAKE.replace(b"/ws", b"/nope") + b"x")
        assert (answer.status, answer.code) == (404, "not_found")
        assert answer.headers["connection"] == "close"


async def test_a_foreign_origin_gets_no_websocket() -> None:
    def screen(head: RequestHead, _address: str) -> None:
        if head.header(b"origin") not in {None, b"https://chat.test"}:
            raise Forbidden

    async def never(_upgrade: Upgrade) -> None:
        raise AssertionError

    async with open_wires(upgrades={"/ws": UpgradeRoute(screen, never)}) as wires:
        foreign = HANDSHAKE.replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.test\r\n\r\n")
        assert (await wires.connect().ask(foreign)).status == 403
        assert wires.upgrades == []


async def test_a_plain_request_to_a_websocket_path_is_told_to_upgrade() -> None:
    async with open_wires() as wires:
        answer = await wires.connect().ask(get("/ws"))
        assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


async def test_an_upgrade_frees_what_http_held() -> None:
    async def forget(upgrade: Upgrade) -> None:
        seen.append(upgrade.head.path)
        del upgrade
        await trio.sleep_forever()

    seen: list[str] = []
    before = _held()  # by another test's error, perhaps
    async with open_wires(upgrades={"/ws": UpgradeRoute(screen_none, forget)}) as wires:
        await wires.connect().send(HANDSHAKE)
        await wait_all_tasks_blocked()
        assert seen == ["/ws"]
        assert not [live for live in _held() if not any(live is other for other in before)]
        heads = [live for live in _live_objects() if isinstance(live, RequestHead)]
        assert "/ws" not in {head.path for head in heads}


def _held() -> list[object]:
    return [live for live in _live_objects() if isinstance(live, HttpStream | Exchange)]


def _live_objects() -> list[object]:
    gc.collect()
    return gc.get_objects()


async def test_a_parked_request_learns_that_its_client_left() -> None:
    left = trio.Event()

    async def poll(exchange: Exchange) -> None:
        await exchange.wait_disconnected()
        left.set()

    async with open_wires(direct={"/poll": poll}) as wires:
        anna = wires.connect()
        await anna.send(get("/poll"))
        await wait_all_tasks_blocked()
        assert not left.is_set()
        with capture_logs():
            await anna.stream.aclose()
            await left.wait()


async def test_a_parked_request_keeps_what_the_client_pipelines() -> None:
    go = trio.Event()

    async def poll(exchange: Exchange) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.wait_disconnected)
            await go.wait()
            await exchange.respond(200, [], b"polled")  # this ends the wait beside it

    async with open_wires(direct={"/poll": poll}) as wires:
        anna = wires.connect()
        await anna.send(get("/poll") + get())
        await anna.send(get())
        await wait_all_tasks_blocked()
        go.set()
        assert [(await anna.read()).body for _ in range(3)] == [b"polled", b"hello", b"hello"]


async def test_pipelined_bytes_are_kept_only_up_to_a_bound() -> None:
    go = trio.Event()

    async def poll(exchange: Exchange) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.wait_disconnected)
            await go.wait()
            held.append(len(exchange._stream.buffer))
            await exchange.respond(200, [], b"polled")

    held: list[int] = []
    async with open_wires(direct={"/poll": poll}) as wires:
        anna = wires.connect()
        await anna.send(get("/poll"))
        for _ in range(100):
            await anna.send(b"\r\n" * 5000)
        await wait_all_tasks_blocked()
        go.set()
        assert (await anna.read()).body == b"polled"
        assert held[0] <= 2 * 65_536
