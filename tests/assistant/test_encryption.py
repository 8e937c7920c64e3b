"""Conversations with the assistant while content is encrypted at rest."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog.testing
from trio.testing import MockClock

from chatd.keyring import MARK
from chatd.store.memory import MemoryStore
from tests.assistant.model import ask, converse, open_ai_world, open_talk
from tests.people import World
from tests.test_export import ask as ask_export
from tests.test_export import files

KEYS = ("k1:" + base64.b64encode(os.urandom(32)).decode(),)


def kept(world: World) -> list[str]:
    """Return all texts of conversations as they are stored."""
    store = world.store
    assert isinstance(store, MemoryStore)
    return [text for talk in store._ai_sessions.values() for text in talk.texts() if text]


def damage(world: World, talk: str, *, places: tuple[int, ...] = (), **words: str) -> None:
    """Write into a conversation behind the store's back."""
    store = world.store
    assert isinstance(store, MemoryStore)
    found = store._ai_sessions[UUID(talk)]
    found.row = found.row._replace(**words)  # type: ignore[arg-type]
    for place in places:
        found.messages[place] = found.messages[place]._replace(content=MARK + "nonsense")


async def test_people_and_models_see_what_was_said_and_the_table_does_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    settings: dict[str, Any] = {"encryption_keys": KEYS, "ai_titles": "on"}
    async with open_ai_world(tmp_path, **settings) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a, systemPrompt="Be brief.")
            _, call = await ask(a, model, talk, "tea?")
            await call.finish("Tea.")
            await (await model.called()).finish("Of tea")
            assert (await a.event("ai:updated"))["aiSession"]["title"] == "Of tea"
            _, call = await ask(a, model, talk, "And cake?")
            assert call.texts[1:] == [
                "My wishes for this conversation:\nBe brief.",
                "tea?",
                "Tea.",
                "And cake?",
            ]
            await call.finish("Cake.")
            page = await a.ask("ai:messages", aiSessionId=talk)
            said = ["tea?", "Tea.", "And cake?", "Cake."]
            assert [each["content"] for each in page["messages"]] == said
            assert not any("unreadable" in each for each in page["messages"])
        assert len(kept(world)) == 6
        assert all(text.startswith(MARK) for text in kept(world))
        export = files(await ask_export(world, anna))
        assert [row["content"] for row in export["ai_messages.json"]] == said
        [conversation] = export["ai_sessions.json"]
        assert (conversation["title"], conversation["systemPrompt"]) == ("Of tea", "Be brief.")
        assert "unreadable" not in conversation


async def test_what_does_not_decrypt_is_marked_wherever_it_is_shown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path, encryption_keys=KEYS) as (world, model, a, talk):
        answer_id, call = await ask(a, model, talk, "tea?")
        await call.finish("Tea.")
        await a.event("ai:done")
        damage(world, talk, places=(1,), title=MARK + "nonsense")
        with structlog.testing.capture_logs():
            shown = (await a.ask("ai:get", aiSessionId=talk))["aiSession"]
            assert (shown["title"], shown["unreadable"]) == ("", True)
            assert (await a.ask("ai:list"))["aiSessions"] == [shown]
            page = await a.ask("ai:messages", aiSessionId=talk)
            marks = [(each["content"], each.get("unreadable")) for each in page["messages"]]
            assert marks == [("tea?", None), ("", True)]
            attached = await a.ask("ai:attach", messageId=answer_id, fromIndex=2)
            assert (attached["text"], attached["index"], attached["unreadable"]) == ("", 0, True)
            anna = await world.store.user_by_email("anna@example.com")
            assert anna is not None
            path = f"/ai/messages/{answer_id}/stream"
            streamed = await world.rest("GET", path, token=world.token(anna))
            assert streamed.body.startswith(b"id: 0\nevent: ai:done\n")  # and no text ahead of it
            done = json.loads(streamed.body.partition(b"data: ")[2])
            assert (done["content"], done["unreadable"]) == ("", True)
            export = files(await ask_export(world, anna))
            assert [row.get("unreadable") for row in export["ai_messages.json"]] == [None, True]
            assert export["ai_sessions.json"][0]["unreadable"] is True


async def test_a_model_is_told_nothing_of_what_does_not_decrypt(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path, encryption_keys=KEYS) as (world, model, a, talk):
        first_id, call = await ask(a, model, talk, "tea?")
        await call.finish("Tea.")
        await a.event("ai:done")
        damage(world, talk, places=(0,), system_prompt=MARK + "nonsense")
        with structlog.testing.capture_logs():
            assert await a.refusal("ai:retry", messageId=first_id) == "conflict"
            _, call = await ask(a, model, talk, "cake?")
            assert call.roles == ["system", "user"]
            assert call.texts[1:] == ["cake?"]
            await call.finish("Cake.")
            assert (await a.event("ai:done"))["content"] == "Cake."
            await a.ask("ai:update", aiSessionId=talk, systemPrompt="Be brief.")
            shown = (await a.ask("ai:get", aiSessionId=talk))["aiSession"]
            assert "unreadable" not in shown


async def test_a_repeat_of_a_question_that_does_not_decrypt_is_no_second_question(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path, encryption_keys=KEYS) as (world, model, a, talk):
        sent = {"aiSessionId": talk, "content": "tea?", "clientMsgId": "once"}
        first = await a.ask("ai:send", **sent)
        call = await model.called()
        await call.finish("Tea.")
        await a.event("ai:done")
        damage(world, talk, places=(0,))
        with structlog.testing.capture_logs():
            again = await a.ask("ai:send", **sent)
        assert (again["duplicate"], again["messageId"]) == (True, first["messageId"])
        assert again["userMessage"]["unreadable"] is True
        assert len(model.calls) == 1
