"""What happens at once: the same question twice, an end beside a question, a full journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from chatd.ai_rows import ASSISTANT_ID
from chatd.contract.acts import Act
from chatd.errors import Overloaded
from tests.assistant.model import ask, converse, open_ai_world, open_talk


async def test_the_same_question_from_two_tabs_at_once_is_asked_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a)
            question = {"aiSessionId": talk, "content": "Why?", "clientMsgId": "k1"}
            ids = [await a.emit("ai:send", **question), await b.emit("ai:send", **question)]
            first = (await a.answer(ids[0]))["data"]
            second = (await b.answer(ids[1]))["data"]
            assert first["messageId"] == second["messageId"]
            assert [first["duplicate"], second["duplicate"]].count(True) == 1
            call = await model.called()
            await call.finish("So.")
            for client in (a, b):
                assert (await client.event("ai:done"))["content"] == "So."
            assert len(model.calls) == 1


async def test_of_different_questions_at_once_one_is_asked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            talk = await converse(a)
            ids = [
                await client.emit("ai:send", aiSessionId=talk, content=content)
                for client, content in ((a, "one?"), (b, "two?"))
            ]
            frames = [await a.answer(ids[0]), await b.answer(ids[1])]
            [refused] = [frame["error"] for frame in frames if not frame["ok"]]
            [asked] = [frame["data"] for frame in frames if frame["ok"]]
            assert refused["code"] == "conflict"
            assert refused["details"] == {"messageId": asked["messageId"]}
            await model.called()
            assert len(model.calls) == 1


async def test_an_answer_is_asked_for_again_once_from_two_tabs(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            message_id, call = await ask(a, model, await converse(a))
            await call.fail(may_retry=False)
            ids = [await each.emit("ai:retry", messageId=message_id) for each in (a, b)]
            first = (await a.answer(ids[0]))["data"]
            second = (await b.answer(ids[1]))["data"]
            assert first["messageId"] == second["messageId"] != message_id
            await model.called()
            assert len(model.calls) == 2


async def test_a_question_is_no_answer_to_be_followed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_, model, a, talk):
        await ask(a, model, talk)
        page = await a.ask("ai:messages", aiSessionId=talk)
        question_id = page["messages"][0]["id"]
        for event in ("ai:attach", "ai:stop"):
            assert await a.refusal(event, messageId=question_id) == "not_found"


async def test_an_account_that_has_ended_begins_no_conversation(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, _):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a)
            now = world.server.now
            await world.store.begin_erasure(anna.id, deletes_messages=False, at=now)
            assert await a.refusal("ai:create") == "unauthorized"
            assert await a.refusal("ai:send", aiSessionId=talk, content="Why?") == "not_found"


async def test_a_conversation_that_is_deleted_beside_a_question_has_no_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a, world.connect(anna) as b:
            for _ in range(5):
                talk = await converse(a)
                asked = await a.emit("ai:send", aiSessionId=talk, content="Why?")
                await b.ask("ai:delete", aiSessionId=talk)
                await a.answer(asked)
                await trio.sleep(0.1)
            assert all(call.is_closed for call in model.calls)
            assert (await a.ask("ai:list"))["aiSessions"] == []


async def test_a_message_that_fits_into_no_context_and_a_reader_are_told_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_context_tokens=500) as (world, model):
        anna = await world.person("anna")
        tea = await world.session(anna)
        async with world.connect(anna) as a:
            ref = {"sessionId": str(tea)}
            await a.ask("message:send", **ref, content="@ai " + "x" * 3000)
            assert (await a.event("ai:error"))["code"] == "payload_too_large"
            act = Act(anna.id, world.server.now, lambda _: None)
            await world.store.update_member(tea, ASSISTANT_ID, role="READ_ONLY", act=act)
            await a.ask("message:send", **ref, content="@ai?")
            assert (await a.event("ai:error"))["code"] == "session_read_only"
            assert not model.calls


async def test_an_answer_that_the_journal_does_not_take_is_told_as_failed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        tea = await world.session(anna)
        async with world.connect(anna) as a:
            await a.ask("message:send", sessionId=str(tea), content="@ai?")
            call = await model.called()
            services: Any = world.daemon.services
            journal, services.journal = services.journal, _FullJournal()
            await call.finish("So.")
            assert (await a.event("ai:error"))["code"] == "overloaded"
            services.journal = journal


class _FullJournal:
    def submit(self, *_: object) -> None:
        raise Overloaded


async def test_answers_that_a_crash_has_left_are_counted_in_the_log(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        await ask(a, model, talk)
        with capture_logs() as logs:
            async with open_ai_world(tmp_path, store=world.store) as (second, _):
                del second
        told = [each for each in logs if each["event"].startswith("answers of an earlier run")]
        assert [each["count"] for each in told] == [1]
