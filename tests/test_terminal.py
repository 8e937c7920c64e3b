"""The terminal over memory: typed lines in, shown lines out, a server that comes and goes."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.client import open_client
from chatd.terminal import run_terminal
from chatd.terminal.chat import FINISH_TIMEOUT, OUTBOX_LINES, SHOWN_MESSAGES
from chatd.terminal.run import MAX_LINE, Login, chat, read_lines
from chatd.terminal.text import clean, message_lines, one_line
from tests.fake_server import FakeServer, open_fake_server


class Screen:
    """What Ann types, and what she sees."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.exit_code: int | None = None
        self._into, self.lines = trio.open_memory_channel[str](64)

    async def show(self, line: str) -> None:
        await trio.lowlevel.checkpoint()
        self.shown.append(line)

    async def type(self, *lines: str) -> str:
        """Type lines and return what was shown since, once nothing happens any more."""
        before = len(self.shown)
        for line in lines:
            await self._into.send(line)
        await wait_all_tasks_blocked()
        return "\n".join(self.shown[before:])

    def end(self) -> None:
        self._into.close()

    @property
    def text(self) -> str:
        return "\n".join(self.shown)


@asynccontextmanager
async def open_terminal(
    session: str | None = None, *, is_new: bool = True
) -> AsyncIterator[tuple[FakeServer, Screen]]:
    """Ann at her terminal; the server knows the sessions tea and work."""
    async with open_fake_server() as server:
        server.add_session("tea")
        server.add_session("work")
        screen = Screen()
        async with (
            open_client("http://t", dial=server.dial, transport=server.transport) as client,
            trio.open_nursery() as nursery,
        ):

            async def run() -> None:
                login = Login("ann@example.org", "correct horse", "Ann", is_new=is_new)
                screen.exit_code = await chat(client, login, session, screen.lines, screen.show)

            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            yield server, screen
            nursery.cancel_scope.cancel()


async def test_a_login_shows_the_sessions_and_what_is_unread(autojump_clock: MockClock) -> None:
    async with open_terminal() as (server, screen):
        assert server.calls[0] == "POST /auth/register"
        assert "you are Ann" in screen.text
        assert "  1  tea  [group]" in screen.text
        server.sessions["s2"]["unreadCount"] = 7
        assert "2  work  [group]  (7 unread)" in await screen.type("/sessions")


async def test_a_refused_login_ends_with_the_servers_words(autojump_clock: MockClock) -> None:
    async with open_fake_server() as server:
        error = {"code": "unauthorized", "message": "wrong \x1b[2Jpassword", "retryable": False}
        server.refusals["/auth/login"] = [{"status": 401, **error}]
        screen = Screen()
        async with open_client("http://chat.test", transport=server.transport) as client:
            login = Login("ann@example.org", "guess")
            assert await chat(client, login, None, screen.lines, screen.show) == 1
    assert screen.shown == ["cannot log in: wrong password"]


def wants_second_factor(server: FakeServer) -> None:
    details = {"challenge": "c1", "methods": ["totp"]}
    server.refusals["/auth/login"] = [
        {
            "status": 401,
            "code": "second_factor_required",
            "message": "and a code",
            "details": details,
        }
    ]


async def test_a_second_factor_is_asked_for_until_it_is_right(autojump_clock: MockClock) -> None:
    async with open_fake_server() as server:
        wants_second_factor(server)
        wrong = {"status": 401, "code": "unauthorized", "message": "wrong code"}
        server.refusals["/auth/login/totp"] = [{**wrong, "details": {"triesLeft": 4}}]
        screen = Screen()
        async with open_client(
            "http://chat.test", dial=server.dial, transport=server.transport
        ) as client:
            login = Login("ann@example.org", "correct horse")
            await screen.type("111111", "123 456", "/quit")
            assert await chat(client, login, None, screen.lines, screen.show) == 0
        asked = "the code of your authenticator, or a recovery code:"
        assert screen.shown[:3] == [asked, "wrong code", asked]
        assert screen.shown[3].startswith("you are Ann")
        assert server.proofs == [{"challenge": "c1", "code": "123456"}]


@pytest.mark.parametrize("typed", [["111111"], []])
async def test_a_login_that_is_over_and_one_without_a_code_end(
    autojump_clock: MockClock, typed: list[str]
) -> None:
    async with open_fake_server() as server:
        wants_second_factor(server)
        over = {"status": 401, "code": "unauthorized", "message": "begin again"}
        server.refusals["/auth/login/totp"] = [over]
        screen = Screen()
        async with open_client("http://chat.test", transport=server.transport) as client:
            await screen.type(*typed)
            screen.end()
            login = Login("ann@example.org", "correct horse")
            assert await chat(client, login, None, screen.lines, screen.show) == 1
        words = "begin again" if typed else "no code was typed"
        assert screen.shown[-1] == f"cannot log in: {words}"


async def test_without_a_password_and_a_terminal_nothing_is_tried(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    async with open_fake_server() as server:
        screen = Screen()
        async with open_client("http://chat.test", transport=server.transport) as client:
            login = Login("ann@example.org", None)
            assert await chat(client, login, None, screen.lines, screen.show) == 2
        assert server.calls == []


async def test_an_opened_session_shows_its_last_messages_and_then_what_is_said(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal() as (server, screen):
        for number in range(30):
            server.store("s1", f"old {number}", sender="Bob")
        opened = await screen.type("1")
        assert "--- tea (1 members) ---" in opened
        assert opened.count("Bob: old") == SHOWN_MESSAGES
        assert "old 9" not in opened
        await server.say_to_all("s1", "live")
        await wait_all_tasks_blocked()
        assert re.fullmatch(r"\[\d\d:\d\d\] Bob: live", screen.shown[-1])


@pytest.mark.parametrize("wanted", ["s2", "work", "2"])
async def test_a_session_is_opened_at_once_by_id_name_or_number(
    wanted: str, autojump_clock: MockClock
) -> None:
    async with open_terminal(wanted) as (_, screen):
        assert "--- work (1 members) ---" in screen.text


async def test_a_line_is_sent_and_shown_when_it_is_stored(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        assert "Ann: hello" in await screen.type("hello", "")
        assert [m["content"] for m in server.messages["s1"]] == ["hello"]
        read = [r["data"] for r in server.requests if r["event"] == "message:read"]
        assert read[-1] == {"sessionId": "s1", "seq": 1}


async def test_a_pipe_sends_everything_before_it_ends(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        await screen.type("one", "two")
        await screen.type("three")
        screen.end()
        await trio.sleep(1)
        assert screen.exit_code == 0
        assert [m["content"] for m in server.messages["s1"]] == ["one", "two", "three"]


async def test_lines_typed_offline_go_out_once_the_connection_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal("s1") as (server, screen):
        server.is_down = True
        await server.cut(1006)
        await wait_all_tasks_blocked()
        assert re.search(r"connection lost, trying again in \d+ s", screen.text)
        assert "offline" in await screen.type("are you there?")
        await trio.sleep(20)
        assert "still no connection, trying again in" in screen.text
        server.store("s1", "we missed you", sender="Bob")
        server.is_down = False
        await trio.sleep(20)
        assert "back, 1 message missed" in screen.text
        contents = [m["content"] for m in server.messages["s1"]]
        assert contents == ["we missed you", "are you there?"]
        assert screen.text.index("we missed you") < screen.text.index("Ann: are you there?")


async def test_what_cannot_be_recovered_is_said_and_the_newest_page_shown(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal("s1") as (server, screen):
        server.epoch = "another"
        server.store("s1", "the newest", sender="Bob")
        await server.cut(4008)
        await trio.sleep(20)
        assert "too much was missed" in screen.text
        assert "Bob: the newest" in screen.shown[-1]


async def test_a_connection_without_an_open_session_comes_back_too(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal() as (server, screen):
        await server.cut(4001)
        await trio.sleep(20)
        assert screen.shown[-1] == "back"


async def test_lines_that_never_went_out_are_counted_at_the_end(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal("s1") as (server, screen):
        server.is_down = True
        await server.cut(1006)
        await screen.type("one", "two")
        screen.end()
        await trio.sleep(FINISH_TIMEOUT + 1)
        assert screen.exit_code == 1
        assert "2 of your lines could not be sent" in screen.text


async def test_a_full_outbox_refuses_the_next_line(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        server.is_down = True
        await server.cut(1006)
        for number in range(OUTBOX_LINES + 1):  # the first is in the sender's hands
            await screen.type(f"line {number}")
        assert "was not kept" not in screen.text
        assert "was not kept" in await screen.type("one too many")


async def test_a_refused_line_is_shown_with_its_reason(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        muted = {"code": "muted", "message": "you are muted", "retryable": False}
        server.refusals["message:send"] = [muted]
        assert "not sent (you are muted): psst" in await screen.type("psst")


async def test_a_server_that_says_stay_away_ends_the_terminal(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        await server.cut(4403, "banned")
        await trio.sleep(1)
        assert screen.exit_code == 1
        assert "the server ended it: banned" in screen.text


async def test_presence_typing_and_members_are_told(autojump_clock: MockClock) -> None:
    async with open_terminal("s1") as (server, screen):
        bob, zoe = {"id": "user-Bob", "name": "Bob"}, {"id": "user-Zoe", "name": "Zoe"}
        in_s1 = {"sessionId": "s1"}
        for event, data in (
            ("user:status", {"userId": bob["id"], "status": "ONLINE"}),  # known already
            ("user:status", {"userId": bob["id"], "status": "AWAY"}),
            ("user:status", {"userId": "a stranger", "status": "AWAY"}),
            ("user:typing", {**in_s1, "userId": bob["id"], "isTyping": True}),
            ("user:typing", {**in_s1, "userId": bob["id"], "isTyping": False}),
            ("member:joined", {**in_s1, "seq": 1, "member": {"user": zoe}}),
            ("member:left", {**in_s1, "seq": 2, "userId": zoe["id"]}),
            ("session:updated", {**in_s1, "seq": 3, "session": {"name": "coffee"}}),
            ("message:updated", {**in_s1, "seq": 4, "sender": bob, "content": "better"}),
            ("message:deleted", {**in_s1, "seq": 5}),
            ("session:unread", {"userId": "x", "unreadCount": 3}),
            ("server:draining", {}),
        ):
            await server.push(event, data)
        await wait_all_tasks_blocked()
        assert screen.shown[-9:] == [
            "* Bob is away",
            "* Bob is typing",
            "* Zoe is now a member",
            "* Zoe left",
            "* the session is now called coffee",
            "* edited: [--:--] Bob: better",
            "* a message was deleted",
            "* 3 unread in session None (/sessions)",
            "* the server is about to restart",
        ]
        await server.push("session:removed", {**in_s1, "reason": "kicked"})
        await wait_all_tasks_blocked()
        assert screen.shown[-1] == "you are no longer in coffee: kicked"
        assert "no session is open" in await screen.type("hello?")


async def test_commands_make_find_and_enter_sessions(autojump_clock: MockClock) -> None:
    async with open_terminal() as (server, screen):
        server.add_user("Bob", "bob@example.org")
        assert "--- plans (1 members) ---" in await screen.type("/new plans")
        assert "others enter with /join s4" in await screen.type("/public square")
        assert "--- Bob (1 members) ---" in await screen.type("/dm bob@example.org")
        assert "--- Bob (1 members) ---" in await screen.type("/dm user-2")
        assert "--- square" in await screen.type("/join s4")
        assert server.calls.count("POST /chat/sessions/s4/members") == 1
        await screen.type("/invite user-2")
        assert server.calls.count("POST /chat/sessions/s4/members") == 2
        assert "Bob  online  user-Bob" in await screen.type("/who")
        assert "--- work" in await screen.type("/open work")
        assert "--- tea" in await screen.type("/open 1")
        left = [r["data"]["sessionId"] for r in server.requests if r["event"] == "session:leave"]
        assert left[-1] == "s2"


async def test_lines_that_cannot_be_obeyed_say_the_way_out(autojump_clock: MockClock) -> None:
    async with open_terminal() as (server, screen):
        assert "no session is open" in await screen.type("hello")
        assert "usage: /new NAME" in await screen.type("/new")
        assert "no /dance" in await screen.type("/dance")
        assert "open a session first" in await screen.type("/invite user-2")
        assert "nobody here has the address" in await screen.type("/dm zoe@example.org")
        assert "that failed: no such session" in await screen.type("/open s99")
        missing = {"code": "not_found", "message": "no", "retryable": False}
        server.refusals["/users"] = [{"status": 404, **missing}]
        assert "finds nobody by address" in await screen.type("/dm bob@example.org")
        server.refusals["/users"] = [{"status": 403, **missing}]
        assert "that failed: no" in await screen.type("/dm bob@example.org")
        assert "/invite USER-ID" in await screen.type("/help")


async def test_quit_ends_with_nothing_to_complain_about(autojump_clock: MockClock) -> None:
    async with open_terminal() as (server, screen):
        server.sessions.clear()
        assert "no sessions yet" in await screen.type("/sessions")
        await screen.type("/quit")
        await trio.sleep(1)
        assert screen.exit_code == 0


async def test_a_session_that_does_not_open_in_time_can_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    async with open_terminal() as (server, screen):
        server.is_mute = True
        await screen.type("1")
        await trio.sleep(60)
        assert "try again" in screen.text


# Text


@given(st.text(st.characters(max_codepoint=0x3000) | st.sampled_from("\x1b[]\x07\x9b\x9d;0m\\")))
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = clean(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]52;c;aGk=\x1b\\clipboard", "clipboard"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b\x1b[0m[2Jpieces", "[2Jpieces"),
        ("a\tb", "a    b"),
        ("over\rwritten", "over\nwritten"),
        ("\u202egnirts", "gnirts"),
        ("half \ud83d", "half "),
        ("日本語 👩‍👩‍👧 é", "日本語 👩‍👩‍👧 é"),
    ],
)
def test_escape_sequences_are_taken_out_and_words_are_not(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_message_cannot_fake_another_sender() -> None:
    forged = {"sender": {"name": "Eve\n[12:00] Bob"}, "content": "hi\n[12:31] Bob: I owe Eve 5"}
    assert message_lines(forged) == "[--:--] Eve [12:00] Bob: hi\n        [12:31] Bob: I owe Eve 5"
    assert message_lines({"content": "?"}) == "[--:--] ?: ?"


# The real ends


async def test_lines_come_from_a_descriptor_as_they_were_typed() -> None:
    reading, writing = os.pipe()
    into, lines = trio.open_memory_channel[str](8)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, reading, into)
            os.write(writing, "one\r\nt\u00e9".encode()[:-1])
            assert await lines.receive() == "one"
            os.write(writing, "t\u00e9".encode()[2:] + b"\nlast")
            os.close(writing)
            assert [line async for line in lines] == ["t\u00e9", "last"]
    os.close(reading)


async def test_a_line_that_never_ends_becomes_several() -> None:
    reading, writing = os.pipe()
    into, lines = trio.open_memory_channel[str](8)
    received = []
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, reading, into)
            await trio.to_thread.run_sync(os.write, writing, b"x" * (MAX_LINE + 10_000))
            os.close(writing)
            received = [line async for line in lines]
    os.close(reading)
    assert len(received) == 2
    assert sum(map(len, received)) == MAX_LINE + 10_000


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that is taken and where nobody listens; standard input is at its end."""
    reading, writing = os.pipe()
    os.close(writing)
    with (
        socket.socket() as taken,
        os.fdopen(reading) as stdin,
        pytest.MonkeyPatch.context() as patch,
    ):
        taken.bind(("127.0.0.1", 0))
        patch.setattr("sys.stdin", stdin)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_the_command_says_why_it_cannot_log_in(
    nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with trio.fail_after(10):
        assert await run_terminal(nobody, "ann@example.org", "correct horse", None) == 1
    assert capsys.readouterr().out.startswith("cannot log in: ")


async def test_a_reader_that_went_away_ends_the_command(
    nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> int:
        raise BrokenPipeError

    with trio.fail_after(10), monkeypatch.context() as patch:
        patch.setattr("sys.stdout.write", broken)
        assert await run_terminal(nobody, "ann@example.org", "correct horse", None) == 1
