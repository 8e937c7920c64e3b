"""How any wire calls an operation: checks in order, and what becomes of what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import structlog
import trio
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from trio.testing import MockClock

from chatd.context import Caller, Services
from chatd.errors import (
    ChatError,
    Draining,
    Forbidden,
    InternalError,
    RateLimited,
    StoreAmbiguous,
    StoreBug,
    StoreRetryable,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)
from chatd.freshness import Freshness
from chatd.handlers.catalogue import OPERATIONS
from chatd.handlers.operations import Operation, Reply, Route, call, submit
from chatd.limits import Rate
from chatd.tokens import Identity
from tests.people import World, open_world


def refused(_value: str) -> str:
    msg = "is too shrill"
    raise ValueError(msg)


class Echo(BaseModel):
    """Says a word back."""

    word: str


async def echo(_services: Services, _caller: Caller, command: Echo) -> bytes:
    return command.word.encode()


def echo_later(_services: Services, _caller: Caller, command: Echo, reply: Reply) -> None:
    reply(command.word.encode())


def operation(**options: Any) -> Operation:
    usual: dict[str, Any] = {"command": Echo, "run": echo}
    return Operation(name="echo", answer=None, summary="Echo", **(usual | options))


async def caller_of(world: World) -> Caller:
    anna = await world.person("anna")
    services = world.daemon.services
    token, _ = services.tokens.issue(anna.id, anna.id, anna.id, services.now())
    identity: Identity = services.tokens.verify(token, services.now())
    return Caller("request-1", "192.0.2.1", identity)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (Forbidden("no"), Forbidden),
        (StoreUnavailable("away"), Unavailable),
        (StoreRetryable("deadlock"), Unavailable),
        (StoreAmbiguous("lost"), Unavailable),
    ],
)
async def test_a_refusal_goes_through_and_a_store_that_is_away_is_unavailable(
    tmp_path: Path, autojump_clock: MockClock, trouble: Exception, told: type[ChatError]
) -> None:
    async def fail(*_args: object) -> bytes:
        raise trouble

    async with open_world(tmp_path) as world:
        caller = await caller_of(world)
        with pytest.raises(told) as refusal:
            await call(world.daemon.services, caller, operation(run=fail), {"word": "x"}, 0.0)
        if isinstance(trouble, ChatError):
            assert refusal.value is trouble


@pytest.mark.parametrize("trouble", [StoreBug("no such column"), ZeroDivisionError("secret")])
@pytest.mark.parametrize("is_later", [True, False])
async def test_a_bug_is_logged_with_its_request_and_told_without_its_text(
    tmp_path: Path, autojump_clock: MockClock, trouble: Exception, is_later: bool
) -> None:
    async def fail(*_args: object) -> bytes:
        raise trouble

    def fail_later(*_args: object) -> None:
        raise trouble

    async with open_world(tmp_path) as world:
        caller, services = await caller_of(world), world.daemon.services
        answers: list[bytes | ChatError] = []
        with structlog.testing.capture_logs() as logs:
            if is_later:
                later = operation(run=None, submit=fail_later)
                submit(services, caller, later, {"word": "x"}, 0.0, answers.append)
            else:
                with pytest.raises(InternalError) as refusal:
                    await call(services, caller, operation(run=fail), {"word": "x"}, 0.0)
                answers.append(refusal.value)
        [bug] = [log for log in logs if log["log_level"] == "error"]
        assert (bug["operation"], bug["request"], bug["exc_info"]) == ("echo", "request-1", trouble)
        assert isinstance(answers[0], InternalError)
        assert str(trouble) not in str(answers[0].to_wire("request-1"))


async def test_what_is_missing_is_told_by_field_without_the_input(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        with pytest.raises(ValidationFailed) as refusal:
            await call(
                world.daemon.services, await caller_of(world), operation(), {"word": 31337}, 0.0
            )
        assert refusal.value.details is not None
        assert [each["field"] for each in refusal.value.details["fields"]] == ["word"]
        assert "31337" not in str(refusal.value.to_wire("r"))


@pytest.mark.parametrize("data", [None, [], "x", 7])
async def test_what_is_no_object_is_refused(
    tmp_path: Path, autojump_clock: MockClock, data: object
) -> None:
    async with open_world(tmp_path) as world:
        with pytest.raises(ValidationFailed) as refusal:
            await call(world.daemon.services, await caller_of(world), operation(), data, 0.0)
    fields = [{"field": "", "message": "Input should be an object"}]
    assert refusal.value.details == {"fields": fields}


class Shout(BaseModel):
    """Says words back."""

    model_config = ConfigDict(extra="forbid")
    words: list[int] | Literal["ALL"] = "ALL"
    parts: dict[str, list[int]] = Field(default_factory=dict)
    tone: Annotated[str, AfterValidator(refused)] = "soft"
    volume: int


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, {"volume"}),
        ({"volume": "loud"}, {"volume"}),
        ({"volume": 1, "words": "SOME"}, {"words"}),
        ({"volume": 1, "words": [1, "x"]}, {"words", "words.1"}),
        ({"volume": 1, "words": {"a": 1}}, {"words"}),
        ({"volume": 1, "words": None}, {"words"}),
        ({"volume": 1, "parts": {"a": [1, "x"]}}, {"parts.a.1"}),
        ({"volume": 1, "list[int]": 1}, {"list[int]"}),
        ({"volume": 1, "half \ud83d": 1}, {""}),
        ({"volume": 1, "tone": "shrill"}, {"tone"}),
    ],
)
async def test_a_field_is_named_as_its_sender_knows_it(
    tmp_path: Path, autojump_clock: MockClock, data: object, told: set[str]
) -> None:
    async with open_world(tmp_path) as world:
        shout = operation(command=Shout)
        with pytest.raises(ValidationFailed) as refusal:
            await call(world.daemon.services, await caller_of(world), shout, data, 0.0)
    assert refusal.value.details is not None
    fields = refusal.value.details["fields"]
    assert {each["field"] for each in fields} == told
    assert not any("Shout" in each["message"] for each in fields)
    if told == {"tone"}:
        assert fields == [{"field": "tone", "message": "is too shrill"}]


async def test_who_is_not_logged_in_is_refused_before_anything_is_looked_at(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        nobody = Caller("r", "192.0.2.1")
        with pytest.raises(Unauthorized):
            await call(world.daemon.services, nobody, operation(), {}, 0.0)
        open_one = operation(needs_login=False)
        assert await call(world.daemon.services, nobody, open_one, {"word": "x"}, 0.0) == b"x"


async def test_a_rate_counts_by_user_and_before_a_login_by_address(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        services, anna = world.daemon.services, await caller_of(world)
        limited = operation(rate=Rate(1, 1), needs_login=False)
        here, there = Caller("r", "192.0.2.1"), Caller("r", "192.0.2.2")
        for caller in (anna, here, there):
            assert await call(services, caller, limited, {"word": "x"}, 0.0) == b"x"
        for caller in (anna, here, there):
            with pytest.raises(RateLimited):
                await call(services, caller, limited, {"word": "x"}, 0.0)


async def test_an_event_of_sockets_is_refused_without_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        with pytest.raises(ValidationFailed, match="needs a socket"):
            await call(
                world.daemon.services,
                await caller_of(world),
                operation(needs_socket=True),
                {"word": "x"},
                0.0,
            )


async def test_while_draining_what_would_be_stored_is_refused_and_reading_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        caller, services = await caller_of(world), world.daemon.services
        later = operation(run=None, submit=echo_later)
        answers: list[bytes | ChatError] = []
        submit(services, caller, later, {"word": "x"}, 0.0, answers.append)
        world.daemon.begin_drain()
        submit(services, caller, later, {"word": "x"}, 0.0, answers.append)
        assert answers[0] == b"x"
        assert isinstance(answers[1], Draining)
        assert await call(services, caller, operation(), {"word": "x"}, 0.0) == b"x"


async def test_a_submitted_operation_answers_its_refusals_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        answers: list[bytes | ChatError] = []
        later = operation(run=None, submit=echo_later)
        caller = await caller_of(world)
        submit(world.daemon.services, caller, later, {}, 0.0, answers.append)
        assert isinstance(answers[0], ValidationFailed)


async def test_no_more_than_twenty_wrong_fields_are_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    class Strict(BaseModel, extra="forbid"):
        """Takes nothing."""

    async with open_world(tmp_path) as world:
        strict = Operation("strict", Strict, None, "Strict", run=echo)
        fields, caller = {f"field{number}": 1 for number in range(1000)}, await caller_of(world)
        with pytest.raises(ValidationFailed) as refusal:
            await call(world.daemon.services, caller, strict, fields, 0.0)
        assert refusal.value.details is not None
        assert len(refusal.value.details["fields"]) == 20


def writing(**options: Any) -> Operation:
    return operation(route=Route("POST", "/echo"), **options)


async def test_who_has_written_is_marked_before_they_are_told_and_who_read_is_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        caller, services = await caller_of(world), world.daemon.services
        services.freshness = freshness = Freshness()
        reading = operation(route=Route("GET", "/echo"))
        for pure in (reading, operation(), writing(is_lookup=True)):
            await call(services, caller, pure, {"word": "x"}, 0.0)
        assert not freshness.is_writer(caller.user_id)
        told: list[bool] = []

        def reply(_: bytes | ChatError) -> None:
            told.append(freshness.is_writer(caller.user_id))

        submit(services, caller, writing(run=None, submit=echo_later), {"word": "x"}, 0.0, reply)
        assert told == [True]
        services.freshness = freshness = Freshness()
        await call(services, caller, writing(), {"word": "x"}, 0.0)
        assert freshness.is_writer(caller.user_id)


async def test_a_write_that_failed_or_was_left_alone_may_have_happened(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def lose(*_args: object) -> bytes:
        raise StoreAmbiguous("lost")

    async with open_world(tmp_path) as world:
        caller, services = await caller_of(world), world.daemon.services
        services.freshness = Freshness()
        with pytest.raises(Unavailable):
            await call(services, caller, writing(run=lose), {"word": "x"}, 0.0)
        assert services.freshness.is_writer(caller.user_id)
        services.freshness = Freshness()

        async def hang(*_args: object) -> bytes:
            await trio.sleep_forever()

        with trio.move_on_after(1):
            await call(services, caller, writing(run=hang), {"word": "x"}, 0.0)
        assert services.freshness.is_writer(caller.user_id)


def test_what_only_sockets_have_writes_nothing_that_a_list_shows() -> None:
    """A new one is looked at here, and has a route or stands in this list."""
    assert {each.name for each in OPERATIONS if each.route is None} == {
        *("auth-refresh", "session-join", "session-leave"),
        *("status-active", "typing-start", "typing-stop"),
    }
    assert {each.name for each in OPERATIONS if each.is_lookup} == {"users-status"}
