"""Typing: who hears it, and the expiry that the server owns."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.nurseries import rooms
from chatd.rows import UserRow
from tests.people import Client, World, open_world

EXPIRY = 8.0


async def typing(client: Client) -> list[bool]:
    """Return the typing that a client has heard since the last call."""
    return [event["isTyping"] for event in await client.heard("user:typing")]


async def forward(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def group(world: World) -> tuple[UserRow, UserRow, str]:
    anna, bert = await world.person("anna"), await world.person("bert")
    return anna, bert, str(await world.session(anna, bert))


async def join(session_id: str, *clients: Client) -> None:
    for client in clients:
        await client.ask("session:join", sessionId=session_id)


async def test_the_others_hear_who_types_and_the_typers_own_sockets_do_not(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with (
            world.connect(anna) as a,
            world.connect(bert) as phone,
            world.connect(bert) as laptop,
        ):
            await join(session_id, a, phone, laptop)
            await phone.ask("typing:start", sessionId=session_id)
            assert await a.heard("user:typing") == [
                {
                    "sessionId": session_id,
                    "userId": str(bert.id),
                    "isTyping": True,
                    "expiresInMs": 8000,
                }
            ]
            assert await typing(phone) == await typing(laptop) == []
            await phone.ask("typing:stop", sessionId=session_id)
            [stopped] = await a.heard("user:typing")
            assert (stopped["isTyping"], stopped["expiresInMs"]) == (False, 0)
            await phone.ask("typing:stop", sessionId=session_id)
            assert await typing(a) == []


async def test_typing_ends_at_its_expiry_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a, b)
            await b.ask("typing:start", sessionId=session_id)
            assert await typing(a) == [True]
            await forward(mock_clock, EXPIRY - 0.1)
            assert await typing(a) == []
            await forward(mock_clock, 0.1)
            assert await typing(a) == [False]


async def test_a_renewed_typing_ends_after_its_last_start(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a, b)
            await b.ask("typing:start", sessionId=session_id)
            await forward(mock_clock, 5)
            await b.ask("typing:start", sessionId=session_id)
            await typing(a)
            await forward(mock_clock, EXPIRY - 0.1)
            assert await typing(a) == []
            await forward(mock_clock, 0.1)
            assert await typing(a) == [False]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("message:send", {"content": "done"}),
        ("session:leave", {}),
        ("typing:stop", {}),
        ("member:remove", {}),
    ],
)
async def test_typing_ends_with_what_the_typer_does(
    tmp_path: Path, mock_clock: MockClock, event: str, data: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a, b)
            await b.ask("typing:start", sessionId=session_id)
            await b.ask(event, sessionId=session_id, **data)
            assert await typing(a) == [True, False]
            await forward(mock_clock, EXPIRY)
            assert await typing(a) == []


async def test_typing_ends_when_the_typers_last_socket_is_gone(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as laptop:
            await join(session_id, a)
            async with world.connect(bert) as phone:
                await join(session_id, phone)
                await phone.ask("typing:start", sessionId=session_id)
            assert await typing(a) == [True]  # the laptop is still there
            await laptop.aclose()
            await wait_all_tasks_blocked()
            assert await typing(a) == [False]


async def test_a_repeated_message_does_not_end_a_new_typing(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a, b)
            said = {"sessionId": session_id, "content": "hi", "clientMsgId": "k"}
            await b.ask("message:send", **said)
            await b.ask("typing:start", sessionId=session_id)
            assert (await b.ask("message:send", **said))["duplicate"]
            assert await typing(a) == [True]


async def test_nobody_types_where_they_have_not_joined(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a)
            assert await b.refusal("typing:start", sessionId=session_id) == "not_a_member"
            assert await b.refusal("typing:stop", sessionId=session_id) == "not_a_member"
            assert await typing(a) == []


async def test_who_joins_is_told_who_types(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, b)
            await b.ask("typing:start", sessionId=session_id)
            joined = await a.ask("session:join", sessionId=session_id)
            assert [UUID(each) for each in joined["typing"]] == [bert.id]


async def test_a_large_room_does_without_typing(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "BROADCAST_LIMIT", 2)
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await group(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(session_id, a, b)
            await b.ask("typing:start", sessionId=session_id)
            assert await typing(a) == [True]
            async with world.connect(anna) as again:
                await join(session_id, again)
                await b.ask("typing:start", sessionId=session_id)
                assert await typing(a) == []
