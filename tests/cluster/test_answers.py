"""An answer of the assistant that one daemon makes is followed, and stopped, at another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio

from chatd.testing.socket import PersonSocket, Refused
from tests.assistant.model import Call, Model
from tests.cluster.kit import PATIENCE, Group, event, open_group, until
from tests.cluster.link_proxy import open_link_proxy
from tests.redis_kit import RedisServer


@asynccontextmanager
async def open_talk(
    redis: RedisServer | str, **settings: Any
) -> AsyncIterator[tuple[Group, Model, PersonSocket, PersonSocket, str]]:
    """Run two daemons with one model, and Anna at both, who has begun a conversation."""
    model = Model()
    async with open_group(redis, provider=model, ai_titles="off", **settings) as group:
        anna = await group.person("anna")
        async with group.at(0, anna).connect() as here, group.at(1, anna).connect() as there:
            answer = await here.ask("ai:create")
            yield group, model, here, there, answer["aiSession"]["id"]


async def ask(socket: PersonSocket, model: Model, talk: str) -> tuple[str, Call]:
    sent = await socket.ask("ai:send", aiSessionId=talk, content="Why?")
    with trio.fail_after(PATIENCE):
        return sent["messageId"], await model.called()


async def test_an_answer_is_followed_from_its_beginning_to_its_end(
    redis_server: RedisServer,
) -> None:
    async with open_talk(redis_server) as (_, model, here, there, talk):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        await event(here, "ai:delta")
        attached = await there.ask("ai:attach", messageId=message_id)
        assert (attached["text"], attached["done"]) == ("Once ", False)
        await call.say("upon a time.")
        assert (await event(there, "ai:delta"))["text"] == "upon a time."
        await call.finish()
        done = await event(there, "ai:done")
        assert done["content"] == "Once upon a time."
        assert done == await event(here, "ai:done")
        assert len(model.calls) == 1


async def test_an_answer_is_stopped_where_it_is_not_made(redis_server: RedisServer) -> None:
    async with open_talk(redis_server) as (_, model, here, there, talk):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        await event(here, "ai:delta")
        stopped = await there.ask("ai:stop", messageId=message_id)
        assert (stopped["text"], stopped["status"]) == ("Once ", "STOPPED")
        assert call.is_closed
        assert (await event(here, "ai:done"))["finishReason"] == "stopped"


async def test_one_answer_of_a_conversation_is_under_way_at_all_daemons(
    redis_server: RedisServer,
) -> None:
    async with open_talk(redis_server) as (_, model, here, there, talk):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        with pytest.raises(Refused) as refused:
            await there.ask("ai:send", aiSessionId=talk, content="And?")
        assert refused.value.code == "conflict"
        assert refused.value.error["details"] == {"messageId": message_id}
        await call.finish("more")
        assert (await event(here, "ai:done"))["content"] == "Once more"


async def test_a_conversation_that_is_deleted_elsewhere_ends_its_answer(
    redis_server: RedisServer,
) -> None:
    async with open_talk(redis_server) as (_, model, here, there, talk):
        _, call = await ask(here, model, talk)
        await call.say("Once ")
        await there.ask("ai:delete", aiSessionId=talk)
        await until(lambda: call.is_closed)
        assert (await event(here, "ai:error"))["code"] == "not_found"


async def test_a_daemon_that_starts_interrupts_no_answer_of_another(
    redis_server: RedisServer,
) -> None:
    async with open_talk(redis_server) as (group, model, here, _, talk):
        _, call = await ask(here, model, talk)
        await call.say("Once ")
        async with open_group(
            redis_server,
            count=1,
            known=2,
            provider=Model(),
            redis_prefix=group.servers[0].settings.redis_prefix,
            store=group.servers[0].store,
        ):
            await call.finish("more")
            assert (await event(here, "ai:done"))["content"] == "Once more"


async def test_an_end_that_was_lost_is_found_out(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.nurseries.mirrors.QUIET", 0.5, raising=False)
    async with (
        open_link_proxy(redis_server.port) as proxy,
        open_talk(proxy.url) as (group, model, here, there, talk),
    ):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        attached = await there.ask("ai:attach", messageId=message_id)
        assert not attached["done"]
        proxy.loss = 1.0
        await call.finish("upon a time.")
        await event(here, "ai:done")
        await trio.sleep(0.2)  # until it is lost
        proxy.loss = 0.0
        assert (await event(there, "ai:error"))["code"] == "unavailable"
        assert not group.cluster(1).mirrors._mirrors
        attached = await there.ask("ai:attach", messageId=message_id)
        assert (attached["text"], attached["done"]) == ("Once upon a time.", True)


async def test_a_quiet_answer_is_followed_once_however_often_it_is_asked_for(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.nurseries.mirrors.QUIET", 0.2, raising=False)
    async with open_talk(redis_server) as (group, model, here, there, talk):
        message_id, call = await ask(here, model, talk)
        await call.say("Once ")
        await there.ask("ai:attach", messageId=message_id)
        for _ in range(3):
            group.cluster(1).control.mention("mirror", id=message_id)
        await trio.sleep(1.0)
        generation = group.cluster(0).mirrors.own(UUID(message_id))
        assert len(generation.watchers) == 2  # who has asked, and the other daemon
        await call.finish("more")
        assert (await event(there, "ai:done"))["content"] == "Once more"
