"""What a session is set to, its end, and what a member wishes for it (protocol.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import StoreAmbiguous, StoreUnavailable
from chatd.nurseries.sweeper import SWEEP_INTERVAL
from chatd.store.memory import MemoryStore
from tests.people import open_world
from tests.test_members import enter
from tests.test_sessions import create, names, people


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "coffee"}, {"name": "coffee"}),
        ({"readOnly": True}, {"readOnly": True}),
        ({"slowModeSeconds": 120, "readOnly": False}, {"slowModeSeconds": 120, "readOnly": False}),
    ],
)
async def test_settings_are_heard_by_those_who_joined(
    tmp_path: Path, autojump_clock: MockClock, change: dict[str, Any], field: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await b.heard()
            answer = await a.ask("session:update", sessionId=session_id, **change)
            [told] = await b.heard("session:updated")
            assert told["session"] == answer["session"]
            assert field.items() <= told["session"].items()
            assert told["session"]["archivedAt"] is None


async def test_an_archived_session_says_since_when(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, _ = await people(world)
        async with world.connect(anna) as a:
            session_id = await create(a)
            answer = await a.ask("session:update", sessionId=session_id, archived=True)
            assert answer["session"]["archivedAt"] is not None
            answer = await a.ask("session:update", sessionId=session_id, archived=False)
            assert answer["session"]["archivedAt"] is None


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": None},
        {"name": ""},
        {"readOnly": 1},
        {"archived": "yes"},
        {"slowModeSeconds": 121},
        {"slowModeSeconds": -1},
        {"slowModeSeconds": 1.5},
        {"colour": "red"},
    ],
)
async def test_settings_that_may_not_be_are_refused(
    tmp_path: Path, autojump_clock: MockClock, change: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, _ = await people(world)
        async with world.connect(anna) as a:
            session_id = await create(a)
            code = await a.refusal("session:update", sessionId=session_id, **change)
            assert code == "validation_failed"
            assert (await a.ask("session:get", sessionId=session_id))["session"]["seq"] == 0


async def test_nobody_sets_or_deletes_a_direct_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a:
            direct = await create(a, "DIRECT", bert)
            assert await a.refusal("session:update", sessionId=direct, name="x") == "conflict"
            assert await a.refusal("session:delete", sessionId=direct) == "conflict"


# The end


async def test_only_an_owner_deletes(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna))
        await enter(world, session_id, bert, "ADMIN")
        async with world.connect(bert) as b, world.connect(carol) as c:
            assert await b.refusal("session:delete", sessionId=session_id) == "forbidden"
            assert await c.refusal("session:delete", sessionId=session_id) == "not_a_member"
        token = world.token(anna)
        path = f"/chat/sessions/{session_id}"
        assert (await world.rest("DELETE", path, token=token)).status == 200
        assert (await world.rest("DELETE", path, token=token)).status == 403


async def test_a_deleted_session_ends_for_every_socket_of_every_member(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with (
            world.connect(anna) as a,
            world.connect(bert) as b,
            world.connect(bert) as b2,
            world.connect(carol) as c,
        ):
            session_id = await create(a, "GROUP", bert)
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
            for client in (a, b, b2, c):
                await client.heard()
            await b.emit("message:send", sessionId=session_id, content="last")
            await a.ask("session:delete", sessionId=session_id)
            end = {"sessionId": session_id, "reason": "deleted"}
            for client, expected in (
                (a, ["message:new", "session:removed"]),
                (b, ["message:new", "session:removed"]),
                (b2, ["session:removed"]),
                (c, []),
            ):
                told = await client.heard()
                assert names(told) == expected
                assert [frame["data"] for frame in told[-1:]] in ([end], [])
            assert world.daemon.services.rooms._rooms == {}  # type: ignore[attr-defined]
            for event, data in (
                ("session:join", {}),
                ("session:get", {}),
                ("message:send", {"content": "x"}),
                ("message:history", {}),
                ("typing:start", {}),
            ):
                code = await b.refusal(event, sessionId=session_id, **data)
                assert code == "not_a_member"
            assert (await b.ask("session:list"))["sessions"] == []


async def test_a_deletion_whose_commit_is_unknown_is_told_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await b2.heard()
            store.fail_next("delete_session", StoreAmbiguous("lost"))
            await a.ask("session:delete", sessionId=session_id)
            for client in (b, b2):
                assert [e["reason"] for e in await client.heard("session:removed")] == ["deleted"]


async def test_a_room_that_does_not_hear_of_the_end_finds_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await b.heard()
            services = world.daemon.services
            services.journal._publish = lambda _events, **_: None  # type: ignore[attr-defined]
            await a.ask("session:delete", sessionId=session_id)
            assert await b.heard("session:removed") == []
            await trio.sleep(services.settings.position_interval + 2)
            [end] = await b.heard("session:removed")
            assert end == {"sessionId": session_id, "reason": "deleted"}


async def test_deleted_sessions_are_swept_and_again_after_an_outage(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, _, _ = await people(world)
        async with world.connect(anna) as a:
            session_id = await create(a)
            await a.ask("session:delete", sessionId=session_id)
            store.fail_next("sweep_sessions", StoreUnavailable("away"))
            mock_clock.jump(SWEEP_INTERVAL)
            await wait_all_tasks_blocked()
            assert len(store._sessions) == 1
            for _ in range(3):  # the look, and the pauses between its transactions
                mock_clock.jump(SWEEP_INTERVAL)
                await wait_all_tasks_blocked()
            assert store._sessions == {}


# Wishes


async def test_wishes_are_told_to_the_other_devices_and_to_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with (
            world.connect(anna) as a,
            world.connect(anna) as a2,
            world.connect(bert) as b,
            world.connect(carol) as c,
        ):
            session_id = await create(a, "GROUP", bert)
            wish = await a.ask("session:prefs", sessionId=session_id, favourite=True)
            assert wish == {"sessionId": session_id, "muted": False, "favourite": True}
            assert await a2.heard("session:prefs") == [wish]
            for client in (a, b):
                assert await client.heard("session:prefs") == []
            [line] = (await a2.ask("session:list"))["sessions"]
            assert (line["muted"], line["favourite"]) == (False, True)
            for wrong in ({}, {"muted": None}, {"muted": 1}):
                code = await a.refusal("session:prefs", sessionId=session_id, **wrong)
                assert code == "validation_failed"
            code = await c.refusal("session:prefs", sessionId=session_id, muted=True)
            assert code == "not_a_member"
