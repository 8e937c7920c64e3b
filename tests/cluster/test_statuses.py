"""A status is one everywhere: whatever the clocks say, and whoever reads the store meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from chatd.testing.server import Person
from chatd.testing.socket import PersonSocket
from tests.cluster.kit import PATIENCE, Group, event, healed, open_group, until
from tests.cluster.test_losses import until_online
from tests.cluster.test_people import status
from tests.cluster.test_sharing import two
from tests.redis_kit import RedisServer

SKEW = timedelta(minutes=1)
LOOK = 0.05  # seconds


def skew(group: Group, node: int, by: timedelta) -> None:
    """Let the clock of a daemon's presence and healing be wrong."""
    presence = group.servers[node].daemon.live.presence
    right = presence._now
    presence._now = group.cluster(node).healing._now = lambda: right() + by


async def set_status(group: Group, node: int, person: Person, value: str) -> None:
    answer = await group.servers[node].rest(
        "POST", "/users/me/status", {"status": value}, token=person.token()
    )
    assert answer.status == 200, answer


async def stays(socket: PersonSocket, person: Person, value: str) -> None:
    """Wait until somebody is seen so, and look whether it stays."""
    with trio.fail_after(PATIENCE):
        while await status(socket, person) != value:  # noqa: ASYNC110 - of a client there is no event
            await trio.sleep(LOOK)
    for _ in range(30):
        await trio.sleep(LOOK)
        assert await status(socket, person) == value


@pytest.mark.parametrize("by", [SKEW, -SKEW])
async def test_the_last_status_counts_though_clocks_differ(
    redis_server: RedisServer, by: timedelta
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        skew(group, 0, by)
        async with anna.connect() as a, bert.connect() as b, group.at(0, bert).connect():
            await until_online(a, [str(bert.id)])
            for node, value in ((0, "BUSY"), (1, "ONLINE"), (0, "BUSY"), (1, "ONLINE")):
                await set_status(group, node, bert, value)
                await stays(a, bert, value)
                await stays(b, bert, value)


async def test_a_status_that_is_set_while_the_store_is_read_stays(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        skew(group, 0, -SKEW)
        async with anna.connect() as a, bert.connect():
            await until_online(a, [str(bert.id)])
            healing = group.cluster(1).healing
            await until(lambda: not healing._wanted.is_set())
            await trio.sleep(1.5)  # what begins with a start is over
            is_held, opened = trio.Event(), trio.Event()

            async def first_states(user_ids: Any, count: int) -> Any:
                found = await store.first_states(user_ids, count)
                is_held.set()
                await opened.wait()
                return found

            store = healing._store

            class Slow:
                def __getattr__(self, name: str) -> object:
                    return first_states if name == "first_states" else getattr(store, name)

            healing._store = Slow()
            healing.hole(group.cluster(0).nodes.tag)
            with trio.fail_after(PATIENCE):
                await is_held.wait()
            await set_status(group, 0, bert, "BUSY")
            await event(a, "user:status", userId=str(bert.id), status="BUSY")
            await trio.sleep(0.2)
            opened.set()
            await stays(a, bert, "BUSY")


async def test_healing_tells_nobody_what_they_know(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect():
            await until_online(a, [str(bert.id)])
            await trio.sleep(1.5)
            here = group.cluster(1)
            told = here.elsewhere._told[bert.id]
            await healed(here.healing)
            await trio.sleep(0.2)
            assert here.elsewhere._told[bert.id] == told


async def test_who_turns_invisible_from_elsewhere_was_seen_until_then(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        await group.servers[0].store.set_last_seen([bert.id], datetime(2020, 1, 1, tzinfo=UTC))
        async with anna.connect() as a, bert.connect(), group.at(1, anna).connect() as a1:
            await until_online(a, [str(bert.id)])
            before = group.servers[0].now
            await set_status(group, 0, bert, "INVISIBLE")
            for socket in (a, a1):
                heard = await event(socket, "user:status", userId=str(bert.id), status="OFFLINE")
                assert datetime.fromisoformat(heard["lastSeen"]) > before - timedelta(seconds=10)
            await trio.sleep(0.3)
            for socket in (a, a1):
                answer = await socket.ask("users:status", userIds=[str(bert.id)])
                seen = datetime.fromisoformat(answer["presence"][0]["lastSeen"])
                assert seen > before - timedelta(seconds=10)


async def test_who_leaves_one_daemon_and_is_away_at_another_is_away(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect() as phone:
            async with group.at(0, bert).connect():
                await phone.ask("status:set", status="AWAY")
                await stays(a, bert, "ONLINE")
            await stays(a, bert, "AWAY")
