"""Socket.IO on an Engine.IO session: namespaces, events, acks, attachments, and what ends it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.nurseries.engine_session import Opening
from chatd.nurseries.socketio import (
    MAX_NAMESPACES,
    ConnectRefused,
    SocketIoSession,
    reason_of,
)
from chatd.wire import socketio
from tests.socketio_kit import Desk, Poller, WebSocket, open_desk, open_socket, upgraded

TIMEOUT = 10.0


class Guest:
    """One client of the hall; it answers what it is asked."""

    def __init__(self, session: SocketIoSession, name: str) -> None:
        self.session = session
        self.name = name
        self.events: list[tuple[list[Any], int | None]] = []
        self.acks: list[tuple[int, list[Any]]] = []
        self.ends: list[tuple[str, CloseCode]] = []
        self.switches = 0

    async def receive(self, args: list[Any], id_: int | None, *, is_binary: bool) -> None:  # noqa: ARG002 - the protocol
        self.events.append((args, id_))
        if args[0] == "bug":
            raise RuntimeError(args)
        if id_ is not None:
            self.session.emit(socketio.ACK, self.name, args[1:], id_)
        elif args[0] == "echo":
            self.session.emit(socketio.EVENT, self.name, args)

    def take_at_once(self, text: bytes, now: float) -> bool:
        del text, now
        return False

    def acked(self, id_: int, args: list[Any]) -> None:
        self.acks.append((id_, args))

    def switched(self) -> None:
        self.switches += 1

    def left(self, reason: str, code: CloseCode) -> None:
        self.ends.append((reason, code))

    def last_packets(self, code: CloseCode) -> Sequence[bytes]:
        return [b'42["closing"]'] if code is CloseCode.SHUTDOWN else ()


class Hall:
    """A namespace that lets in who is not called carl, and greets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.guests: list[Guest] = []
        self.auths: list[dict[str, Any]] = []

    async def admit(self, session: SocketIoSession, auth: dict[str, Any]) -> Guest:
        await trio.lowlevel.checkpoint()
        self.auths.append(auth)
        if auth.get("name") == "carl":
            raise ConnectRefused("not you", {"code": 7})
        if auth.get("name") == "dora":
            raise ConnectRefused("not now")
        guest = Guest(session, self.name)
        session.emit(socketio.CONNECT, self.name, {"sid": f"guest-{len(self.guests)}"})
        session.emit(socketio.EVENT, self.name, ["welcome"])
        self.guests.append(guest)
        return guest


@asynccontextmanager
async def open_halls(
    first_bytes: int | None = None, **settings: Any
) -> AsyncIterator[tuple[Desk, Hall, Hall]]:
    """Run an engine with the namespaces / and /custom."""
    main, custom = Hall("/"), Hall("/custom")

    def make_session(opening: Opening) -> SocketIoSession:
        return SocketIoSession(
            opening,
            {"/": main, "/custom": custom},
            connect_timeout=TIMEOUT,
            first_bytes=first_bytes,
        )

    async with open_desk(make_session, **settings) as desk:
        yield desk, main, custom


async def joined(desk: Desk) -> WebSocket:
    """Return a client that is in the main namespace and has read what that says."""
    socket, _ = await open_socket(desk.stream)
    await socket.send("40")
    assert str(await socket.receive()).startswith('40{"sid":"guest-')
    assert await socket.receive() == '42["welcome"]'
    return socket


async def is_parse_error(desk: Desk, socket: WebSocket) -> bool:
    """Whether the session is ended for what the client has said."""
    return await socket.closed() == CloseCode.BAD_REQUEST.code and len(desk.engine) == 0


# CONNECT


@pytest.mark.parametrize(
    ("packet", "auth"), [("40", {}), ("40{}", {}), ('40{"token":"x"}', {"token": "x"})]
)
async def test_a_connect_with_an_object_or_nothing_is_answered_ahead_of_every_event(
    mock_clock: MockClock, packet: str, auth: dict[str, Any]
) -> None:
    async with open_halls() as (desk, main, _):
        socket, handshake = await open_socket(desk.stream)
        await socket.send(packet)
        assert await socket.heard() == ['40{"sid":"guest-0"}', '42["welcome"]']
        assert main.auths == [auth]
        assert handshake["sid"] != "guest-0"


@pytest.mark.parametrize("packet", ['40"x"', "40[]", "400", "40null", "401{}", "40{"])
async def test_a_connect_with_something_else_is_a_parse_error(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, main, _):
        socket, _ = await open_socket(desk.stream)
        await socket.send(packet)
        assert await is_parse_error(desk, socket)
        assert main.auths == []


@pytest.mark.parametrize(
    "packet", ['42["tea"]', "431[]", '451-["x",{"_placeholder":true,"num":0}]', "44{}"]
)
async def test_whoever_does_not_begin_with_connect_is_closed(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket, _ = await open_socket(desk.stream)
        await socket.send(packet, *([b"x"] if packet.startswith("45") else []))
        assert await is_parse_error(desk, socket)


@pytest.mark.parametrize("name", ["/random", "/custom?x=1", "/Custom", "/custom/"])
async def test_an_unknown_namespace_is_refused_and_the_connection_goes_on(
    mock_clock: MockClock, name: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket, _ = await open_socket(desk.stream)
        await socket.send(f"40{name},", "40")
        assert (await socket.heard())[:2] == [
            f'44{name},{{"message":"Invalid namespace"}}',
            '40{"sid":"guest-0"}',
        ]


@pytest.mark.parametrize("packet", ["40/custom", "40/custom,", "40/custom,{}"])
async def test_the_comma_behind_a_namespace_may_be_missing_at_the_end(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket, _ = await open_socket(desk.stream)
        await socket.send(packet)
        wanted = ['40/custom,{"sid":"guest-0"}', '42/custom,["welcome"]']
        assert await socket.heard() == wanted


@pytest.mark.parametrize(
    ("name", "words"),
    [("carl", {"message": "not you", "data": {"code": 7}}), ("dora", {"message": "not now"})],
)
async def test_a_refusal_is_an_object_and_the_connection_goes_on(
    mock_clock: MockClock, name: str, words: dict[str, Any]
) -> None:
    async with open_halls() as (desk, _, _):
        socket, _ = await open_socket(desk.stream)
        await socket.send(f'40{{"name":"{name}"}}')
        [refusal] = await socket.heard()
        assert isinstance(refusal, str)
        assert (refusal[:2], json.loads(refusal[2:])) == ("44", words)
        await socket.send('40{"name":"anna"}')
        assert (await socket.heard())[0] == '40{"sid":"guest-0"}'


async def test_a_second_connect_to_a_joined_namespace_closes(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        await socket.send("40")
        assert await is_parse_error(desk, socket)
        assert main.guests[0].ends == [("parse error", CloseCode.BAD_REQUEST)]


async def test_a_client_has_only_so_many_connects(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send(*["40/random,"] * (MAX_NAMESPACES - 1))
        assert len(await socket.heard()) == MAX_NAMESPACES - 1
        await socket.send("40/random,")
        assert await socket.closed() == CloseCode.NOT_AUTHENTICATED.code


@pytest.mark.parametrize("says", ["nothing", "refused"])
async def test_who_joins_nothing_is_gone_after_the_timeout_and_not_before(
    mock_clock: MockClock, says: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket, _ = await open_socket(desk.stream)
        if says == "refused":
            await socket.send("40/random,")
        mock_clock.jump(TIMEOUT - 0.1)
        await socket.heard()
        assert not socket.is_closed
        mock_clock.jump(0.1)
        assert await socket.closed() == CloseCode.NOT_AUTHENTICATED.code


async def test_who_has_joined_is_not_gone_after_the_connect_timeout(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        mock_clock.jump(TIMEOUT)
        await wait_all_tasks_blocked()
        await socket.send('42["echo"]')
        assert await socket.receive() == '42["echo"]'


# Events and acks


async def test_an_event_with_an_id_is_answered_once_with_that_id(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send('420["a"]', '4217["b",1,"x"]', '42["c"]', '420["a",null]')
        assert await socket.heard() == ["430[]", '4317[1,"x"]', "430[null]"]


async def test_events_of_one_client_are_handled_in_their_order(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, custom):
        socket = await joined(desk)
        await socket.send("40/custom,", *(f'42["echo",{n}]' for n in range(200)))
        heard = await socket.heard()
        assert heard[2:] == [f'42["echo",{n}]' for n in range(200)]
        assert len(main.guests[0].events) == 200
        assert custom.guests[0].events == []


async def test_an_ack_goes_to_who_waits_for_it(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        await socket.send('437["tea"]', "438[]")
        await wait_all_tasks_blocked()
        assert main.guests[0].acks == [(7, ["tea"]), (8, [])]


@pytest.mark.parametrize(
    "packet",
    [
        "42",
        "42{}",
        "42[]",
        '42"tea"',
        "42[null]",
        "42[7]",
        '42["connect"]',
        '42["disconnect"]',
        '42["tea"',
        '42["tea",NaN]',
        '42["tea",1e999]',
        '4299999999999999999999["tea"]',
        '4201["tea"]',
        '42-1["tea"]',
        '42["tea",' + "[" * 40 + "]" * 40 + "]",
        "43[]",
        "431{}",
        "47",
        "4",
        "45[]",
        '450-["x"]',
        '4511-["x",{"_placeholder":true,"num":0}]',
        '451-["x",{"_placeholder":true,"num":1}]',
        '451-["x",{"_placeholder":true,"num":-1}]',
        '451-["x",{"_placeholder":true,"num":"0"}]',
        '451-["x"]',
        '42/random,["tea"]',
        "43/custom,1[]",
    ],
)
async def test_what_is_no_packet_closes_with_a_parse_error(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        await socket.send('42["before"]', packet, '42["behind"]')
        assert await is_parse_error(desk, socket)
        [guest] = main.guests
        assert [args[0] for args, _ in guest.events] == ["before"]
        assert guest.ends == [("parse error", CloseCode.BAD_REQUEST)]


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "\\ud83d\\ude00"])
async def test_half_an_emoji_and_a_nul_reach_the_handler_and_come_back(
    mock_clock: MockClock, text: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send(f'421["tea","{text}"]')
        [answer] = await socket.heard()
        assert isinstance(answer, str)
        assert json.loads(answer[3:]) == json.loads(f'["{text}"]')


# Attachments


async def test_an_event_with_attachments_comes_and_goes_whole(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        await socket.send(
            '452-["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]'
        )
        await socket.send(b"zero", b"one")
        head, *attachments = await socket.heard()
        assert str(head).startswith('452-["echo",{"_placeholder":true')
        assert attachments == [b"one", b"zero"]
        assert main.guests[0].events[-1] == (["echo", b"one", b"zero"], None)


async def test_attachments_are_base64_on_polling(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        poller = Poller(desk.stream)
        await poller.open()
        await poller.send("40", '451-["echo",{"_placeholder":true,"num":0}]', "bAP8=")
        heard = await poller.heard()
        assert heard[-2:] == ['451-["echo",{"_placeholder":true,"num":0}]', "bAP8="]
        assert main.guests[0].events == [(["echo", b"\x00\xff"], None)]


@pytest.mark.parametrize("between", ['42["tea"]', "41", "40"])
async def test_a_text_ahead_of_the_attachments_closes(mock_clock: MockClock, between: str) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send('451-["x",{"_placeholder":true,"num":0}]', between, b"late")
        assert await is_parse_error(desk, socket)


async def test_a_binary_message_that_nobody_announced_closes(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send(b"tea")
        assert await is_parse_error(desk, socket)


async def test_a_binary_broadcast_reaches_all_transports(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        poller = Poller(desk.stream)
        await poller.open()
        await poller.send("40")
        await poller.heard()
        for guest in main.guests:
            guest.session.emit(socketio.EVENT, "/", ["blob", b"\x00\xff"])
        head = '451-["blob",{"_placeholder":true,"num":0}]'
        assert await socket.heard() == [head, b"\x00\xff"]
        assert await poller.heard() == [head, "bAP8="]


# DISCONNECT


@pytest.mark.parametrize("packet", ["41/custom", "41/custom,"])
async def test_a_disconnect_is_quiet_and_other_namespaces_live_on(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, main, custom):
        socket = await joined(desk)
        await socket.send("40/custom,")
        await socket.heard()
        await socket.send(packet, '42["echo"]')
        assert await socket.heard() == ['42["echo"]']
        assert custom.guests[0].ends == [("client namespace disconnect", CloseCode.NORMAL)]
        assert main.guests[0].ends == []
        await socket.send("40/custom,")
        assert (await socket.heard())[0] == '40/custom,{"sid":"guest-1"}'


async def test_a_disconnect_of_nothing_means_nothing(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send("41/custom,", '42["echo"]')
        assert await socket.heard() == ['42["echo"]']


@pytest.mark.parametrize("packet", ["41{}", "411", "41/custom,1"])
async def test_a_disconnect_with_something_behind_it_closes(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        await socket.send(packet)
        assert await is_parse_error(desk, socket)


async def test_who_has_left_the_last_namespace_has_the_connect_timeout_again(
    mock_clock: MockClock,
) -> None:
    async with open_halls() as (desk, _, _):
        socket = await joined(desk)
        mock_clock.jump(TIMEOUT)
        await socket.send("41")
        await wait_all_tasks_blocked()
        mock_clock.jump(TIMEOUT - 0.1)
        await socket.heard()
        assert not socket.is_closed
        mock_clock.jump(0.1)
        assert await socket.closed() == CloseCode.NOT_AUTHENTICATED.code


async def test_a_client_that_is_sent_away_is_told_and_left_once(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        desk.session.disconnect("/")
        desk.session.disconnect("/")
        assert await socket.heard() == ["41"]
        assert main.guests[0].ends == [("server namespace disconnect", CloseCode.NORMAL)]
        assert not desk.session.is_joined


# The end


async def test_a_transport_that_closes_ends_every_namespace_once(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, custom):
        socket = await joined(desk)
        await socket.send("40/custom,")
        await wait_all_tasks_blocked()
        await trio.aclose_forcefully(socket.stream)
        await wait_all_tasks_blocked()
        for hall in (main, custom):
            assert hall.guests[0].ends == [("transport close", CloseCode.NORMAL)]


async def test_the_last_words_of_a_namespace_come_ahead_of_the_close(
    mock_clock: MockClock,
) -> None:
    async with open_halls() as (desk, main, _):
        socket = await joined(desk)
        desk.engine.cut_all()
        assert await socket.closed() == CloseCode.SHUTDOWN.code
        assert await socket.heard() == ['42["closing"]']
        assert main.guests[0].ends == [("server shutting down", CloseCode.SHUTDOWN)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (CloseCode.NORMAL, "transport close"),
        (CloseCode.ABNORMAL, "transport error"),
        (CloseCode.SLOW, "transport error"),
        (CloseCode.TOO_BIG, "transport error"),
        (CloseCode.HEARTBEAT_LOST, "ping timeout"),
        (CloseCode.BAD_REQUEST, "parse error"),
        (CloseCode.SHUTDOWN, "server shutting down"),
        (CloseCode.DRAINING, "server shutting down"),
        (CloseCode.REVOKED, "forced server close"),
    ],
)
def test_the_reason_of_an_end_is_in_the_words_of_node(code: CloseCode, reason: str) -> None:
    assert reason_of(code) == reason


async def test_a_bug_in_a_handler_ends_its_session_and_nothing_else(
    mock_clock: MockClock,
) -> None:
    async with open_halls() as (desk, main, _):
        socket, other = await joined(desk), await joined(desk)
        with structlog.testing.capture_logs() as logs:
            await socket.send('42["bug"]')
            await socket.closed()
            await wait_all_tasks_blocked()
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "session_failed"
        ]
        assert len(main.guests[0].ends) == 1
        await other.send('42["echo"]')
        assert await other.receive() == '42["echo"]'


# Transports and limits


async def test_a_namespace_hears_of_the_upgrade(mock_clock: MockClock) -> None:
    async with open_halls() as (desk, main, _):
        poller = Poller(desk.stream)
        await poller.open()
        await poller.send("40")
        assert await poller.poll() == ['40{"sid":"guest-0"}', '42["welcome"]']
        socket = await upgraded(poller)
        assert main.guests[0].switches == 1
        await socket.send('42["echo"]')
        assert await socket.receive() == '42["echo"]'


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_who_has_not_joined_may_say_less(mock_clock: MockClock, transport: str) -> None:
    big = f'42["big","{"x" * 2000}"]'
    async with open_halls(first_bytes=1024) as (desk, main, _):
        if transport == "polling":
            poller = Poller(desk.stream)
            await poller.open()
            assert (await poller.post(big)).status == 413
            await poller.send("40")
            await wait_all_tasks_blocked()
            await poller.send(big)
        else:
            socket, _ = await open_socket(desk.stream)
            await socket.send(big)
            assert await socket.closed() == 1009
            socket = await joined(desk)
            await socket.send(big)
        await wait_all_tasks_blocked()
        assert len(main.guests[0].events) == 1
