"""Large sessions: how many are there, not who."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock

from chatd.nurseries.audience import LARGE, Audience
from chatd.nurseries.counts import COUNT_INTERVAL
from chatd.nurseries.presence_user import PresentUser
from chatd.rows import Size, UserRow
from tests.people import Client, World, open_world
from tests.test_presence import forward


async def crowd(world: World, number: int) -> tuple[list[UserRow], str]:
    """Return people, and the session that they all share."""
    people = [await world.person(f"person{each}") for each in range(number)]
    return people, str(await world.session(*people))


async def counts(client: Client) -> list[Any]:
    return [event["online"] for event in await client.heard("session:presence")]


async def test_a_large_session_is_told_how_many_are_there_every_five_seconds_and_never_who(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        people, session_id = await crowd(world, LARGE + 1)
        anna, bert, carol, *_ = people
        async with world.socket(world.token(anna)) as a:
            await a.event("connection:ready")
            joined = await a.ask("session:join", sessionId=session_id)
            assert (joined["presence"], joined["online"]) == ([], 1)
            await forward(mock_clock, COUNT_INTERVAL)
            await a.heard()
            async with world.socket(world.token(bert)) as b, world.connect(carol) as c:
                assert (await b.event("connection:ready"))["presence"] == []
                await forward(mock_clock, COUNT_INTERVAL - 0.1)
                assert await a.heard() == []
                await forward(mock_clock, 0.1)
                assert await counts(a) == [3]
                assert await counts(b) == []  # has not joined
                await c.ask("status:set", status="INVISIBLE")
                await forward(mock_clock, COUNT_INTERVAL)
                assert await counts(a) == [2]
                await forward(mock_clock, COUNT_INTERVAL)
                assert await a.heard() == []  # nothing has changed
                answer = await a.ask("users:status", userIds=[str(bert.id), str(carol.id)])
                assert [view["status"] for view in answer["presence"]] == ["ONLINE", "OFFLINE"]
            await forward(mock_clock, 15)
            await forward(mock_clock, COUNT_INTERVAL)
            assert await counts(a) == [1]


async def test_a_session_becomes_large_with_its_201st_member_and_ordinary_again_without(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        people, session_id = await crowd(world, LARGE)
        anna, bert, *_ = people
        last = await world.person("last")
        async with world.connect(anna) as a, world.connect(bert) as b:
            joined = await a.ask("session:join", sessionId=session_id)
            assert len(joined["presence"]) == LARGE
            assert "online" not in joined
            await a.ask("member:add", sessionId=session_id, userId=str(last.id))
            await forward(mock_clock, COUNT_INTERVAL)
            assert await counts(a) == [2]
            await b.ask("status:set", status="BUSY")
            assert await a.heard("user:status") == []
            await a.ask("member:remove", sessionId=session_id, userId=str(last.id))
            await forward(mock_clock, COUNT_INTERVAL)
            await b.ask("status:set", status="ONLINE")
            assert [each["status"] for each in await a.heard("user:status")] == ["ONLINE"]
            assert await counts(a) == []


@pytest.mark.threat("T90")
async def test_nobody_is_seen_typing_in_a_session_of_more_than_100(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        people, session_id = await crowd(world, 100)
        anna, bert, *_ = people
        last = await world.person("last")
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=session_id)
            await b.ask("session:join", sessionId=session_id)
            await b.ask("typing:start", sessionId=session_id)
            await b.ask("typing:stop", sessionId=session_id)
            assert [each["isTyping"] for each in await a.heard("user:typing")] == [True, False]
            await a.ask("member:add", sessionId=session_id, userId=str(last.id))
            await b.ask("typing:start", sessionId=session_id)
            assert await a.heard("user:typing") == []


def test_what_a_change_costs_does_not_grow_with_the_members() -> None:
    class Counted(dict[UUID, PresentUser]):
        reads = 0

        def get(self, key: UUID, default: Any = None) -> Any:
            self.reads += 1
            return super().get(key, default)

    users = Counted()
    audience = Audience(users, is_everyone=False)
    session_id = UUID(int=0)
    for number in range(5000):
        user = users[UUID(int=number)] = PresentUser(UUID(int=number), None)
        audience.add(user, session_id, Size(5000, 0))
    users.reads = 0
    for user in users.values():
        user.shown = "ONLINE", None
        audience.shown(user)
        assert list(audience.hearers(user)) == [user]
    assert users.reads == 0
    assert audience.online(session_id) == 5000
    assert audience.take_changed() == {session_id}
