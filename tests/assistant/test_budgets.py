"""What the assistant may cost: rates, answers at once, tokens a day, the size of what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.ai_rows import Usage
from chatd.prompts import ABOUT, Turn, tokens_of
from tests.assistant.model import ask, converse, last_message, open_ai_world, open_talk
from tests.people import Client


async def refused(client: Client, ai_session_id: str, content: str = "Why?") -> dict[str, Any]:
    """Ask a question that is refused; return the error. Nothing of it is stored."""
    before = (await client.ask("ai:messages", aiSessionId=ai_session_id))["messages"]
    request = await client.emit("ai:send", aiSessionId=ai_session_id, content=content)
    frame = await client.answer(request)
    assert not frame["ok"], frame
    after = (await client.ask("ai:messages", aiSessionId=ai_session_id))["messages"]
    assert after == before
    error: dict[str, Any] = frame["error"]
    return error


@pytest.mark.threat("T100")
async def test_a_user_asks_so_often_and_others_are_not_touched(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    settings = {"rate_limits": "on", "ai_rate": "6/min burst 2", "openai_models": ()}
    async with (
        open_ai_world(tmp_path, **settings) as (world, model),
        world.connect(await world.person("anna")) as a,
        world.connect(await world.person("bert")) as b,
    ):
        talk, other = await converse(a), await converse(b)
        for _ in range(2):
            _, call = await ask(a, model, talk)
            await call.finish("So.")
        error = await refused(a, talk)
        assert (error["code"], error["retryAfterMs"]) == ("rate_limited", 10_000)
        await ask(b, model, other)
        mock_clock.jump(10)
        await ask(a, model, talk)


@pytest.mark.threat("T100")
async def test_all_users_together_ask_so_often(tmp_path: Path, mock_clock: MockClock) -> None:
    settings = {"rate_limits": "on", "ai_global_rate": "60/min burst 3"}
    async with open_ai_world(tmp_path, **settings) as (world, model):
        for name in ("anna", "bert", "carl"):
            async with world.connect(await world.person(name)) as client:
                await ask(client, model, await converse(client))
        async with world.connect(await world.person("dora")) as d:
            talk = await converse(d)
            assert (await refused(d, talk))["code"] == "rate_limited"
            mock_clock.jump(1)
            await ask(d, model, talk)


@pytest.mark.threat("T100")
async def test_of_a_user_two_answers_are_under_way_and_of_all_so_many(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path, ai_at_once=3) as (world, model),
        world.connect(await world.person("anna")) as a,
        world.connect(await world.person("bert")) as b,
    ):
        hers = [await converse(a) for _ in range(3)]
        calls = [(await ask(a, model, talk))[1] for talk in hers[:2]]
        error = await refused(a, hers[2])
        assert (error["code"], error["details"]) == ("rate_limited", {"limit": 2})
        his = [await converse(b) for _ in range(2)]
        await ask(b, model, his[0])
        assert (await refused(b, his[1]))["code"] == "overloaded"
        await calls[0].finish("So.")
        await ask(a, model, hers[2])


@pytest.mark.threat("T100")
async def test_tokens_of_a_day_are_counted_and_come_back_with_the_next(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_tokens_per_day=1000) as (world, model):
        anna = await world.person("anna")
        mock_clock.jump(3600)
        async with world.connect(anna) as a:
            talk = await converse(a)
            _, call = await ask(a, model, talk)
            prompt = tokens_of([Turn("system", ABOUT), Turn("user", "Why?")])
            assert call.request.max_tokens == 1000 - prompt
            await call.finish("So.", usage=Usage(prompt, 860 - prompt))
            error = await refused(a, talk)
            counts = {"limit": 1000, "used": 860}
            assert (error["code"], error["details"]) == ("rate_limited", counts)
            assert error["retryAfterMs"] == 23 * 3600 * 1000
        mock_clock.jump(23 * 3600)
        async with world.connect(anna) as a:
            _, call = await ask(a, model, talk)
            assert call.request.max_tokens > 64


@pytest.mark.threat("T100")
async def test_answers_at_once_do_not_spend_the_same_tokens(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path, ai_tokens_per_day=1000, ai_max_tokens=800) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        first, second = [await converse(a) for _ in range(2)]
        _, call = await ask(a, model, first)
        assert call.request.max_tokens == 800
        error = await refused(a, second)
        assert (error["code"], error["details"]["used"]) == ("rate_limited", 0)
        await call.finish("So.")
        await ask(a, model, second)


async def test_what_a_provider_does_not_count_is_estimated_and_said_to_be(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        await call.finish("So it is.")
        usage = (await a.event("ai:done"))["usage"]
        prompt = tokens_of([Turn("system", ABOUT), Turn("user", "Why?")])
        assert usage == {"promptTokens": prompt, "completionTokens": 3, "estimated": True}


@pytest.mark.threat("T100")
async def test_a_thousand_questions_at_once_lead_to_a_few_requests(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path, event_rate="999999/s burst 999999") as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        talks = [await converse(a) for _ in range(4)]
        ids = [
            await a.emit("ai:send", aiSessionId=talks[number % 4], content=f"{number}?")
            for number in range(1000)
        ]
        codes = [(await a.answer(each)).get("error", {}).get("code") for each in ids]
        assert codes.count(None) == len(model.calls) == 2
        assert set(codes) == {None, "conflict", "rate_limited"}


@pytest.mark.threat("T100")
async def test_an_endless_answer_is_cut(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        for _ in range(70):
            await call.say("x" * 1000)
        done = await a.event("ai:done")
        assert (len(done["content"]), done["finishReason"]) == (65_536, "length")
        assert call.is_closed
        assert (await last_message(a, talk))["status"] == "COMPLETE"


async def test_of_a_long_conversation_the_oldest_turns_are_left_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path, ai_context_tokens=400) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        talk = await converse(a, systemPrompt="Be brief.")
        for number in range(4):
            _, call = await ask(a, model, talk, f"{number}" * 300)
            await call.finish(f"{number}" * 300)
        _, call = await ask(a, model, talk, "And?")
        assert call.roles == ["system", "user", "user", "assistant", "user"]
        assert call.texts[1] == "My wishes for this conversation:\nBe brief."
        assert [text[:4] for text in call.texts[2:]] == ["3333", "3333", "And?"]
        assert tokens_of(call.request.turns) <= 400


@pytest.mark.threat("T100")
async def test_a_question_that_fits_into_no_context_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path, ai_context_tokens=500) as (_world, model, a, talk):
        error = await refused(a, talk, "x" * 3000)
        assert (error["code"], error["details"]["tokens"]) == ("payload_too_large", 1004)
        assert await a.refusal("ai:send", aiSessionId=talk, content="x" * 20_000) == (
            "validation_failed"
        )
        assert not model.calls


@pytest.mark.threat("T102")
async def test_an_answer_that_nobody_watches_ends_where_that_is_wished(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_unwatched_timeout=5) as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talk = await converse(a)
            message_id, call = await ask(a, model, talk)
            await call.say("So ")
            await trio.sleep(7)
            assert not call.is_closed
            left_at = trio.current_time()
        await trio.sleep(6)
        assert call.closed_at is not None
        assert 5 <= call.closed_at - left_at <= 6
        async with world.connect(anna) as a:
            stored = await last_message(a, talk)
            assert (stored["status"], stored["finishReason"]) == ("STOPPED", "unwatched")
            assert stored["content"] == "So "
            await wait_all_tasks_blocked()
            assert (await a.ask("ai:attach", messageId=message_id))["done"]
