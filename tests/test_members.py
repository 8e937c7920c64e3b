"""Roles, muting and leaving, as people see them (protocol.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import MockClock

from chatd.model import iso
from chatd.rows import Role, UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world
from tests.test_sessions import create, names, people


async def enter(world: World, session_id: str, user: UserRow, role: Role) -> None:
    """Make somebody a member in a role, unheard."""
    await world.store.add_member(UUID(session_id), user.id, role=role, at=world.server.now)


async def role_of(client: Client, session_id: str, user: UserRow) -> str:
    page = await client.ask("member:list", sessionId=session_id)
    [role] = [row["role"] for row in page["members"] if row["user"]["id"] == str(user.id)]
    return str(role)


async def test_a_new_role_is_heard_by_those_who_joined(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            request = {"sessionId": session_id, "userId": str(bert.id), "role": "ADMIN"}
            answer = await a.ask("member:update", **request)
            assert (answer["member"]["role"], answer["seq"]) == ("ADMIN", 1)
            assert "mutedUntil" not in answer["member"]
            [told] = await b.heard("member:updated")
            assert (told["seq"], told["by"]) == (1, str(anna.id))
            assert told["member"] == answer["member"]
            assert (await a.ask("member:update", **request))["seq"] == 1  # no change: nothing told
            assert await b.heard("member:updated") == []


async def test_an_owner_who_gives_the_role_away_becomes_admin(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await a.ask("member:update", sessionId=session_id, userId=str(bert.id), role="OWNER")
            told = await b.heard("member:updated")
            assert [(each["seq"], each["member"]["role"]) for each in told] == [
                (1, "OWNER"),
                (2, "ADMIN"),
            ]
            code = await a.refusal(
                "member:update", sessionId=session_id, userId=str(bert.id), role="MEMBER"
            )
            assert code == "forbidden"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"role": "OWNER"}, "forbidden"),
        ({"role": "ADMIN"}, "forbidden"),  # nobody gives what they could not take
        ({"role": "READ_ONLY"}, None),
        ({"mutedUntil": "2999-01-01T00:00:00Z"}, None),
        ({"mutedUntil": None}, None),
        ({"mutedUntil": "1999-01-01T00:00:00Z"}, "validation_failed"),
        ({"mutedUntil": "2999-01-01T00:00:00"}, "validation_failed"),
        ({}, "validation_failed"),
        ({"role": "KING"}, "validation_failed"),
        ({"role": "MEMBER", "userId": "SELF"}, "conflict"),
        ({"role": "MEMBER", "userId": str(uuid4())}, "not_found"),
    ],
)
async def test_an_admin_changes_those_below(
    tmp_path: Path, autojump_clock: MockClock, data: dict[str, Any], code: str | None
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna, carol))
        await enter(world, session_id, bert, "ADMIN")
        async with world.connect(bert) as b:
            request = {"sessionId": session_id, "userId": str(carol.id)} | data
            if request["userId"] == "SELF":
                request["userId"] = str(bert.id)
            if code is None:
                await b.ask("member:update", **request)
            else:
                assert await b.refusal("member:update", **request) == code


async def test_admins_and_owners_are_safe_from_admins(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna))
        await enter(world, session_id, bert, "ADMIN")
        await enter(world, session_id, carol, "ADMIN")
        async with world.connect(bert) as b:
            for user in (anna, carol):
                who = {"sessionId": session_id, "userId": str(user.id)}
                assert await b.refusal("member:remove", **who) == "forbidden"
                assert await b.refusal("member:update", **who, role="MEMBER") == "forbidden"
                until = {"mutedUntil": "2999-01-01T00:00:00Z"}
                assert await b.refusal("member:update", **who, **until) == "forbidden"
        async with world.connect(anna) as a:
            await a.ask("member:remove", sessionId=session_id, userId=str(carol.id))


async def test_a_role_that_is_lost_while_the_act_waits_judges_the_act(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna, carol))
        await enter(world, session_id, bert, "ADMIN")
        async with world.connect(anna) as a, world.connect(bert) as b:
            store.latency = 0.1
            lower = await a.emit(
                "member:update", sessionId=session_id, userId=str(bert.id), role="MEMBER"
            )
            await trio.sleep(0.05)  # judged as ADMIN below, then behind the change in the journal
            removal = await b.emit("member:remove", sessionId=session_id, userId=str(carol.id))
            assert (await a.answer(lower))["ok"]
            assert (await b.answer(removal))["error"]["code"] == "forbidden"
            store.latency = 0
            assert await role_of(a, session_id, carol) == "MEMBER"


async def test_a_muted_member_is_shown_so_and_types_no_longer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
            await b.ask("typing:start", sessionId=session_id)
            until = iso(world.server.now.replace(year=2999))
            answer = await a.ask(
                "member:update", sessionId=session_id, userId=str(bert.id), mutedUntil=until
            )
            assert answer["member"]["mutedUntil"] == until
            assert [each["isTyping"] for each in await a.heard("user:typing")] == [True, False]
            joined = await b.ask("session:join", sessionId=session_id)
            assert until in [row.get("mutedUntil") for row in joined["members"]]


async def test_the_last_owner_who_leaves_passes_the_session_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
                await client.heard()
            assert (await a.ask("member:remove", sessionId=session_id))["seq"] == 2
            told = await b.heard()
            assert names(told) == ["member:updated", "member:left"]
            assert told[0]["data"]["member"]["role"] == "OWNER"
            assert "by" not in told[1]["data"]
            [end] = await a.heard("session:removed")
            assert end == {"sessionId": session_id, "reason": "left"}


async def test_sockets_that_have_not_joined_hear_once_that_they_were_removed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await b2.heard()
            await a.ask("member:remove", sessionId=session_id, userId=str(bert.id))
            for client in (b, b2):
                [end] = await client.heard("session:removed")
                assert end == {"sessionId": session_id, "reason": "removed"}


async def test_who_was_away_learns_of_a_role_when_they_come_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await a.ask("member:update", sessionId=session_id, userId=str(bert.id), role="ADMIN")
            await a.ask("member:add", sessionId=session_id, userId=str(carol.id))
            since = {"epoch": str(world.daemon.services.epoch), "seq": 0}
            joined = await b.ask("session:join", sessionId=session_id, since=since)
            assert (joined["recovered"], joined["seq"]) == (True, 2)
            found = {row["user"]["id"]: row["role"] for row in joined["members"]}
            assert found == {
                str(anna.id): "OWNER",
                str(bert.id): "ADMIN",
                str(carol.id): "MEMBER",
            }


async def test_a_room_that_lost_events_tells_who_came_and_who_changed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a:
            await a.ask("session:join", sessionId=session_id)
            services = world.daemon.services
            publish, services.journal._publish = (  # type: ignore[attr-defined]
                services.journal._publish,  # type: ignore[attr-defined]
                lambda _events, **_: None,
            )
            who = {"sessionId": session_id, "userId": str(bert.id)}
            await a.ask("member:update", **who, role="ADMIN")
            await a.ask("member:add", sessionId=session_id, userId=str(carol.id))
            await a.ask(
                "member:update", sessionId=session_id, userId=str(carol.id), role="READ_ONLY"
            )
            services.journal._publish = publish  # type: ignore[attr-defined]
            await a.ask("message:send", sessionId=session_id, content="now")
            told = [frame for frame in await a.heard() if frame["event"].startswith("member")]
            assert [(each["event"], each["data"]["member"]["role"]) for each in told] == [
                ("member:updated", "ADMIN"),
                ("member:joined", "READ_ONLY"),
            ]
