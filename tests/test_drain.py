"""The drain: what SIGTERM does to people, on a mock clock."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.store.memory import MemoryStore
from tests.http_kit import HANDSHAKE, get
from tests.http_kit import Client as RawClient
from tests.people import Client, World, open_world


def begin(world: World) -> None:
    """Start what a first SIGTERM starts."""
    world.daemon.begin_drain()
    world.nursery.start_soon(world.daemon.drain)


async def forward(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def under_way(world: World, request: bytes) -> RawClient:
    """Return a client whose request lacks one byte: a drain closes idle connections at once."""
    client = RawClient(world.stream())
    await client.send(request[:-1])
    await wait_all_tasks_blocked()
    return client


async def test_sockets_are_told_the_deadline(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path, drain_seconds=20) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        async with world.connect(anna) as a, world.connect(bert) as b:
            begin(world)
            for client in (a, b):
                assert await client.event("server:draining") == {
                    "deadline": "2026-01-01T00:00:20.000Z"
                }


async def test_readiness_says_no_while_draining_and_health_says_yes(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        ready = await under_way(world, get("/readyz"))
        alive = await under_way(world, get("/healthz"))
        assert (await world.rest("GET", "/readyz")).status == 200
        world.daemon.begin_drain()
        answer = await ready.ask(b"\n")
        assert (answer.status, answer.json) == (503, {"status": "unavailable"})
        assert (await alive.ask(b"\n")).status == 200


async def test_requests_under_way_that_are_new_work_are_refused(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        bearer = f"Authorization: Bearer {world.token(anna)}"
        body = b'{"content":"too late"}'
        head = get(
            f"/chat/sessions/{session_id}/messages", bearer, "Content-Type: application/json"
        )
        head = head.replace(b"GET", b"POST", 1).removesuffix(b"\r\n")
        post = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        sender = await under_way(world, post)
        newcomer = await under_way(world, HANDSHAKE)
        world.daemon.begin_drain()
        refused = await sender.ask(post[-1:])
        assert (refused.status, refused.code) == (503, "draining")
        assert refused.headers["retry-after"] == "20"
        answer = await newcomer.ask(b"\n")
        assert (answer.status, answer.code) == (503, "draining")


async def test_a_send_on_a_live_socket_is_refused_while_draining(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            world.daemon.begin_drain()
            said = {"sessionId": session_id, "content": "too late"}
            frame = await client.answer(await client.emit("message:send", **said))
            assert (frame["error"]["code"], frame["error"]["retryable"]) == ("draining", True)
            assert frame["error"]["retryAfterMs"] == 20_000
            page = await client.ask("message:history", sessionId=session_id)
            assert page["messages"] == []


async def test_a_commit_in_flight_is_acked(tmp_path: Path, mock_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, drain_seconds=20) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert):
            store.latency = 1
            request = await a.emit("message:send", sessionId=session_id, content="just in time")
            await wait_all_tasks_blocked()
            begin(world)
            await forward(mock_clock, 1)
            store.latency = 0
            ack = await a.answer(request)
            assert ack["data"]["message"]["seq"] == 1


async def test_sockets_close_evenly_over_the_drain_and_all_before_its_end(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, drain_seconds=22, goodbye_timeout=2) as world:
        clients: list[Client] = []

        async def connect(number: int) -> None:
            async with world.connect(await world.person(f"person{number}")) as client:
                clients.append(client)
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(connect, number)
            await wait_all_tasks_blocked()
            sockets = world.daemon.live.sockets
            assert len(sockets.all()) == 10
            begin(world)
            await wait_all_tasks_blocked()
            left = [len(sockets.all())]
            for _ in range(9):  # 20 seconds, 10 sockets: one every 2 seconds
                await forward(mock_clock, 1.9)
                left.append(len(sockets.all()))
                await forward(mock_clock, 0.1)
                left.append(len(sockets.all()))
            assert left == [9, *(count for step in range(9) for count in (9 - step, 8 - step))]
            for client in clients:
                assert await client.closed() == CloseCode.DRAINING.code
                assert client.waiting[-1]["data"] == {
                    "code": 4005,
                    "reason": "draining",
                    "reconnect": True,
                }
            nursery.cancel_scope.cancel()


async def test_sockets_close_in_no_order_that_a_client_can_know(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backwards(random.SystemRandom):
        def shuffle(self, x: object) -> None:
            assert isinstance(x, list)
            x.reverse()

    monkeypatch.setattr("chatd.nurseries.daemon.random.SystemRandom", Backwards)
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        async with world.connect(anna) as a, world.connect(bert) as b:
            begin(world)
            await wait_all_tasks_blocked()
            assert [each.user_id for each in world.daemon.live.sockets.all()] == [anna.id]  # type: ignore[attr-defined] # a Connection
            assert await b.closed() == CloseCode.DRAINING.code
            assert await a.heard("connection:closing") == []


async def test_what_is_left_after_the_drain_is_cut_with_shutdown(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path) as world,
        world.connect(await world.person("anna")) as client,
    ):
        world.daemon.cut_all()
        assert await client.closed() == CloseCode.SHUTDOWN.code
        assert client.waiting[-1]["data"]["reconnect"] is True


async def test_a_drain_without_sockets_is_over_at_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        began = trio.current_time()
        await world.daemon.drain()
        assert trio.current_time() == began
