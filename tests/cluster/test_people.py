"""Who is elsewhere, when Redis and what is heard of it do not agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import trio

from chatd.testing.socket import PersonSocket
from chatd.wire.resp import command
from tests.cluster.kit import PATIENCE, Group, event, open_group, until
from tests.cluster.link_proxy import open_link_proxy
from tests.cluster.test_losses import FAST, until_online
from tests.cluster.test_sharing import two
from tests.redis_kit import RedisServer


async def status(socket: PersonSocket, person: Any) -> str:
    """Return how somebody is seen."""
    answer = await socket.ask("users:status", userIds=[str(person.id)])
    return str(answer["presence"][0]["status"])


def healed(cluster: Any) -> float:
    """Return how often a daemon has made up for something."""
    return float(cluster.healing._metrics.healings._value.get())


class Gate:
    """Holds the answer of a daemon's questions of one kind back."""

    def __init__(self, group: Group, node: int, word: bytes) -> None:
        self.is_held = trio.Event()
        self.opened = trio.Event()
        link = group.cluster(node).link
        asked = link.ask

        async def ask(*commands: bytes) -> list[Any]:
            answers: list[Any] = await asked(*commands)
            if word in commands[0] and not self.opened.is_set():
                self.is_held.set()
                await self.opened.wait()
            return answers

        link.ask = ask


async def test_what_is_heard_while_people_are_read_is_newer(redis_server: RedisServer) -> None:
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna, bert, _ = await two(group)
        cleo = await group.person("cleo")
        async with anna.connect() as a, bert.connect() as b:
            await until_online(a, [str(bert.id)])
            gate = Gate(group, 0, b"HGETALL")
            group.cluster(0).healing.hole(group.cluster(1).nodes.tag)
            with trio.fail_after(PATIENCE):
                await gate.is_held.wait()
            async with group.at(1, cleo).connect():
                await until_online(a, [str(cleo.id)])
                await b.ask("status:set", status="AWAY")
                await event(a, "user:status", userId=str(bert.id), status="AWAY")
                before = healed(group.cluster(0))
                gate.opened.set()
                group.cluster(0).healing.connected()
                await until(lambda: healed(group.cluster(0)) > before)
                assert await status(a, cleo) == "ONLINE"
                assert await status(a, bert) == "AWAY"


async def test_people_of_a_daemon_that_was_taken_for_dead_are_there_again(
    redis_server: RedisServer,
) -> None:
    """As after a minute of SIGSTOP: its connection is good, but its lease and people are gone."""
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect():
            await until_online(a, [str(bert.id)])
            here, tag = group.cluster(0), group.cluster(1).nodes.tag
            await here.link.ask(command("DEL", here.nodes.people_of(tag)))
            here.nodes._nodes.pop(tag)
            here._gone(tag, datetime.now(UTC), True)
            people = here.elsewhere._people
            await until(lambda: people.people_of(tag) == [])
            await until(lambda: people.people_of(tag) == [bert.id])
            await until_online(a, [str(bert.id)])


async def test_who_has_come_in_a_partition_is_seen_though_others_heal_first(
    redis_server: RedisServer,
) -> None:
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_group(redis_server, count=1, **FAST) as group,
        open_group(
            proxy.url,
            count=1,
            known=1,
            redis_prefix=group.servers[0].settings.redis_prefix,
            store=group.servers[0].store,
            **FAST,
        ) as cut,
    ):
        anna, bert = await group.person("anna"), await group.person("bert")
        async with group.at(0, anna).connect() as a:
            healing = cut.cluster(0).healing
            proxy.is_cut = True
            await until(lambda: not cut.cluster(0).link.is_up)
            end_logins, other_has_healed = healing._end_logins, trio.Event()

            async def wait_first() -> None:
                await other_has_healed.wait()
                await end_logins()

            healing._end_logins = wait_first
            async with cut.at(0, bert).connect():
                await trio.sleep(0.2)  # it is told, to nobody
                before = healed(group.cluster(0))
                proxy.is_cut = False
                await until(lambda: healed(group.cluster(0)) > before)
                await trio.sleep(0.2)  # until it has read
                other_has_healed.set()
                await until_online(a, [str(bert.id)])


async def _write(cluster: Any, *commands: bytes) -> None:
    await cluster.link.ask(*commands)


async def test_what_is_no_person_in_redis_ends_nothing(redis_server: RedisServer) -> None:
    async with open_group(redis_server) as group:
        anna, bert, _ = await two(group)
        async with anna.connect() as a, bert.connect():
            await until_online(a, [str(bert.id)])
            cluster, tag = group.cluster(0), group.cluster(1).nodes.tag
            name = cluster.nodes.people_of(tag)
            await _write(
                cluster,
                command("HSET", name, "x" * 32, "{}", "\u00e9", 1, "0" * 32, "no JSON"),
                command("HSET", name, "1" * 32, '{"a":false}', "2" * 32, "[]"),
                command("ZADD", cluster.backplane.name("nodes"), 1, b"\xff\xfe", 2, "short"),
            )
            before = healed(cluster)
            cluster.healing.connected()
            cluster.healing.hole(tag)
            await until(lambda: healed(cluster) > before)
            await until(lambda: not cluster.healing._wanted.is_set())
            assert await status(a, bert) == "ONLINE"
