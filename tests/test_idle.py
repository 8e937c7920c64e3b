"""AWAY by itself: a device that nobody touches, and what counts as a touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.nurseries.idle import SLACK, Idleness
from tests.people import Client, open_world
from tests.test_presence import forward, pair, statuses

IDLE = 300.0


async def active(client: Client) -> None:
    assert await client.ask("status:active") == {}


async def test_a_device_is_away_after_the_time_without_activity_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, ping_interval=1000) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await statuses(a)
            await forward(mock_clock, 100)
            await active(b)
            await active(a)
            await forward(mock_clock, IDLE - 0.1)
            assert await statuses(a) == []
            await forward(mock_clock, 0.1)
            assert sorted(await statuses(a)) == ["AWAY", "AWAY"]
            await active(b)
            assert await statuses(a) == []  # a second lies between two
            await forward(mock_clock, 1)
            assert await statuses(a) == ["ONLINE"]
            await forward(mock_clock, IDLE - 1)
            assert await statuses(a) == ["AWAY"]


@pytest.mark.parametrize(
    "event", ["session:join", "message:send", "typing:start", "message:read", "session:list"]
)
async def test_whatever_a_user_asks_for_makes_their_idle_device_online(
    tmp_path: Path, mock_clock: MockClock, event: str
) -> None:
    async with open_world(tmp_path, ping_interval=1000) as world:
        anna, bert = await pair(world)
        session_id = str(await world.session(anna, bert))
        data: dict[str, dict[str, Any]] = {
            "session:join": {"sessionId": session_id},
            "message:send": {"sessionId": session_id, "content": "x"},
            "typing:start": {"sessionId": session_id},
            "message:read": {"sessionId": session_id, "seq": 0},
            "session:list": {},
        }
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            await forward(mock_clock, 1)
            await active(a)
            await forward(mock_clock, IDLE - 1)
            assert (await statuses(a))[-1] == "AWAY"
            await forward(mock_clock, 1)
            await statuses(a)
            await b.emit(event, **data[event])
            assert await statuses(a) == ["ONLINE"]


async def test_the_renewal_of_a_token_and_a_pong_are_no_activity(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await statuses(a)
            for _ in range(12):
                await forward(mock_clock, 25)  # both are pinged, and answer
                await b.emit("auth:refresh", accessToken="of nobody")
            assert (await statuses(a)).count("AWAY") == 2


async def test_a_device_that_is_away_by_hand_stays_so_until_its_user_says_online(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, ping_interval=1000) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            await statuses(a)
            await b.ask("status:set", status="AWAY")
            assert await statuses(a) == ["AWAY"]
            await forward(mock_clock, 1)
            await active(b)
            await forward(mock_clock, IDLE)
            await active(b)
            await forward(mock_clock, 1)
            assert "ONLINE" not in await statuses(a)
            answer = await b.ask("status:set", status="ONLINE")
            assert answer["presence"]["status"] == "ONLINE"
            assert await statuses(a) == ["ONLINE"]


async def test_busy_from_an_idle_device_is_told_as_busy_and_not_as_online_first(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, ping_interval=1000) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            await active(a)
            await forward(mock_clock, IDLE - 1)
            await forward(mock_clock, 1)
            await statuses(a)
            await b.ask("status:set", status="BUSY")
            await forward(mock_clock, 1)
            assert await statuses(a) == ["BUSY"]
            await forward(mock_clock, IDLE)
            heard = await a.heard("user:status")
            assert str(bert.id) not in {event["userId"] for event in heard}  # and BUSY it stays


async def test_one_active_device_keeps_its_user_online(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, ping_interval=1000) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert), world.connect(bert) as laptop:
            await statuses(a)
            await forward(mock_clock, 200)
            await active(a)
            await active(laptop)
            await forward(mock_clock, 200)
            await active(a)
            assert await statuses(a) == []
            await forward(mock_clock, 100)
            assert await statuses(a) == ["AWAY"]


class Sock:
    def __init__(self, active_at: float) -> None:
        self.active_at = active_at


async def test_all_sockets_share_one_task_and_those_that_went_are_let_go(
    mock_clock: MockClock,
) -> None:
    idle: list[Sock] = []
    idleness = Idleness[Sock](10, idle.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(idleness.run)
        await wait_all_tasks_blocked()
        start = trio.current_time()
        socks = [Sock(start) for _ in range(1000)]
        tasks = trio.lowlevel.current_statistics().tasks_living
        for sock in socks:
            idleness.watch(sock)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        await forward(mock_clock, 9)
        socks[0].active_at = trio.current_time()
        for sock in socks[2:]:
            idleness.forget(sock)
        assert len(idleness._heap) <= SLACK + 2 * 2
        await forward(mock_clock, 1)
        assert idle == [socks[1]]
        await forward(mock_clock, 8.9)
        assert idle == [socks[1]]
        await forward(mock_clock, 0.1)
        assert idle == [socks[1], socks[0]]
        assert not idleness._heap
        nursery.cancel_scope.cancel()
