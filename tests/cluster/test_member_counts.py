"""How many members a session has, as each of the daemons knows it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import trio

from chatd.testing.server import Person
from chatd.testing.socket import PersonSocket
from tests.cluster.kit import Group, open_group, until
from tests.cluster.test_sharing import two
from tests.redis_kit import RedisServer


async def until_members(group: Group, session_id: str, members: int) -> None:
    """Wait until every daemon knows of so many members.

    Raises:
        trio.TooSlowError: one does not.
    """
    presences = [server.daemon.live.presence for server in group.servers]
    await until(lambda: {each.members_of(UUID(session_id)) for each in presences} == {members})


async def test_who_accepts_an_invite_elsewhere_counts_once_and_who_goes_no_more(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        cleo = await group.person("cleo")
        async with anna.connect() as a, bert.connect():
            await until_members(group, session_id, 2)
            made = await a.ask("invite:make", sessionId=session_id)
            async with group.at(1, cleo).connect() as c:
                await c.ask("invite:accept", code=made["invite"]["code"])
                await until_members(group, session_id, 3)
            server = group.servers[1]
            await server.store.begin_erasure(cleo.id, deletes_messages=False, at=server.now)
            server.daemon.services.erasures.wake()
            await until_members(group, session_id, 2)


async def test_members_who_come_at_two_daemons_at_once_are_all_counted(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        anna, bert, session_id = await two(group)
        added = [await group.person(f"added{number}") for number in range(20)]

        async def add(socket: PersonSocket, people: Sequence[Person]) -> None:
            for person in people:
                await socket.ask("member:add", sessionId=session_id, userId=str(person.id))

        anna_there = group.at(1, anna)
        async with anna.connect() as a, anna_there.connect() as b, bert.connect():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(add, a, added[::2])
                nursery.start_soon(add, b, added[1::2])
            await until_members(group, session_id, 22)
