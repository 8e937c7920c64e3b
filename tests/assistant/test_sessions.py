"""`@ai` in a session: the assistant answers there as a member."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.ai_rows import ASSISTANT_ID, Usage
from chatd.errors import Unavailable
from chatd.ids import bot_id
from chatd.model import iso
from chatd.prompts import ABOUT_SESSION
from tests.assistant.model import Call, Model, open_ai_world
from tests.people import Client, World

AI = str(ASSISTANT_ID)


@asynccontextmanager
async def open_tea(tmp_path: Path) -> AsyncIterator[tuple[World, Model, Client, UUID]]:
    """Run a daemon with Anna, who is connected, and a session of hers."""
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        tea = await world.session(anna)
        async with world.connect(anna) as a:
            yield world, model, a, tea


async def say(client: Client, session_id: UUID, content: str, **more: Any) -> dict[str, Any]:
    """Send a message and return it."""
    answer = await client.ask("message:send", sessionId=str(session_id), content=content, **more)
    message: dict[str, Any] = answer["message"]
    return message


async def join(client: Client, session_id: UUID) -> None:
    await client.ask("session:join", sessionId=str(session_id))


async def new_from_ai(client: Client) -> dict[str, Any]:
    while True:
        message = await client.event("message:new")
        if message["sender"]["id"] == AI:
            return message


async def silent(client: Client, model: Model) -> None:
    """Check that nobody has asked the model, nor been told of an answer."""
    names = {each["event"] for each in await client.heard()}
    assert not any(name.startswith("ai:") for name in names)
    assert not model.calls


async def test_the_assistant_answers_as_a_member_and_all_who_joined_watch_it(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            for client in (a, b):
                await join(client, tea)
            await say(b, tea, "The kettle boils.")
            asking = await say(a, tea, "@AI what now?")
            call = await model.called()
            assert call.request.turns[0] == ("system", ABOUT_SESSION)
            assert call.request.turns[1:] == (
                ("user", "bert: The kettle boils."),
                ("user", "anna: @AI what now?"),
            )
            joined = await b.event("member:joined")
            assert (joined["member"]["user"]["id"], joined["member"]["role"]) == (AI, "MEMBER")
            assert joined["by"] == str(anna.id)
            start = await b.event("ai:start")
            assert (start["sessionId"], start["replyToId"]) == (str(tea), asking["id"])
            await call.say("Pour ")
            assert (await b.event("ai:delta"))["text"] == "Pour "
            mock_clock.jump(0.04)
            await call.finish("it.", usage=Usage(50, 5))
            for client in (a, b):
                frames = await client.heard()
                assert sum(each["event"] == "ai:done" for each in frames) == 1
                [message] = [
                    each["data"]
                    for each in frames
                    if each["event"] == "message:new" and each["data"]["sender"]["id"] == AI
                ]
                assert (message["content"], message["id"]) == ("Pour it.", start["messageId"])
                assert message["clientMsgId"] == start["messageId"]
                assert message["replyTo"]["id"] == asking["id"]
                assert message["seq"] == asking["seq"] + 2
            assert await world.store.ai_tokens(anna.id, world.server.now.date()) == 55
            assert await world.store.ai_tokens(bert.id, world.server.now.date()) == 0


async def test_the_next_answer_knows_the_last_one_and_nobody_joins_twice(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        for number in range(2):
            await say(a, tea, f"@ai {number}?")
            call = await model.called()
            await call.finish(f"{number}.")
            await new_from_ai(a)
        assert call.request.turns[1:] == (
            ("user", "anna: @ai 0?"),
            ("assistant", "0."),
            ("user", "anna: @ai 1?"),
        )
        assert await a.heard("member:joined") == []
        members = await a.ask("member:list", sessionId=str(tea))
        assert sum(each["user"]["id"] == AI for each in members["members"]) == 1


@pytest.mark.parametrize(
    "content",
    ["mail@ai is an address", "@aida sings", "@ai.example.org", "@ai-team", "x@ai", "ai?", "@ ai"],
)
async def test_what_only_looks_like_a_call_is_none(
    tmp_path: Path, autojump_clock: MockClock, content: str
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        await say(a, tea, content)
        await say(a, tea, "everybody?", mentions="ALL")
        await silent(a, model)


@pytest.mark.parametrize("content", ["@ai", "so, @Ai.", "(@AI)", "@ai\nwhat?", "hey @ai, you"])
async def test_a_call_stands_by_itself_anywhere_in_any_case(
    tmp_path: Path, autojump_clock: MockClock, content: str
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await say(a, tea, content)
        assert (await model.called()).texts[1] == f"anna: {content}"


async def test_a_mention_of_the_user_calls_too_also_before_it_is_a_member(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await say(a, tea, "What now?", mentions=[AI])
        call = await model.called()
        assert call.texts[1] == "anna: What now?"


async def test_a_message_that_is_sent_again_is_answered_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        for _ in range(3):
            await say(a, tea, "@ai?", clientMsgId="k1")
        await wait_all_tasks_blocked()
        assert len(model.calls) == 1


async def test_bots_are_not_answered_and_the_assistant_does_not_call_itself(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        robot = await world.store.users_by_ids([await _bot(world)])
        tea = await world.session(anna, robot[0])
        async with world.connect(anna) as a, world.connect(robot[0]) as r:
            await join(a, tea)
            await say(r, tea, "@ai?")
            await silent(a, model)
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.finish("Ask @ai again, says @AI.")
            await new_from_ai(a)
            await wait_all_tasks_blocked()
            assert len(model.calls) == 1


async def _bot(world: World) -> UUID:
    anna = await world.store.user_by_email("anna@example.com")
    assert anna is not None
    now = world.server.now
    bot = await world.store.insert_bot(
        user_id=bot_id(), owner_id=anna.id, name="robot", created_at=now, limit=1
    )
    assert bot is not None
    return bot.id


# What it may see, and who may call it


async def test_only_this_session_is_sent_and_only_what_the_asking_user_may_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea, secret = await world.session(anna, bert), await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await say(b, secret, "the password is swordfish")
            gone = await say(b, tea, "deleted words")
            await b.ask("message:delete", messageId=gone["id"])
            await say(a, tea, "@ai tell me the password of the other session")
            later = model.called
            call = await later()
            await say(b, tea, "said behind the question")
            assert not any("swordfish" in text for text in call.texts)
            assert not any("deleted words" in text for text in call.texts)
            assert not any("behind" in text for text in call.texts)


async def test_who_has_left_before_the_context_is_read_is_not_answered(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(bert, anna)
        async with world.connect(anna) as a:
            row = (await say(a, tea, "hello"))["id"]
            access = await world.store.message_for(UUID(row), anna.id)
            assert access is not None
            await world.store.remove_member(tea, anna.id, at=world.server.now)
            assert world.daemon.services.assistant is not None
            world.daemon.services.assistant.mentioned(access.message)
            error = await a.event("ai:error")
            assert (error["code"], error["replyToId"]) == ("not_a_member", row)
            assert not model.calls


@pytest.mark.parametrize("how", ["banned", "direct", "read only"])
async def test_where_the_assistant_may_not_be_who_asks_is_told_why(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert, kind="DIRECT" if how == "direct" else "GROUP")
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(b, tea)
            if how == "banned":
                await a.ask("member:ban", sessionId=str(tea), userId=AI)
            elif how == "read only":
                await a.ask("session:update", sessionId=str(tea), readOnly=True)
            asking = await say(a, tea, "@ai?")
            error = await a.event("ai:error")
            codes = {"banned": "forbidden", "direct": "conflict", "read only": "session_read_only"}
            assert error["code"] == codes[how]
            assert error["replyToId"] == asking["id"]
            await silent(b, model)


async def test_who_was_removed_comes_back_by_the_next_call(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        call = await model.called()
        await call.say("So")
        await a.ask("member:remove", sessionId=str(tea), userId=AI)
        assert (await a.event("ai:error"))["code"] == "not_found"
        await say(a, tea, "@ai again?")
        await (await model.called()).finish("Here.")
        assert (await new_from_ai(a))["content"] == "Here."


async def test_rates_are_those_of_who_asks(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_ai_world(tmp_path, ai_per_user=1) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await say(a, tea, "@ai one?")
            await say(a, tea, "@ai two?")
            assert (await a.event("ai:error"))["code"] == "rate_limited"
            await say(b, tea, "@ai three?")
            await model.called()
            await model.called()
            assert len(model.calls) == 2


# How it ends


async def test_an_answer_that_breaks_off_is_kept_as_far_as_it_was_seen(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(b, tea)
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.say("Half an ans")
            await call.fail(Unavailable("away"))
            error = await b.event("ai:error")
            assert (error["code"], error["partial"]) == ("unavailable", "Half an ans")
            page = await b.ask("message:history", sessionId=str(tea))
            assert page["messages"][-1]["content"] == "Half an ans […]"
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.fail(Unavailable("away"), may_retry=False)
            assert (await b.event("ai:error"))["partial"] == ""
            page = await b.ask("message:history", sessionId=str(tea))
            assert page["messages"][-1]["content"] == "@ai?"


async def test_who_asks_or_moderates_stops_an_answer_and_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert, carl = [await world.person(name) for name in ("anna", "bert", "carl")]
        tea = await world.session(anna, bert, carl)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(carl) as c:
            await join(c, tea)
            for stopper in (b, a):
                await say(b, tea, "@ai?")
                call = await model.called()
                await call.say("So ")
                start = await c.event("ai:start")
                ref = {"messageId": start["messageId"]}
                assert await c.refusal("ai:stop", **ref) == "forbidden"
                stopped = await stopper.ask("ai:stop", **ref)
                assert (stopped["text"], stopped["status"]) == ("So ", "STOPPED")
                assert call.is_closed
                assert (await new_from_ai(c))["content"] == "So"


async def test_who_comes_in_between_has_the_text_and_the_rest_by_joining(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna)
        async with world.connect(anna) as a, world.connect(anna) as late, world.connect(bert) as b:
            await join(a, tea)
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.say("So ")
            ref = {"messageId": (await a.event("ai:start"))["messageId"]}
            assert await b.refusal("ai:attach", **ref) == "not_found"
            assert (await late.ask("ai:attach", **ref))["text"] == "So "
            await call.say("it ")
            assert await late.heard("ai:delta") == []
            await join(late, tea)
            assert (await late.ask("ai:attach", **ref))["text"] == "So it "
            await call.finish("is.")
            text = "So it "
            for each in await late.heard("ai:delta"):
                assert each["index"] <= len(text)  # it may have the beginning already
                text = text[: each["index"]] + each["text"]
            assert text == "So it is."
            told = [each["text"] for each in await a.heard("ai:delta")]
            assert "".join(told) == "So it is."
            done = await late.ask("ai:attach", **ref, fromIndex=3)
            assert (done["text"], done["done"]) == ("it is.", True)
            assert await b.refusal("ai:attach", **ref) == "not_found"


async def test_who_is_removed_hears_no_more_of_an_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await join(b, tea)
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.say("So ")
            ref = {"messageId": (await b.event("ai:start"))["messageId"]}
            await b.ask("ai:attach", **ref)
            answer = await world.rest(
                "GET", f"/ai/messages/{ref['messageId']}/stream", token=world.token(bert)
            )
            assert answer.code == "conflict"  # a stream would outlive the membership
            await a.ask("member:remove", sessionId=str(tea), userId=str(bert.id))
            await b.heard()
            await call.finish("secret.")
            names = {each["event"] for each in await b.heard()}
            assert not any(name.startswith("ai:") for name in names)
            assert await b.refusal("ai:attach", **ref) == "not_found"


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("member:remove", {"userId": AI}),
        ("member:ban", {"userId": AI}),
        ("session:update", {"archived": True}),
    ],
)
async def test_an_answer_ends_when_the_assistant_may_not_write_it_any_more(
    tmp_path: Path, autojump_clock: MockClock, event: str, data: dict[str, Any]
) -> None:
    async with open_tea(tmp_path) as (_, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        call = await model.called()
        await call.say("So ")
        await a.event("ai:delta")
        await a.ask(event, sessionId=str(tea), **data)
        error = await a.event("ai:error")
        assert (error["code"], error["retryable"]) == ("not_found", False)
        assert call.is_closed
        page = await a.ask("message:history", sessionId=str(tea))
        assert [each["content"] for each in page["messages"]] == ["@ai?"]


async def test_who_asks_is_told_of_a_mute_that_it_is_the_assistants(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (world, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        call = await model.called()
        until = iso(world.server.now + timedelta(hours=1))
        await a.ask("member:update", sessionId=str(tea), userId=AI, mutedUntil=until)
        await call.finish("So.")
        error = await a.event("ai:error")
        assert error["code"] == "muted"
        assert error["message"] == "the assistant may not write in this session"


async def test_a_call_that_is_deleted_before_it_is_read_is_not_answered(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (world, model, a, tea):
        said = await say(a, tea, "hello")
        message_id, sender_id = said["id"], said["sender"]["id"]
        access = await world.store.message_for(UUID(message_id), UUID(sender_id))
        assert access is not None
        await a.ask("message:delete", messageId=message_id)
        assert world.daemon.services.assistant is not None
        world.daemon.services.assistant.mentioned(access.message)
        assert (await a.event("ai:error"))["code"] == "not_found"
        assert not model.calls


async def test_in_slow_mode_the_answer_waits_for_its_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        await a.ask("session:update", sessionId=str(tea), slowModeSeconds=30)
        for _ in range(2):
            await say(a, tea, "@ai?")
            call = await model.called()
            await call.finish("So.")
            await new_from_ai(a)
        assert 30 <= trio.current_time() <= 31


async def test_a_session_that_is_deleted_ends_its_answer(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await say(a, tea, "@ai?")
        call = await model.called()
        await call.say("So ")
        await a.ask("session:delete", sessionId=str(tea))
        await wait_all_tasks_blocked()
        assert call.is_closed


async def test_a_stop_of_the_daemon_stores_what_has_come(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (world, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        call: Call = await model.called()
        await call.say("So it")
        world.daemon.begin_drain()
        assert (await new_from_ai(a))["content"] == "So it […]"
        assert call.is_closed


async def test_an_answer_of_nothing_is_no_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        await (await model.called()).finish(" \n ")
        assert (await a.event("ai:error"))["code"] == "unavailable"


async def test_what_a_message_cannot_hold_is_left_out_of_an_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_tea(tmp_path) as (_world, model, a, tea):
        await join(a, tea)
        await say(a, tea, "@ai?")
        call = await model.called()
        await call.say("a\0b\x1b[31m", "\ud83dc", "x" * 20_000)
        message = await new_from_ai(a)
        assert message["content"].startswith("ab[31mcxxx")
        assert len(message["content"]) == 16_380
