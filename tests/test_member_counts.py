"""The count of members that is kept beside the rooms: who hears of typing, and of whom."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from trio.testing import MockClock

from chatd.nurseries.audience import LARGE, Audience
from chatd.nurseries.presence_user import PresentUser
from chatd.rows import Size, UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world
from tests.test_erasure import begin, quiet
from tests.test_presence_crowds import crowd
from tests.test_sessions import create, people

TYPING = 100  # members of the largest session in which typing is told


async def is_typing_heard(session_id: str, typer: Client, listener: Client) -> bool:
    for client in (typer, listener):
        await client.ask("session:join", sessionId=session_id)
    await typer.ask("typing:start", sessionId=session_id)
    await typer.ask("typing:stop", sessionId=session_id)
    return bool(await listener.heard("user:typing"))


async def accept(world: World, session_id: str, owner: Client, guest: UserRow) -> None:
    made = await owner.ask("invite:make", sessionId=session_id)
    async with world.connect(guest) as client:
        await client.ask("invite:accept", code=made["invite"]["code"])


async def test_who_accepts_an_invite_counts_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        (anna, bert, *_), session_id = await crowd(world, TYPING - 1)
        guests = [await world.person(f"guest{number}") for number in range(2)]
        async with world.connect(anna) as a, world.connect(bert) as b:
            await accept(world, session_id, a, guests[0])
            assert await is_typing_heard(session_id, a, b)
            await accept(world, session_id, a, guests[1])
            assert not await is_typing_heard(session_id, a, b)


async def test_a_session_is_not_large_with_its_200th_member_who_was_invited(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, presence_scope="shared") as world:
        (anna, *_), session_id = await crowd(world, LARGE - 1)
        guest = await world.person("guest")
        async with world.connect(anna) as a:
            await accept(world, session_id, a, guest)
            joined = await a.ask("session:join", sessionId=session_id)
            assert len(joined["presence"]) == LARGE
            assert "online" not in joined


async def test_an_account_that_ends_is_counted_down(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        (anna, bert, *_, last), session_id = await crowd(world, TYPING + 1)
        async with world.connect(anna) as a, world.connect(bert) as b:
            assert not await is_typing_heard(session_id, a, b)
            await begin(world, last, deletes=False)
            await quiet(world)
            assert await is_typing_heard(session_id, a, b)


@pytest.mark.parametrize(
    ("members", "events", "is_heard"),
    [
        (TYPING - 1, ("member:add", "member:add"), False),
        (TYPING + 2, ("member:remove", "member:remove"), True),
        (TYPING + 2, ("member:ban", "member:ban"), True),
        (TYPING, ("member:remove", "member:add"), True),
        (TYPING + 1, ("member:remove", "member:add"), False),
    ],
)
async def test_changes_at_once_are_all_counted(
    tmp_path: Path,
    autojump_clock: MockClock,
    members: int,
    events: tuple[str, str],
    is_heard: bool,
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        (anna, bert, *others), session_id = await crowd(world, members)
        added = [await world.person(f"added{number}") for number in range(2)]
        connect = partial(world.connect, anna)
        async with connect() as a, connect() as again, world.connect(bert) as b:
            store.latency = 0.1  # both are judged before the first is done
            requests = []
            for number, (client, event) in enumerate(zip((a, again), events, strict=True)):
                whom = (added if event == "member:add" else others)[number]
                request = await client.emit(event, sessionId=session_id, userId=str(whom.id))
                requests.append((client, request))
            for client, request in requests:
                assert (await client.answer(request))["ok"]
            store.latency = 0
            assert await is_typing_heard(session_id, a, b) is is_heard


async def test_a_new_member_is_told_the_session_as_it_is_with_them(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(carol) as c:
            session_id = await create(a, "GROUP", bert)
            who = {"sessionId": session_id, "userId": str(carol.id)}
            for _ in range(2):  # and again for who has lost the answer
                await a.ask("member:add", **who)
                [told] = await c.heard("session:updated")
                session = told["session"]
                assert (told["seq"], session["seq"], session["memberCount"]) == (1, 1, 3)


async def test_a_new_member_is_told_the_count_with_those_who_came_at_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, carol = await people(world)
        session_id = str(await world.session(anna))
        connect = partial(world.connect, anna)
        async with (
            connect() as a,
            connect() as again,
            world.connect(bert) as b,
            world.connect(carol) as c,
        ):
            store.latency = 0.1  # both are judged before the first is done
            for client, user in ((a, bert), (again, carol)):
                await client.emit("member:add", sessionId=session_id, userId=str(user.id))
            sessions = [(await client.event("session:updated"))["session"] for client in (b, c)]
            told = sorted((each["seq"], each["memberCount"]) for each in sessions)
            assert told == [(1, 2), (2, 3)]  # whoever of them was first


def test_of_sizes_that_come_in_any_order_the_last_holds() -> None:
    audience, session_id = Audience({}, is_everyone=False), UUID(int=0)
    audience.add(PresentUser(UUID(int=1), None), session_id, Size(3, 7))
    for size, members in ((Size(2, 6), 3), (Size(4, 8), 4), (Size(3, 7), 4), (Size(4, 9), 4)):
        audience.resize(session_id, size)
        assert audience.members_of(session_id) == members
