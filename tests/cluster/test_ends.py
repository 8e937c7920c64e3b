"""What ends at one daemon ends once: typing, and a daemon itself."""

from __future__ import annotations

from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.nurseries.redis_link import RedisAway
from chatd.nurseries.typing import open_typing
from chatd.testing.server import open_chatd
from chatd.wire.resp import command
from tests.assistant.model import Model
from tests.cluster.kit import event, open_group, until
from tests.cluster.test_answers import ask, open_talk
from tests.redis_kit import RedisServer

SESSION, ANNA = UUID(int=1), UUID(int=2)


async def test_typing_elsewhere_whose_renewal_was_lost_ends_here_alone(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    heard: list[bytes] = []
    told: list[bool] = []

    def broadcast(session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        del session_id, name, but
        heard.append(data)

    def relay(session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        del session_id, user_id
        told.append(is_typing)

    async with open_typing(8.0, broadcast) as typing:
        typing.relay = relay
        typing.started(SESSION, ANNA, is_here=False)
        await trio.sleep(9.0)
        assert not typing.typers(SESSION)
        assert len(heard) == 2
        assert told == []
        typing.start(SESSION, ANNA)
        await trio.sleep(9.0)
        assert told == [True, False]


async def test_a_daemon_that_has_said_goodbye_gives_no_sign_of_life(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server) as group:
        here, leaving = group.cluster(0).nodes, group.cluster(1).nodes
        leaving.leave()
        await until(lambda: here._nodes[leaving.tag].is_leaving)
        await trio.sleep(1.5)  # longer than between two signs of life
        leaving.connected()
        await trio.sleep(0.2)
        assert here._nodes[leaving.tag].is_leaving


async def test_a_daemon_that_dies_while_redis_goes_is_found_dead_later(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server, presence_grace=0.1) as group:
        anna = await group.person("anna")
        here, dying = group.cluster(0), group.cluster(1)
        async with group.at(1, anna).connect():
            await until(lambda: here.elsewhere._people.people_of(dying.nodes.tag) == [anna.id])
            dying.nodes._has_left = True  # it is silent from now on, and has no lease
            await here.link.ask(command("DEL", here.nodes._lease_of(dying.nodes.tag)))
            is_first, failures = here.nodes._is_first, [RedisAway(), RedisAway()]

            async def fail_first(tag: str) -> bool:
                is_first_now: bool = await is_first(tag)
                if failures:
                    raise failures.pop()
                return is_first_now

            here.nodes._is_first = fail_first
            await until(lambda: dying.nodes.tag not in here.nodes.tags)
            await until(lambda: not here.elsewhere._people.people_of(dying.nodes.tag))


async def test_a_daemon_that_starts_with_an_empty_redis_interrupts_nobody(
    redis_server: RedisServer,
) -> None:
    async with open_talk(redis_server) as (group, model, here, there, talk):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        for node in (0, 1):  # as if they had not come back to it yet
            nodes = group.cluster(node).nodes
            nodes._has_left = True
            await group.cluster(node).link.ask(
                command("ZREM", nodes._backplane.name("nodes"), nodes.tag)
            )
        async with open_chatd(
            redis_url=redis_server.url,
            provider=Model(),
            redis_prefix=group.servers[0].settings.redis_prefix,
            store=group.servers[0].store,
        ):
            for node in (0, 1):
                nodes = group.cluster(node).nodes
                nodes._has_left = False
                nodes.connected()
            attached = await there.ask("ai:attach", messageId=message_id)
            assert attached["status"] == "STREAMING"
            await call.finish("more")
            assert (await event(here, "ai:done"))["content"] == "Once more"


async def test_a_daemon_with_other_keys_does_not_fill_the_log(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_group(redis_server) as group:
        backplane = group.cluster(0).backplane
        async with open_chatd(
            redis_url=redis_server.url,
            redis_prefix=group.servers[0].settings.redis_prefix,
            signing_keys=("other:" + "o" * 40,),
        ) as stranger:
            assert stranger.daemon.cluster is not None
            for _ in range(20):
                stranger.daemon.cluster.control.mention("account")
            await until(lambda: backplane._metrics.frames_bad._value.get() >= 20)
    assert capsys.readouterr().out.count("bad frame") <= 3
