"""The kit that people test with: what its people say and hear, and its documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import chatd.testing
from chatd.errors import CloseCode
from chatd.testing import Refused, SocketClosed, Wire, open_chatd

DOCS = Path(__file__).parent.parent / "docs" / "testing.md"
WIRES = ["ws", "socketio"]


@pytest.mark.parametrize("wire", WIRES)
async def test_what_one_person_says_another_hears_on_either_wire(
    autojump_clock: MockClock, wire: Wire
) -> None:
    async with open_chatd() as server:
        anna, bert = await server.person("anna"), await server.person("bert")
        tea = await server.session(anna, bert)
        async with anna.connect(wire=wire) as a, bert.connect(wire=wire) as b:
            await b.ask("session:join", sessionId=tea)
            await a.ask("message:send", sessionId=tea, content="hello")
            message = await b.event("message:new")
            assert (message["content"], message["sender"]["name"]) == ("hello", "anna")
            assert trio.current_time() == 0  # without a link everything arrives at once


@pytest.mark.parametrize("wire", WIRES)
async def test_a_refusal_has_its_code_and_a_success_is_no_refusal(
    mock_clock: MockClock, wire: Wire
) -> None:
    async with open_chatd() as server:
        anna, bert = await server.person("anna"), await server.person("bert")
        tea = await server.session(anna)
        async with bert.connect(wire=wire) as b:
            assert await b.refusal("session:join", sessionId=tea) == "not_a_member"
            with pytest.raises(Refused) as refused:
                await b.ask("session:join", sessionId=tea)
            assert refused.value.error["retryable"] is False
            with pytest.raises(AssertionError, match="was answered, not refused"):
                await b.refusal("session:list")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_person_who_is_not_let_in_is_told_so(mock_clock: MockClock, wire: Wire) -> None:
    async with open_chatd(max_sockets_per_user=1) as server:
        anna = await server.person("anna")
        async with anna.connect():
            with pytest.raises((Refused, SocketClosed)):
                async with anna.connect(wire=wire):
                    pytest.fail("two sockets, and one is allowed")
        server.daemon.begin_drain()
        with pytest.raises(Refused, match="draining"):
            async with anna.connect(wire=wire):
                pytest.fail("it goes down")


async def test_a_logout_ends_the_devices_of_its_login_only(mock_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna = await server.person("anna")
        async with anna.connect() as phone, anna.connect() as laptop:
            answer = await server.rest("POST", "/auth/logout", token=phone.token)
            assert answer.status == 200
            assert await phone.closed() == CloseCode.REVOKED.code
            assert [heard.name for heard in await phone.heard()][-1] == "connection:closing"
            for waiting in (phone.ask("session:list"), phone.event("message:new")):
                with pytest.raises(SocketClosed) as closed:
                    await waiting
                assert closed.value.code == CloseCode.REVOKED.code
            assert (await laptop.ask("session:list"))["sessions"] == []


async def test_what_was_heard_has_the_time_at_which_it_came(mock_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna, bert = await server.person("anna"), await server.person("bert")
        await server.session(anna, bert)
        async with anna.connect() as a:
            await a.heard()
            mock_clock.jump(7)
            async with bert.connect() as b:
                assert b.ready["recovered"] is False
                [heard] = await a.heard("user:status")
                assert (heard.at, heard.data["userId"]) == (7, str(bert.id))
                assert await a.heard() == []


async def test_rest_answers_with_status_headers_json_and_code(mock_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna = await server.person("anna")
        answer = await server.rest("GET", "/auth/me", token=anna.token())
        assert (answer.status, answer.json["user"]["email"]) == (200, anna.email)
        assert answer.headers["content-type"] == "application/json"
        refused = await server.rest("POST", "/chat/sessions", {"kind": "?"}, token=anna.token())
        assert (refused.status, refused.code) == (422, "validation_failed")


async def test_the_time_of_day_follows_the_mock_clock_and_settings_are_the_daemons(
    mock_clock: MockClock,
) -> None:
    async with open_chatd(presence_grace=3.0) as server:
        before = server.now
        mock_clock.jump(86_400)
        assert (server.now - before).days == 1
        assert server.settings.presence_grace == 3


async def test_two_people_of_one_name_are_refused(mock_clock: MockClock) -> None:
    async with open_chatd() as server:
        assert (await server.person("anna")).name == "anna"
        with pytest.raises(ValueError, match="anna has an account"):
            await server.person("anna")


async def test_what_json_has_no_word_for_is_not_sent(mock_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna = await server.person("anna")
        async with anna.connect() as a:
            with pytest.raises(TypeError):
                await a.ask("session:list", cursor=object())


# The documentation


def example() -> Callable[[MockClock], Awaitable[None]]:
    """Return the test in `docs/testing.md`."""
    _, _, behind = DOCS.read_text().partition("```python\n")
    code, _, _ = behind.partition("```")
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)  # noqa: S102 - our own page
    test: Callable[[MockClock], Awaitable[None]] = names["test_a_day_of_presence"]
    return test


async def test_the_day_in_the_documentation_is_as_it_says(autojump_clock: MockClock) -> None:
    await example()(autojump_clock)


async def test_the_example_of_the_package_is_as_it_says(autojump_clock: MockClock) -> None:
    code = dedent((chatd.testing.__doc__ or "").split("\n\n")[1])
    names = {**vars(chatd.testing), "MockClock": MockClock}
    exec(compile(code, "chatd.testing", "exec"), names)  # noqa: S102 - our own words
    await names["test_a_message_is_heard"](autojump_clock)
