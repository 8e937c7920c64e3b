"""Presence: who is told what of whom, and when."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode, StoreUnavailable
from chatd.ids import uuid7
from chatd.nurseries.last_seen import STORE_TIMEOUT, TOUCH_INTERVAL
from chatd.nurseries.presence_user import TELL_INTERVAL
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from chatd.testing.server import START
from tests.people import Client, World, open_world

GRACE = 15.0


async def statuses(client: Client) -> list[str]:
    """Return which statuses this client has heard since the last call."""
    return [event["status"] for event in await client.heard("user:status")]


async def forward(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def pair(world: World) -> tuple[UserRow, UserRow]:
    """Return two people who share a session."""
    anna, bert = await world.person("anna"), await world.person("bert")
    await world.session(anna, bert)
    return anna, bert


async def last_seen(world: World, user: UserRow) -> float | None:
    """Return when the store last saw somebody, in seconds from the start."""
    [row] = await world.store.users_by_ids([user.id])
    return None if row.last_seen is None else (row.last_seen - START).total_seconds()


async def test_a_lost_connection_is_offline_after_the_grace_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a:
            async with world.connect(bert):
                assert await statuses(a) == ["ONLINE", "ONLINE"]  # herself, then bert
            await forward(mock_clock, GRACE - 0.1)
            assert await statuses(a) == []
            await forward(mock_clock, 0.1)
            [gone] = await a.heard("user:status")
            assert gone == {
                "userId": str(bert.id),
                "status": "OFFLINE",
                "lastSeen": "2026-01-01T00:00:00.000Z",
                "text": None,
            }
            assert await last_seen(world, bert) == GRACE


async def test_coming_back_within_the_grace_is_never_heard(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a:
            async with world.connect(bert):
                await statuses(a)
            await forward(mock_clock, GRACE - 0.1)
            async with world.connect(bert):
                await forward(mock_clock, GRACE)
                assert await statuses(a) == []
            await forward(mock_clock, GRACE - 0.1)  # the grace begins again
            assert await statuses(a) == []
            await forward(mock_clock, 0.1)
            assert await statuses(a) == ["OFFLINE"]


async def test_the_grace_counts_from_the_last_time_that_somebody_left(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a:
            async with world.connect(bert):
                await statuses(a)
            await forward(mock_clock, 10)
            async with world.connect(bert):
                await forward(mock_clock, 0)
            await forward(mock_clock, GRACE - 0.1)
            assert await statuses(a) == []
            await forward(mock_clock, 0.1)
            assert await statuses(a) == ["OFFLINE"]


@pytest.mark.threat("T90")
async def test_a_user_is_told_of_at_most_once_a_second(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            assert await statuses(a) == ["ONLINE", "ONLINE"]
            for status in ("BUSY", "ONLINE", "INVISIBLE", "BUSY"):
                await b.ask("status:set", status=status)
            await forward(mock_clock, TELL_INTERVAL - 0.01)
            assert await statuses(a) == []
            await forward(mock_clock, 0.01)
            assert await statuses(a) == ["BUSY"]


async def test_a_change_that_is_taken_back_within_the_second_is_not_told(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await statuses(a)
            await b.ask("status:set", status="BUSY")
            await b.ask("status:set", status="ONLINE")
            await forward(mock_clock, 10)
            assert await statuses(a) == []


async def test_a_change_after_a_quiet_second_is_told_at_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await statuses(a)
            await forward(mock_clock, TELL_INTERVAL)
            answer = await b.ask("status:set", status="BUSY", text="in a meeting")
            assert answer["presence"]["status"] == "BUSY"
            [heard] = await a.heard("user:status")
            assert (heard["status"], heard["text"]) == ("BUSY", "in a meeting")


async def test_the_best_of_a_users_devices_counts(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as phone:
            await statuses(a)
            async with world.connect(bert) as laptop:
                await forward(mock_clock, 1)
                await phone.ask("status:set", status="AWAY")
                assert await statuses(a) == []
                await laptop.ask("status:set", status="AWAY")
                assert await statuses(a) == ["AWAY"]
                await forward(mock_clock, 1)
                await laptop.ask("status:set", status="ONLINE")
                assert await statuses(a) == ["ONLINE"]
                await forward(mock_clock, 1)
            assert await statuses(a) == ["AWAY"]  # the phone is left: no grace for a device
            await forward(mock_clock, GRACE)
            assert await statuses(a) == []


async def test_a_manual_status_ends_at_its_until_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            until = START + timedelta(seconds=21)
            await b.ask("status:set", status="BUSY", until=until.isoformat())
            assert (await statuses(a))[-1] == "BUSY"
            await forward(mock_clock, 19.9)
            assert await statuses(a) == []
            await forward(mock_clock, 0.1)
            assert await statuses(a) == ["ONLINE"]


async def test_a_manual_status_that_was_replaced_does_not_end_at_the_old_until(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            until = START + timedelta(seconds=11)
            await b.ask("status:set", status="BUSY", until=until.isoformat())
            await b.ask("status:set", status="BUSY")
            await statuses(a)
            await forward(mock_clock, 20)
            assert await statuses(a) == []


@pytest.mark.parametrize("until", ["2025-12-31T00:00:00Z", "2026-01-02T00:00:00"])
async def test_an_until_that_has_passed_or_has_no_zone_is_refused(
    tmp_path: Path, autojump_clock: MockClock, until: str
) -> None:
    async with open_world(tmp_path) as world, world.connect(await world.person("anna")) as a:
        assert await a.refusal("status:set", status="BUSY", until=until) == "validation_failed"


async def test_an_invisible_user_looks_offline_and_hears_the_others(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await forward(mock_clock, 1)
            await statuses(a)
            await b.ask("status:set", status="INVISIBLE", text="hidden")
            [hidden] = await a.heard("user:status")
            assert (hidden["status"], hidden["text"]) == ("OFFLINE", None)
            await statuses(b)
            await a.ask("status:set", status="BUSY")
            assert await statuses(b) == ["BUSY"]
            joined = await a.ask("session:join", sessionId=str(await world.session(anna, bert)))
            shown = {view["userId"]: view["status"] for view in joined["presence"]}
            assert shown == {str(anna.id): "BUSY", str(bert.id): "OFFLINE"}


async def test_after_a_logout_there_is_no_grace(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        family_id = uuid7()
        async with world.connect(anna) as a, world.connect(bert, family_id) as b:
            await statuses(a)
            await forward(mock_clock, TELL_INTERVAL)
            answer = await world.rest("POST", "/auth/logout", token=world.token(bert, family_id))
            assert answer.status == 200
            assert await b.closed() == CloseCode.REVOKED.code
            assert await statuses(a) == ["OFFLINE"]


async def test_only_those_who_share_a_session_hear_of_each_other(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        anna, bert = await pair(world)
        carol = await world.person("carol")
        async with world.connect(carol) as c, world.connect(anna) as a:
            await c.heard()
            async with world.connect(bert) as b:
                await forward(mock_clock, 1)
                assert await statuses(c) == []
                assert await statuses(a) == ["ONLINE", "ONLINE"]
                created = await c.ask(
                    "session:create", kind="GROUP", name="tea", memberIds=[str(bert.id)]
                )
                session_id = created["session"]["id"]
                await b.ask("status:set", status="BUSY")
                assert await statuses(c) == ["BUSY"]
                await c.ask("member:remove", sessionId=session_id, userId=str(bert.id))
                await forward(mock_clock, 1)
                await b.ask("status:set", status="ONLINE")
                assert await statuses(c) == []
                assert await statuses(a) == ["BUSY", "ONLINE"]


async def test_a_stored_manual_status_is_there_at_the_next_connect_while_it_is_valid(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        until = (START + timedelta(seconds=60)).isoformat()
        answer = await world.rest(
            "POST", "/users/me/status", {"status": "BUSY", "until": until}, token=world.token(bert)
        )
        assert answer.json["presence"]["status"] == "OFFLINE"
        async with world.connect(anna) as a:
            await statuses(a)
            async with world.connect(bert):
                assert await statuses(a) == ["BUSY"]
            await forward(mock_clock, GRACE)
            assert await statuses(a) == ["OFFLINE"]
            await forward(mock_clock, 60)
            async with world.connect(bert):
                assert await statuses(a) == ["ONLINE"]


async def test_last_seen_is_written_every_minute_and_at_the_end(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await pair(world)
        async with world.connect(anna):
            await forward(mock_clock, TOUCH_INTERVAL - 0.1)
            assert await last_seen(world, anna) is None
            await forward(mock_clock, 0.1)
            assert await last_seen(world, anna) == TOUCH_INTERVAL
            assert await last_seen(world, bert) is None
            await forward(mock_clock, 5)
    [row] = await store.users_by_ids([anna.id])
    assert row.last_seen == START + timedelta(seconds=TOUCH_INTERVAL + 5)


@pytest.mark.parametrize("latency", [0.0, STORE_TIMEOUT + 1])
async def test_a_store_that_does_not_take_last_seen_delays_nobodys_offline_for_long(
    tmp_path: Path, mock_clock: MockClock, latency: float
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a:
            async with world.connect(bert):
                await statuses(a)
            await wait_all_tasks_blocked()
            store.latency = latency
            store.fail_next("set_last_seen", StoreUnavailable("away"))
            with structlog.testing.capture_logs() as logs:
                await forward(mock_clock, GRACE)
                await forward(mock_clock, STORE_TIMEOUT if latency else 0)
            assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
                "lastSeen not written"
            ]
            assert await statuses(a) == ["OFFLINE"]
            store.latency = 0


async def test_a_user_who_returns_while_their_last_seen_is_written_stays_online(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await pair(world)
        async with world.connect(anna) as a:
            async with world.connect(bert):
                await statuses(a)
            await wait_all_tasks_blocked()
            store.latency = 1
            await forward(mock_clock, GRACE)
            async with trio.open_nursery() as nursery:

                async def return_home() -> None:
                    async with world.connect(bert):
                        await trio.sleep_forever()

                nursery.start_soon(return_home)
                await wait_all_tasks_blocked()
                await forward(mock_clock, 1)
                store.latency = 0
                await forward(mock_clock, 10)
                assert (await statuses(a))[-1:] != ["OFFLINE"]
                nursery.cancel_scope.cancel()


async def test_away_by_rest_is_refused_because_it_is_a_devices_status(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest("POST", "/users/me/status", {"status": "AWAY"}, token=token)
        assert (answer.status, answer.code) == (422, "validation_failed")


async def test_a_logout_and_a_return_within_a_second_are_told_a_second_apart(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await pair(world)
        family_id = uuid7()
        async with world.connect(anna) as a:
            async with world.connect(bert, family_id) as b:
                assert await statuses(a) == ["ONLINE", "ONLINE"]
                token = world.token(bert, family_id)
                await world.rest("POST", "/auth/logout", token=token)
                assert await b.closed() == CloseCode.REVOKED.code
            assert await statuses(a) == []
            await forward(mock_clock, TELL_INTERVAL)
            assert await statuses(a) == ["OFFLINE"]
            async with world.connect(bert):
                assert await statuses(a) == []
                await forward(mock_clock, TELL_INTERVAL)
                assert await statuses(a) == ["ONLINE"]
