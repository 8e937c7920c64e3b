"""Providers that fail, on a mock clock: what their users are told, and what is kept."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import (
    ChatError,
    PayloadTooLarge,
    RateLimited,
    StoreAmbiguous,
    StoreUnavailable,
    Unavailable,
)
from chatd.nurseries.provider import ProviderError
from chatd.store.memory import MemoryStore
from tests.assistant.model import Model, ask, converse, last_message, open_ai_world, open_talk
from tests.people import Client, World
from tests.store.kit import sign_up
from tests.store.test_ai import converse as store_talk
from tests.store.test_ai import question


async def failed(client: Client, ai_session_id: str) -> dict[str, Any]:
    """Return the error of an answer, after a look at what is stored of it."""
    error = await client.event("ai:error")
    stored = await last_message(client, ai_session_id)
    assert (stored["id"], stored["errorCode"]) == (error["messageId"], error["code"])
    assert stored["content"] == error["partial"]
    assert stored["status"] == ("INTERRUPTED" if error["partial"] else "FAILED")
    return error


async def still_answers(client: Client, model: Model, ai_session_id: str) -> None:
    await client.heard()
    _, call = await ask(client, model, ai_session_id, "Still there?")
    await call.finish("Yes.")
    assert (await client.event("ai:done"))["content"] == "Yes."


# Deadlines


async def test_a_model_without_a_first_word_is_left_after_20_s_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        mock_clock.jump(19.9)
        await wait_all_tasks_blocked()
        assert not call.is_closed
        mock_clock.jump(0.1)
        assert (await failed(a, talk))["code"] == "deadline_exceeded"
        assert call.closed_at == 20.0
        assert len(model.calls) == 1


async def test_a_model_that_falls_silent_is_left_after_15_s_with_what_it_has_said(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        for text in ("So ", "it "):
            mock_clock.jump(14.9)
            await call.say(text)
        mock_clock.jump(14.9)
        await wait_all_tasks_blocked()
        assert not call.is_closed
        mock_clock.jump(0.1)
        error = await failed(a, talk)
        assert (error["code"], error["partial"]) == ("deadline_exceeded", "So it ")
        assert call.is_closed


async def test_a_model_that_does_not_come_to_an_end_is_left_after_60_s(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        for _ in range(11):
            mock_clock.jump(5)
            await call.say("and ")
        assert not call.is_closed
        mock_clock.jump(5)
        error = await failed(a, talk)
        assert (error["code"], error["partial"]) == ("deadline_exceeded", "and " * 11)
        assert call.closed_at == 60.0


# Attempts


@pytest.mark.parametrize("refusal", [Unavailable(), RateLimited()])
async def test_what_fails_before_the_first_word_is_tried_again_with_a_growing_pause(
    tmp_path: Path, autojump_clock: MockClock, refusal: ChatError
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        model.refusals = [ProviderError(refusal, may_retry=True) for _ in range(2)]
        talk = await converse(a)
        await ask(a, model, talk)
        await model.called()
        call = await model.called()
        await call.finish("So.")
        assert (await a.event("ai:done"))["content"] == "So."
        times = [each.asked_at for each in model.calls]
        first, second = (after - before for before, after in pairwise(times))
        assert 0.5 <= first <= 0.6
        assert 1.0 <= second <= 1.2


async def test_the_third_attempt_is_the_last(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        model.refusals = [ProviderError(Unavailable("away"), may_retry=True) for _ in range(3)]
        talk = await converse(a)
        await ask(a, model, talk)
        error = await failed(a, talk)
        assert (error["code"], error["message"], error["partial"]) == ("unavailable", "away", "")
        assert len(model.calls) == 3
        model._taken = 3
        await still_answers(a, model, talk)


async def test_the_wait_that_a_provider_asks_for_is_kept(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        model.refusals = [ProviderError(RateLimited(retry_after=7.0), may_retry=True)]
        talk = await converse(a)
        await ask(a, model, talk)
        mock_clock.jump(6.9)
        await wait_all_tasks_blocked()
        assert len(model.calls) == 1
        mock_clock.jump(1.5)
        call = await model.called()
        await call.finish("So.")
        assert (await a.event("ai:done"))["content"] == "So."


async def test_a_wait_beyond_the_deadline_is_told_at_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        model.refusals = [ProviderError(RateLimited(retry_after=90.0), may_retry=True)]
        talk = await converse(a)
        await ask(a, model, talk)
        error = await failed(a, talk)
        assert (error["code"], error["retryAfterMs"]) == ("rate_limited", 90_000)
        assert (error["retryable"], len(model.calls)) == (True, 1)


async def test_a_wait_shorter_than_a_millisecond_is_told_as_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        refusal = RateLimited(retry_after=0.0002)
        model.refusals = [ProviderError(refusal, may_retry=True) for _ in range(3)]
        talk = await converse(a)
        await ask(a, model, talk)
        assert (await failed(a, talk))["retryAfterMs"] == 1


async def test_a_question_that_is_not_taken_is_not_asked_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        model.refusals = [ProviderError(PayloadTooLarge(), may_retry=False)]
        talk = await converse(a)
        await ask(a, model, talk)
        assert (await failed(a, talk))["code"] == "payload_too_large"
        assert len(model.calls) == 1
        assert await world.store.ai_tokens((await _user(world)).id, world.server.now.date()) == 0


async def _user(world: World) -> Any:
    user = await world.store.user_by_email("anna@example.com")
    assert user is not None
    return user


@pytest.mark.threat("T101")
@pytest.mark.parametrize("how", ["fail", "hang_up"])
async def test_after_the_first_word_nothing_is_tried_again_and_the_text_is_kept(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        message_id, call = await ask(a, model, talk)
        await call.say("So it ")
        await (call.fail() if how == "fail" else call.hang_up())
        error = await failed(a, talk)
        assert (error["code"], error["partial"]) == ("unavailable", "So it ")
        assert len(model.calls) == 1
        attached = await a.ask("ai:attach", messageId=message_id)
        assert (attached["status"], attached["errorCode"]) == ("INTERRUPTED", "unavailable")
        sent = await a.ask("ai:retry", messageId=message_id)
        call = await model.called()
        assert call.texts[1:] == ["Why?"]
        await call.finish("So.")
        page = await a.ask("ai:messages", aiSessionId=talk)
        assert [each["id"] for each in page["messages"]][1:] == [sent["messageId"]]


async def test_an_answer_that_ends_before_it_has_begun_is_tried_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        _, call = await ask(a, model, await converse(a))
        await call.hang_up()
        call = await model.called()
        await call.finish("So.")
        assert (await a.event("ai:done"))["content"] == "So."


async def test_a_bug_below_ends_the_answer_and_not_the_daemon(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        with capture_logs() as logs:
            call._send.send_nowait(RuntimeError("a bug"))
            assert (await failed(a, talk))["code"] == "internal"
        assert [each["event"] for each in logs if each["log_level"] == "error"] == ["bug"]
        await still_answers(a, model, talk)


# The breaker


@pytest.mark.threat("T101")
async def test_a_provider_that_fails_again_and_again_is_left_alone_for_a_while(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        for _ in range(5):
            _, call = await ask(a, model, talk)
            await call.fail(may_retry=False)
            await a.event("ai:error")
        assert await a.refusal("ai:send", aiSessionId=talk, content="Why?") == "unavailable"
        assert (await last_message(a, talk))["seq"] == 10  # what is refused is not stored
        mock_clock.jump(29.9)
        assert await a.refusal("ai:send", aiSessionId=talk, content="Why?") == "unavailable"
        mock_clock.jump(0.2)
        _, call = await ask(a, model, talk)  # one is let through
        other = await converse(a)
        assert await a.refusal("ai:send", aiSessionId=other, content="Why?") == "unavailable"
        await call.finish("So.")
        await still_answers(a, model, other)


async def test_a_success_in_between_keeps_the_provider(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        for number in range(12):
            _, call = await ask(a, model, talk)
            if number % 4 == 3:
                await call.finish("So.")
            else:
                await call.fail(may_retry=False)
        for _ in range(6):  # our own rate is no fault of the provider's
            _, call = await ask(a, model, talk)
            await call.fail(RateLimited(), may_retry=False, is_fault=False)
        await still_answers(a, model, talk)


# The store


async def test_text_is_kept_every_2_s_and_every_4096_characters(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (_world, model, a, talk):
        _, call = await ask(a, model, talk)
        await call.say("So ")
        mock_clock.jump(1.9)
        await call.say("it ")
        assert (await last_message(a, talk))["content"] == ""
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert (await last_message(a, talk))["content"] == "So it "
        await call.say("x" * 4095)
        assert (await last_message(a, talk))["content"] == "So it "
        await call.say("y")
        assert (await last_message(a, talk))["content"] == "So it " + "x" * 4095 + "y"
        assert (await last_message(a, talk))["status"] == "STREAMING"


async def test_a_checkpoint_that_fails_disturbs_nothing(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        _, call = await ask(a, model, talk)
        world.server.store.fail_next("checkpoint_answer", StoreUnavailable("away"))  # type: ignore[attr-defined]
        await call.say("So ")
        mock_clock.jump(2)
        await call.finish("it is.")
        assert (await a.event("ai:done"))["content"] == "So it is."
        assert (await last_message(a, talk))["content"] == "So it is."


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreAmbiguous("lost")])
async def test_the_end_is_told_when_it_is_stored(
    tmp_path: Path, mock_clock: MockClock, error: Exception
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        _, call = await ask(a, model, talk)
        world.server.store.fail_next("finish_answer", error, times=3)  # type: ignore[attr-defined]
        await call.finish("So.")
        assert await a.heard("ai:done") == []
        for _ in range(3):
            mock_clock.jump(0.2)
            await wait_all_tasks_blocked()
        assert [each["content"] for each in await a.heard("ai:done")] == ["So."]
        assert (await last_message(a, talk))["status"] == "COMPLETE"
        user = await _user(world)
        used = await world.store.ai_tokens(user.id, world.server.now.date())
        stored = await last_message(a, talk)
        assert used == stored["usage"]["promptTokens"] + stored["usage"]["completionTokens"]


async def test_an_end_that_the_store_does_not_take_is_told_and_leaves_no_conflict(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        message_id, call = await ask(a, model, talk)
        store: Any = world.server.store
        store.fail_next("finish_answer", StoreUnavailable("away"), times=51)
        with capture_logs() as logs:
            await call.finish("So.")
            error = await a.event("ai:error")
        complaints = [each["event"] for each in logs if each["log_level"] == "error"]
        assert complaints == ["an answer's end is not stored"]
        assert (error["code"], error["partial"]) == ("unavailable", "So.")
        assert world.server.now.timestamp() % 60 == pytest.approx(10, abs=0.5)
        store._faults.clear()
        attached = await a.ask("ai:attach", messageId=message_id)
        assert (attached["done"], attached["status"]) == (True, "INTERRUPTED")
        await still_answers(a, model, talk)
        page = await a.ask("ai:messages", aiSessionId=talk)
        assert [each["status"] for each in page["messages"]][1] == "INTERRUPTED"


async def test_a_question_whose_commit_was_lost_is_asked_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_ai_world(tmp_path) as (world, model),
        world.connect(await world.person("anna")) as a,
    ):
        store: Any = world.server.store
        store.fail_next("begin_answer", StoreAmbiguous("lost"))
        talk = await converse(a)
        _, call = await ask(a, model, talk)
        await call.finish("So.")
        assert (await last_message(a, talk))["seq"] == 2
        store.fail_next("begin_answer", StoreUnavailable("away"))
        assert await a.refusal("ai:send", aiSessionId=talk, content="And?") == "unavailable"
        assert (await last_message(a, talk))["seq"] == 2
        await still_answers(a, model, talk)


# The stop of the daemon, and the account's end


async def test_a_stop_of_the_daemon_keeps_what_has_come(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        _, call = await ask(a, model, talk)
        await call.say("So ")
        world.daemon.begin_drain()
        error = await failed(a, talk)
        assert (error["code"], error["partial"], error["retryable"]) == ("draining", "So ", True)
        assert call.closed_at == 0.0
        assert await a.refusal("ai:send", aiSessionId=talk, content="And?") == "draining"


async def test_what_an_earlier_run_has_left_is_interrupted_at_the_start(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    anna = await sign_up(store, "anna")
    talk = await store_talk(store, anna)
    new = question(talk)
    await store.begin_answer(new)
    await store.checkpoint_answer(talk.id, new.id, "So ")
    async with open_ai_world(tmp_path, store=store) as (world, model):
        [row] = await store.users_by_ids([anna])
        async with world.connect(row) as a:
            stored = await last_message(a, str(talk.id))
            assert (stored["status"], stored["content"]) == ("INTERRUPTED", "So ")
            assert stored["errorCode"] == "unavailable"
            await still_answers(a, model, str(talk.id))
