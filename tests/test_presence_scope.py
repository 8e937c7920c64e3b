"""Who hears of whom: everybody in a small server, those who share a session in another."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from chatd.errors import StoreUnavailable
from chatd.ids import uuid7
from chatd.nurseries import scope
from chatd.nurseries.scope import COUNT_INTERVAL, SMALL
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world
from tests.test_presence import forward, statuses


async def people(world: World, number: int) -> list[UserRow]:
    """Return people who share nothing."""
    return [await world.person(f"person{each}") for each in range(number)]


async def heard_of(client: Client, user: UserRow) -> list[str]:
    """Return which statuses of somebody a client has heard."""
    heard = await client.heard("user:status")
    return [event["status"] for event in heard if event["userId"] == str(user.id)]


@pytest.mark.parametrize(
    ("setting", "is_heard"), [("everyone", True), ("auto", True), ("shared", False)]
)
async def test_strangers_hear_of_each_other_where_the_scope_is_everyone(
    tmp_path: Path, mock_clock: MockClock, setting: str, is_heard: bool
) -> None:
    async with open_world(tmp_path, presence_scope=setting) as world:
        anna, bert = await people(world, 2)
        async with world.connect(anna) as a, world.connect(bert):
            assert await heard_of(a, bert) == (["ONLINE"] if is_heard else [])


@pytest.mark.parametrize(("accounts", "is_heard"), [(SMALL, True), (SMALL + 1, False)])
async def test_auto_is_everyone_up_to_200_accounts(
    tmp_path: Path, mock_clock: MockClock, accounts: int, is_heard: bool
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, *_ = await people(world, accounts)
    async with (
        open_world(tmp_path, store) as world,
        world.connect(anna) as a,
        world.connect(bert),
    ):
        assert await heard_of(a, bert) == (["ONLINE"] if is_heard else [])


async def test_the_account_that_is_too_many_parts_strangers_and_nobody_else(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "SMALL", 3)
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world, 3)
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(carol) as c:
            await forward(mock_clock, 1)
            assert await heard_of(a, carol) == ["ONLINE"]
            await statuses(b)
            await statuses(c)
            await b.ask("status:set", status="BUSY")
            await b.ask("status:set", status="ONLINE", text="back")  # waits for its second
            for each in (a, b, c):
                await statuses(each)
            world.daemon.services.presence.account_opened()
            dave = await world.person("dave")
            async with world.connect(dave) as d:
                [parted] = await a.heard("user:status")
                assert parted == {
                    "userId": str(carol.id),
                    "status": "OFFLINE",
                    "lastSeen": None,
                    "text": None,
                }
                assert await statuses(b) == ["OFFLINE"]
                assert await statuses(c) == ["OFFLINE", "OFFLINE"]
                assert await statuses(d) == ["ONLINE"]  # her own
                await forward(mock_clock, 1)
                assert await heard_of(a, bert) == ["ONLINE"]  # what waited is not lost
                assert await statuses(c) == []
                assert await statuses(d) == []
                joined = await a.ask("session:join", sessionId=session_id)
                assert {view["status"] for view in joined["presence"]} == {"ONLINE"}


async def test_an_account_made_beside_the_daemon_counts_within_a_minute(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "SMALL", 2)
    store = MemoryStore()
    async with open_world(tmp_path, store, ping_interval=1000) as world:
        anna, bert, _ = await people(world, 3)  # in the store, not by the daemon
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            assert await heard_of(a, bert) == ["ONLINE"]
            store.fail_next("count_users", StoreUnavailable("away"))
            await forward(mock_clock, COUNT_INTERVAL - 1)
            assert await statuses(a) == []
            await forward(mock_clock, COUNT_INTERVAL)
            assert await heard_of(a, bert) == ["OFFLINE"]
            await b.ask("status:set", status="BUSY")
            assert await statuses(a) == []


async def test_the_first_of_too_many_who_are_here_is_told_of_no_stranger(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "SMALL", 1)
    async with open_world(tmp_path) as world:
        anna, bert = await people(world, 2)  # unknown to the daemon until they come
        async with world.connect(anna), world.socket(world.token(bert)) as b:
            ready = await b.event("connection:ready")
            assert ready["presence"] == []
            assert await statuses(b) == ["ONLINE"]


# The first state


async def test_who_connects_is_told_who_is_there_and_what_they_have_set_themselves(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        anna, bert, carol, dave = await people(world, 4)
        await world.session(anna, bert, carol)
        async with world.connect(bert) as b, world.connect(carol) as c, world.connect(dave):
            await forward(mock_clock, 1)
            await b.ask("status:set", status="BUSY", text="lunch", until="2026-01-01T01:00:00Z")
            await c.ask("status:set", status="INVISIBLE")
            async with world.socket(world.token(anna)) as a:
                ready = await a.event("connection:ready")
                assert ready["status"] == {"status": "ONLINE", "text": None, "until": None}
                assert [(v["userId"], v["status"], v["text"]) for v in ready["presence"]] == [
                    (str(bert.id), "BUSY", "lunch")
                ]
            async with world.socket(world.token(carol)) as c2:
                ready = await c2.event("connection:ready")
                assert ready["status"]["status"] == "INVISIBLE"
            async with world.socket(world.token(bert)) as b2:
                ready = await b2.event("connection:ready")
                assert ready["status"] == {
                    "status": "BUSY",
                    "text": "lunch",
                    "until": "2026-01-01T01:00:00.000Z",
                }


async def test_who_is_within_the_grace_looks_there_to_a_newcomer_too(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await people(world, 2)
        session_id = str(await world.session(anna, bert))
        async with world.connect(bert):
            pass
        await forward(mock_clock, 10)
        async with world.socket(world.token(anna)) as a:
            ready = await a.event("connection:ready")
            assert [view["status"] for view in ready["presence"]] == ["ONLINE"]
            joined = await a.ask("session:join", sessionId=session_id)
            assert {view["status"] for view in joined["presence"]} == {"ONLINE"}
            await forward(mock_clock, 5)
            assert await heard_of(a, bert) == ["OFFLINE"]


# Asking


async def test_whom_the_caller_may_see_is_told_and_others_look_like_nobody(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        anna, bert, carol, dave = await people(world, 4)
        await world.session(anna, bert, dave)
        nobody = uuid7()
        asked = [str(each) for each in (anna.id, bert.id, carol.id, dave.id, nobody, bert.id)]
        async with world.connect(bert), world.connect(carol):
            async with world.connect(dave):
                pass
            await forward(mock_clock, 20)
            answer = await world.rest(
                "POST", "/users/status", {"userIds": asked}, token=world.token(anna)
            )
            views = answer.json["presence"]
            assert [view["userId"] for view in views] == asked[:5]  # in order, each once
            assert [view["status"] for view in views] == [
                "OFFLINE",
                "ONLINE",
                "OFFLINE",
                "OFFLINE",
                "OFFLINE",
            ]
            assert [view["lastSeen"] is None for view in views] == [True, True, True, False, True]
            async with world.connect(anna) as a:
                assert (await a.ask("users:status", userIds=[str(bert.id)]))["presence"][0][
                    "status"
                ] == "ONLINE"
                code = await a.refusal("users:status", userIds=[str(bert.id)] * 201)
                assert code == "validation_failed"


async def test_under_everyone_a_stranger_may_be_asked_for(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await people(world, 2)
        async with world.connect(anna) as a, world.connect(bert):
            answer = await a.ask("users:status", userIds=[str(bert.id), str(uuid7())])
            assert [view["status"] for view in answer["presence"]] == ["ONLINE", "OFFLINE"]
