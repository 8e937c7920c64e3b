"""Questions and answers as their user lives them: streamed, followed, stopped, asked again."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.ai_rows import Usage
from chatd.ids import uuid7
from tests.assistant.model import ask, converse, last_message, open_ai_world, open_talk
from tests.people import Client


def deltas(frames: list[dict[str, object]]) -> str:
    """Return the text of deltas, which follow each other without a hole."""
    text = ""
    for each in frames:
        assert each["index"] == len(text.encode("utf-16-le")) // 2
        text += str(each["text"])
    return text


async def test_an_answer_comes_in_pieces_and_then_whole(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a, systemPrompt="Be brief.")
            sent = await a.ask("ai:send", aiSessionId=talk, content=" Why? ", clientMsgId="k1")
            assert (sent["userMessage"]["content"], sent["duplicate"]) == ("Why?", False)
            message_id = sent["messageId"]
            call = await model.called()
            start = await a.event("ai:start")
            assert start == {
                "messageId": message_id,
                "aiSessionId": talk,
                "model": "test-model",
            }
            await call.say("Be", "cause 🐈", " it")
            first = await a.event("ai:delta")
            mock_clock.jump(0.04)
            await call.finish(" is.", usage=Usage(30, 7))
            done = await a.event("ai:done")
            assert done == {
                "messageId": message_id,
                "aiSessionId": talk,
                "content": "Because 🐈 it is.",
                "finishReason": "stop",
                "usage": {"promptTokens": 30, "completionTokens": 7, "estimated": False},
            }
            assert str(done["content"]).startswith(str(first["text"]))
            stored = await last_message(a, talk)
            assert (stored["id"], stored["status"]) == (message_id, "COMPLETE")
            assert (stored["content"], stored["usage"]) == (done["content"], done["usage"])
            day = world.server.now.date()
            assert await world.store.ai_tokens(anna.id, day) == 37


async def test_pieces_are_merged_to_one_delta_in_40_ms(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        _, call = await ask(a, model, await converse(a))
        await call.say("1")
        await call.say("2")
        await call.say("3")
        assert [each["text"] for each in await a.heard("ai:delta")] == ["1"]
        mock_clock.jump(0.039)
        assert await a.heard("ai:delta") == []
        mock_clock.jump(0.001)
        assert [each["text"] for each in await a.heard("ai:delta")] == ["23"]


async def test_a_second_tab_and_a_reload_see_the_same_text_from_one_request(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as first:
            message_id, call = await ask(first, model, await converse(first))
            await call.say("So 🐈 it ")
        async with world.connect(anna) as reloaded, world.connect(anna) as second:
            attached = await reloaded.ask("ai:attach", messageId=message_id)
            assert attached == {
                "messageId": message_id,
                "text": "So 🐈 it ",
                "index": 0,
                "done": False,
                "status": "STREAMING",
                "finishReason": None,
                "errorCode": None,
            }
            half = await second.ask("ai:attach", messageId=message_id, fromIndex=4)
            assert (half["text"], half["index"]) == ("🐈 it ", 3)  # never within a pair
            await call.say("is ")
            await call.finish("so.")
            for tab, begun in ((reloaded, attached), (second, half)):
                more = str(begun["text"])
                at = int(begun["index"]) + len(more.encode("utf-16-le")) // 2
                for each in await tab.heard("ai:delta"):
                    assert each["index"] == at
                    at += len(str(each["text"]))
                    more += str(each["text"])
                assert more == "So 🐈 it is so."[int(begun["index"]) :]
            assert len(model.calls) == 1
            late = await second.ask("ai:attach", messageId=message_id, fromIndex=10)
            assert (late["text"], late["done"], late["status"]) == ("s so.", True, "COMPLETE")


async def test_who_has_not_asked_or_attached_hears_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        async with (
            world.connect(anna) as asking,
            world.connect(anna) as other,
            world.connect(bert) as stranger,
        ):
            talk = await converse(asking)
            message_id, call = await ask(asking, model, talk)
            for event in ("ai:attach", "ai:stop", "ai:retry"):
                assert await stranger.refusal(event, messageId=message_id) == "not_found"
            for event in ("ai:get", "ai:messages", "ai:delete"):
                assert await stranger.refusal(event, aiSessionId=talk) == "not_found"
            refused = await stranger.refusal("ai:send", aiSessionId=talk, content="Me too")
            assert refused == "not_found"
            await call.say("secret")
            await call.finish()
            for client in (other, stranger):
                names = [each["event"] for each in await client.heard()]
                assert not any(name.startswith("ai:") for name in names)
            assert len(await asking.heard("ai:done")) == 1


async def test_an_answer_goes_on_when_everybody_has_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a)
            message_id, call = await ask(a, model, talk)
            await call.say("So")
        await call.say(" it")
        await call.finish(" is.")
        assert call.is_closed
        async with world.connect(anna) as a:
            stored = await last_message(a, talk)
            assert (stored["status"], stored["content"]) == ("COMPLETE", "So it is.")
            attached = await a.ask("ai:attach", messageId=message_id)
            assert (attached["text"], attached["done"]) == ("So it is.", True)


async def test_one_answer_of_a_conversation_is_under_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a)
            message_id, call = await ask(a, model, talk)
            request = await a.emit("ai:send", aiSessionId=talk, content="And?")
            error = (await a.answer(request))["error"]
            assert (error["code"], error["details"]) == ("conflict", {"messageId": message_id})
            assert await a.refusal("ai:retry", messageId=message_id) == "conflict"
            got = await a.ask("ai:get", aiSessionId=talk)
            assert got["aiSession"]["runningId"] == message_id
            await call.finish("So.")
            _, second = await ask(a, model, talk, "And?")
            assert second.texts[1:] == ["Why?", "So.", "And?"]


async def test_a_question_that_is_sent_again_is_asked_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a)
            question = {"aiSessionId": talk, "content": "Why?", "clientMsgId": "k1"}
            sent = await a.ask("ai:send", **question)
            call = await model.called()
            again = await b.ask("ai:send", **question)
            assert again == sent | {"duplicate": True}
            await call.finish("So.")
            assert (await b.event("ai:done"))["content"] == "So."
            assert await a.ask("ai:send", **question) == sent | {"duplicate": True}
            other = question | {"content": "Why not?"}
            assert await a.refusal("ai:send", **other) == "idempotency_conflict"
            assert len(model.calls) == 1


async def test_stop_leaves_the_provider_at_once_and_keeps_what_has_come(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a)
            message_id, call = await ask(a, model, talk)
            await call.say("So it")
            stopped = await b.ask("ai:stop", messageId=message_id)
            assert call.closed_at == mock_clock.current_time() == 0.0
            assert (stopped["text"], stopped["status"]) == ("So it", "STOPPED")
            done = await a.event("ai:done")
            assert (done["content"], done["finishReason"]) == ("So it", "stopped")
            stored = await last_message(a, talk)
            assert (stored["status"], stored["content"]) == ("STOPPED", "So it")
            assert stored["usage"]["estimated"]
            assert await b.ask("ai:stop", messageId=message_id) == stopped
            await ask(a, model, talk, "Go on")
            assert model.calls[1].texts[1:] == ["Why?", "So it", "Go on"]


async def test_an_answer_that_was_stopped_is_asked_for_again_in_its_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        message_id, call = await ask(a, model, talk)
        await call.say("So it")
        await a.ask("ai:stop", messageId=message_id)
        sent = await a.ask("ai:retry", messageId=message_id)
        call = await model.called()
        assert call.texts[1:] == ["Why?"]
        repeated = await a.ask("ai:retry", messageId=message_id)
        assert repeated == sent | {"duplicate": True}
        await call.say("Be")
        attached = await a.ask("ai:attach", messageId=message_id, fromIndex=5)
        assert (attached["messageId"], attached["done"]) == (sent["messageId"], False)
        assert (attached["text"], attached["index"]) == ("Be", 0)
        await call.finish("cause.")
        page = await a.ask("ai:messages", aiSessionId=talk)
        contents = [each["content"] for each in page["messages"]]
        assert contents == ["Why?", "Because."]
        question_id = page["messages"][0]["id"]
        assert await a.refusal("ai:retry", messageId=question_id) == "conflict"
        await ask(a, model, talk, "And?")
        assert await a.refusal("ai:retry", messageId=sent["messageId"]) == "conflict"
        assert len(model.calls) == 3


async def test_a_deleted_conversation_ends_its_answer_at_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        message_id, call = await ask(a, model, talk)
        await call.say("So")
        await a.ask("ai:delete", aiSessionId=talk)
        error = await a.event("ai:error")
        assert (error["code"], error["partial"]) == ("not_found", "")
        assert call.closed_at == 0.0
        assert await a.refusal("ai:attach", messageId=message_id) == "not_found"
        assert await a.refusal("ai:get", aiSessionId=talk) == "not_found"


async def test_conversations_are_changed_and_other_devices_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, openai_models=("large",)) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a, systemPrompt="Be brief.")
            change = {"aiSessionId": talk, "title": "Tea", "model": "large", "systemPrompt": None}
            changed = await a.ask("ai:update", **change)
            session = changed["aiSession"]
            assert (session["title"], session["model"]) == ("Tea", "large")
            assert session["systemPrompt"] is None
            assert await b.event("ai:updated") == changed
            assert await a.heard("ai:updated") == []
            for wrong in ({}, {"title": None}, {"model": "gigantic"}, {"title": ""}):
                code = await a.refusal("ai:update", aiSessionId=talk, **wrong)
                assert code == "validation_failed"
            assert await a.refusal("ai:create", model="gigantic") == "validation_failed"
            listed = await a.ask("ai:list", limit=1)
            assert (listed["aiSessions"], listed["nextCursor"]) == ([session], None)
            _, call = await ask(a, model, talk)
            assert call.request.model == "large"


async def test_conversations_and_messages_come_in_pages(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        talks = [await converse(a) for _ in range(3)]
        for _ in range(2):
            _, call = await ask(a, model, talks[0])
            await call.finish("So.")
        first = await a.ask("ai:list", limit=2)
        rest = await a.ask("ai:list", limit=2, cursor=first["nextCursor"])
        ids = [each["id"] for each in first["aiSessions"] + rest["aiSessions"]]
        assert sorted(ids) == sorted(talks)
        assert rest["nextCursor"] is None
        page = await a.ask("ai:messages", aiSessionId=talks[0], limit=3)
        assert [each["seq"] for each in page["messages"]] == [2, 3, 4]
        assert page["hasBefore"]
        page = await a.ask("ai:messages", aiSessionId=talks[0], beforeSeq=2)
        assert ([each["seq"] for each in page["messages"]], page["hasBefore"]) == ([1], False)


async def test_the_first_answer_gives_a_conversation_its_title(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_titles="on") as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a)
            _, call = await ask(a, model, talk)
            await call.finish("So.", usage=Usage(20, 2))
            title = await model.called()
            assert title.request.max_tokens == 64
            assert title.texts[1] == "Question: Why?\n\nAnswer: So."
            await title.finish('"Why things are so."\n', usage=Usage(10, 5))
            for client in (a, b):
                updated = await client.event("ai:updated")
                assert updated["aiSession"]["title"] == "Why things are so"
            assert await world.store.ai_tokens(anna.id, world.server.now.date()) == 37
            _, call = await ask(a, model, talk, "And?")
            await call.finish("So.")
            await converse(a, title="Mine")
            await wait_all_tasks_blocked()
            assert len(model.calls) == 3


@pytest.mark.parametrize("ending", ["fail", "hang_up", "named"])
async def test_without_a_title_a_conversation_does_as_well(
    tmp_path: Path, autojump_clock: MockClock, ending: str
) -> None:
    async with open_talk(tmp_path, ai_titles="on") as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        await call.finish("So.")
        title = await model.called()
        if ending == "named":
            await a.ask("ai:update", aiSessionId=talk, title="Mine")
            await title.finish("Other")
        elif ending == "fail":
            await title.fail(may_retry=False)
        else:
            await title.say("Half a ti")
            await title.hang_up()
        got = await a.ask("ai:get", aiSessionId=talk)
        assert got["aiSession"]["title"] == ("Mine" if ending == "named" else None)


async def test_what_is_nobodys_is_not_found(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with (
        open_ai_world(tmp_path) as (world, _),
        world.connect(await world.person("anna")) as a,
    ):
        await _nothing_is_found(a, uuid7())


async def _nothing_is_found(client: Client, nobody: UUID) -> None:
    for event in ("ai:attach", "ai:stop", "ai:retry"):
        assert await client.refusal(event, messageId=str(nobody)) == "not_found"
    for event in ("ai:get", "ai:messages", "ai:delete"):
        assert await client.refusal(event, aiSessionId=str(nobody)) == "not_found"
    send = {"aiSessionId": str(nobody), "content": "Why?"}
    assert await client.refusal("ai:send", **send) == "not_found"
    update = {"aiSessionId": str(nobody), "title": "Tea"}
    assert await client.refusal("ai:update", **update) == "not_found"
