"""The Engine.IO server: who gets a session, what a session on a WebSocket does, the upgrade."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from tests.socketio_kit import (
    POLLING,
    UPGRADE_LINES,
    WEBSOCKET,
    Desk,
    Echo,
    Poller,
    WebSocket,
    ask,
    come,
    open_desk,
    open_socket,
    packets_of,
    probe,
    request,
    shake,
    upgraded,
)

PAGE = "https://chat.example"

UNKNOWN_TRANSPORT = (400, 0, "Transport unknown")
UNKNOWN_SESSION = (400, 1, "Session ID unknown")
BAD_METHOD = (400, 2, "Bad handshake method")
BAD_REQUEST = (400, 3, "Bad request")
FORBIDDEN = (403, 4, "Forbidden")
BAD_VERSION = (400, 5, "Unsupported protocol version")

Wanted = tuple[int, int, str]


async def raw(desk: Desk, data: bytes) -> bytes:
    """Send bytes on a connection of their own and return all that comes back."""
    stream = desk.stream()
    await stream.send_all(data)
    await wait_all_tasks_blocked()
    answer = b""
    while piece := await come(stream):
        answer += piece
    await trio.aclose_forcefully(stream)
    return answer


def headers_of(answer: bytes) -> list[tuple[str, str]]:
    """Return every header of a raw answer, names in lower case."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    pairs = [line.partition(": ") for line in lines]
    return [(name.lower(), value) for name, _, value in pairs]


# Requests that get nothing


@pytest.mark.parametrize(
    ("method", "query", "wanted"),
    [
        ("GET", "EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=tea", UNKNOWN_TRANSPORT),
        ("POST", "EIO=4&transport=tea&sid=unknown", UNKNOWN_TRANSPORT),
        ("GET", f"{POLLING}&sid=unknown", UNKNOWN_SESSION),
        ("POST", f"{POLLING}&sid=unknown", UNKNOWN_SESSION),
        ("DELETE", f"{POLLING}&sid=unknown", UNKNOWN_SESSION),
        ("GET", f"{WEBSOCKET}&sid=unknown", UNKNOWN_SESSION),
        ("POST", POLLING, BAD_METHOD),
        ("PUT", "EIO=3&transport=polling", BAD_METHOD),
        ("OPTIONS", POLLING, BAD_METHOD),
        ("POST", WEBSOCKET, BAD_METHOD),
        ("GET", WEBSOCKET, BAD_REQUEST),
        ("GET", "EIO=3&transport=websocket", BAD_REQUEST),
        ("GET", "EIO=3&transport=polling", BAD_VERSION),
        ("GET", "transport=polling", BAD_VERSION),
    ],
)
async def test_a_request_that_gets_no_session_is_told_by_the_first_check_it_fails(
    autojump_clock: MockClock, method: str, query: str, wanted: Wanted
) -> None:
    status, code, message = wanted
    async with open_desk() as desk:
        answer = await ask(desk.stream, request(method, query))
        assert (answer.status, answer.json) == (status, {"code": code, "message": message})
        assert answer.headers["content-type"] == "application/json"
        assert desk.sessions == []


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("EIO=4", UNKNOWN_TRANSPORT),
        ("EIO=4&transport=tea&sid=unknown", UNKNOWN_TRANSPORT),
        (f"{WEBSOCKET}&sid=unknown", UNKNOWN_SESSION),
        (POLLING, BAD_REQUEST),
        ("EIO=3&transport=websocket", BAD_VERSION),
        ("transport=websocket", BAD_VERSION),
    ],
)
async def test_a_websocket_that_gets_no_session_is_refused_in_plain_words_ahead_of_the_101(
    autojump_clock: MockClock, query: str, wanted: Wanted
) -> None:
    async with open_desk() as desk:
        answer = await raw(desk, request("GET", query, *UPGRADE_LINES))
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        headers = dict(headers_of(answer))
        assert headers["connection"].lower() == "close"
        assert headers["content-type"] == "text/html"
        assert answer.partition(b"\r\n\r\n")[2] == wanted[2].encode()
        assert desk.sessions == []


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "EIO=3&transport=polling"),
        ("GET", "transport=polling"),
        ("GET", WEBSOCKET),
        ("POST", WEBSOCKET),
        ("PUT", POLLING),
        ("DELETE", POLLING),
        ("PATCH", POLLING),
    ],
)
async def test_a_request_that_does_not_fit_its_session_is_bad_and_leaves_it(
    autojump_clock: MockClock, method: str, query: str
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        answer = await ask(desk.stream, request(method, f"{query}&sid={poller.sid}"))
        assert (answer.status, answer.json) == (400, {"code": 3, "message": "Bad request"})
        await poller.send("4tea")
        assert await poller.poll() == ["4tea"]


async def test_http_to_a_session_on_a_websocket_is_a_bad_request_and_leaves_it(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        socket, handshake = await open_socket(desk.stream)
        for method, query in [("GET", POLLING), ("POST", POLLING), ("GET", WEBSOCKET)]:
            answer = await ask(desk.stream, request(method, f"{query}&sid={handshake['sid']}"))
            assert (answer.status, answer.json["code"]) == (400, 3)
        await socket.send("4tea")
        assert await socket.receive() == "4tea"


@pytest.mark.parametrize("is_upgrade", [False, True])
async def test_a_server_that_goes_down_opens_nothing_and_says_to_come_back(
    autojump_clock: MockClock, is_upgrade: bool
) -> None:
    query = (WEBSOCKET, *UPGRADE_LINES) if is_upgrade else (POLLING,)
    async with open_desk() as desk:
        await open_socket(desk.stream)
        desk.engine.drain()
        answer = await ask(desk.stream, request("GET", *query))
        assert (answer.status, answer.code) == (503, "draining")
        assert len(desk.engine) == 1


async def test_handshakes_that_nobody_follows_up_fill_polling_and_keep_no_websocket_out(
    autojump_clock: MockClock,
) -> None:
    async with open_desk(max_connections=1) as desk:
        await Poller(desk.stream).open()
        full = await ask(desk.stream, request("GET", POLLING))
        assert (full.status, full.code) == (503, "overloaded")
        await open_socket(desk.stream)
        assert len(desk.engine) == 2


# Origins


@pytest.mark.parametrize("lines", [(), UPGRADE_LINES])
async def test_a_foreign_page_is_forbidden_on_polling_and_on_the_websocket(
    autojump_clock: MockClock, lines: tuple[str, ...]
) -> None:
    query = WEBSOCKET if lines else POLLING
    async with open_desk(cors_origins=(PAGE,)) as desk:
        data = request("GET", query, *lines, "Origin: https://evil.example")
        answer = await raw(desk, data)
        assert answer.startswith(b"HTTP/1.1 403 ")
        body = b"Forbidden" if lines else b'{"code":4,"message":"Forbidden"}'
        assert answer.endswith(b"\r\n\r\n" + body)
        assert b"access-control" not in answer.lower()
        assert desk.sessions == []


@pytest.mark.parametrize("origin", ["", "Origin: http://chat.test", f"Origin: {PAGE}"])
async def test_our_own_page_a_listed_one_and_programs_may_connect_on_both(
    autojump_clock: MockClock, origin: str
) -> None:
    lines = [origin] if origin else []
    async with open_desk(cors_origins=(PAGE,)) as desk:
        assert (await ask(desk.stream, request("GET", POLLING, *lines))).status == 200
        socket = await shake(desk.stream, WEBSOCKET, *lines)
        assert str(await socket.receive()).startswith("0{")


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", POLLING, 200),
        ("GET", "EIO=4", 400),
        ("GET", f"{POLLING}&sid=unknown", 400),
        ("POST", f"{POLLING}&sid=unknown", 400),
    ],
)
async def test_a_listed_page_may_read_answers_and_errors_by_exactly_one_header(
    autojump_clock: MockClock, method: str, query: str, status: int
) -> None:
    async with open_desk(cors_origins=(PAGE,)) as desk:
        answer = await raw(desk, request(method, query, f"Origin: {PAGE}"))
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        headers = headers_of(answer)
        names = [name for name, _ in headers]
        assert names.count("access-control-allow-origin") == 1
        assert ("access-control-allow-origin", PAGE) in headers
        assert ("access-control-allow-credentials", "true") in headers
        assert ("vary", "Origin") in headers


async def test_the_answers_of_a_session_carry_cors_as_well(autojump_clock: MockClock) -> None:
    async with open_desk(cors_origins=(PAGE,), frame_bytes=1024) as desk:
        poller = Poller(desk.stream, f"Origin: {PAGE}")
        await poller.open()
        posted = await poller.post("4tea")
        polled = await poller.get()
        large = await poller.post("4" + "x" * 2000)
        bad = await poller.post("x")
        for answer, status in [(posted, 200), (polled, 200), (large, 413), (bad, 400)]:
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == PAGE


async def test_a_full_server_says_so_to_a_listed_page_by_one_header(
    autojump_clock: MockClock,
) -> None:
    async with open_desk(cors_origins=(PAGE,)) as desk:
        desk.engine.drain()
        answer = await raw(desk, request("GET", POLLING, f"Origin: {PAGE}"))
        assert answer.startswith(b"HTTP/1.1 503 ")
        names = [name for name, _ in headers_of(answer)]
        assert names.count("access-control-allow-origin") == 1
        assert names.count("content-length") == 1


@pytest.mark.parametrize("lines", [(), ("Access-Control-Request-Headers: x-tea, x-pot",)])
async def test_a_preflight_allows_the_methods_and_the_headers_asked_for(
    autojump_clock: MockClock, lines: tuple[str, ...]
) -> None:
    async with open_desk(cors_origins=(PAGE,)) as desk:
        asked = request(
            "OPTIONS", POLLING, f"Origin: {PAGE}", "Access-Control-Request-Method: POST", *lines
        )
        answer = await raw(desk, asked)
        assert answer.startswith(b"HTTP/1.1 204 ")
        headers = headers_of(answer)
        assert ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE") in headers
        wanted = "x-tea, x-pot" if lines else "content-type"
        assert ("access-control-allow-headers", wanted) in headers
        assert [value for name, value in headers if name.endswith("allow-origin")] == [PAGE]


async def test_without_listed_origins_there_is_no_cors(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        answer = await raw(desk, request("GET", POLLING, "Origin: http://chat.test"))
        assert b"access-control" not in answer.lower()


# Handshake


@pytest.mark.parametrize("path", ["/socket.io/", "/socket.io"])
async def test_the_handshake_is_that_of_node_on_both_paths(
    autojump_clock: MockClock, path: str
) -> None:
    async with open_desk(frame_bytes=1_000_000) as desk:
        answer = await ask(desk.stream, request("GET", POLLING + "&t=abc", path=path))
        [packet] = packets_of(answer)
        sid = desk.session.sid
        assert packet == (
            f'0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,'
            '"pingTimeout":20000,"maxPayload":1000000}'
        )
        assert answer.headers["cache-control"] == "no-store"
        assert "connection" not in answer.headers or answer.headers["connection"] != "close"
        socket = await shake(desk.stream, WEBSOCKET, path=path)
        assert await socket.receive() == (
            f'0{{"sid":"{desk.session.sid}","upgrades":[],"pingInterval":25000,'
            '"pingTimeout":20000,"maxPayload":1000000}'
        )


@pytest.mark.threat("T51")
async def test_a_sid_has_120_random_bits_at_least_and_the_log_shows_fewer(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        pollers = [Poller(desk.stream) for _ in range(10)]
        for poller in pollers:
            await poller.open()
        assert len({poller.sid for poller in pollers}) == 10
        assert all(len(poller.sid) * 6 >= 120 for poller in pollers)
        assert desk.session.sid not in desk.session.id


async def test_what_is_sent_while_a_session_opens_comes_with_its_handshake(
    autojump_clock: MockClock,
) -> None:
    class Greeting(Echo):
        def _opened(self) -> None:
            self.send([b"4hello"])

    async with open_desk(Greeting) as desk:
        packets = packets_of(await ask(desk.stream, request("GET", POLLING)))
        assert [packet[0] for packet in packets] == ["0", "4"]
        socket, _ = await open_socket(desk.stream)
        assert await socket.receive() == "4hello"


# A session on a WebSocket


async def test_a_packet_is_one_message_and_binary_has_no_prefix(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.send("4tea", b"\x00\xff", "4", "4\u00e9\U0001f600")
        assert [await socket.receive() for _ in range(4)] == [
            "4tea",
            b"\x00\xff",
            "4",
            "4\u00e9\U0001f600",
        ]
        assert desk.session.messages[1] == b"\x00\xff"


async def test_a_client_that_takes_no_binary_gets_base64_in_text(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream, "&b64=1")
        await socket.send("bAP8=")
        assert await socket.receive() == "bAP8="
        assert desk.session.messages == [b"\x00\xff"]


async def test_what_came_behind_the_head_of_the_handshake_counts(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        stream = desk.stream()
        frame = b"\x81\x82\0\0\0\x004x"
        await stream.send_all(request("GET", WEBSOCKET, *UPGRADE_LINES) + frame)
        await wait_all_tasks_blocked()
        assert desk.session.messages == [b"x"]


async def test_a_client_that_closes_is_gone_at_once(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.send("4tea", "1", "4late")
        await wait_all_tasks_blocked()
        assert desk.session.messages == [b"tea"]
        assert desk.session.ends == [CloseCode.NORMAL]
        assert len(desk.engine) == 0
        assert await socket.closed() == 1000


@pytest.mark.parametrize("packet", ["2", "2probe", "0{}", "x", "", "7", "\u0664", "b!"])
async def test_a_packet_that_a_client_may_not_send_closes(
    mock_clock: MockClock, packet: str
) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.send("4before", packet, "4behind")
        await wait_all_tasks_blocked()
        assert desk.session.messages == [b"before"]
        assert desk.session.ends == [CloseCode.BAD_REQUEST]
        assert await socket.closed() == CloseCode.BAD_REQUEST.code


@pytest.mark.parametrize("packet", ["3", "5", "6", "3probe"])
async def test_a_stray_packet_means_nothing(mock_clock: MockClock, packet: str) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.send(packet, "4tea")
        assert await socket.receive() == "4tea"


async def test_text_that_is_not_utf_8_closes(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.stream.send_all(b"\x81\x82\0\0\0\x004\xff")
        assert await socket.closed() in {CloseCode.INVALID_DATA.code, CloseCode.BAD_REQUEST.code}


async def test_a_message_has_at_most_max_payload_or_closes_with_1009(
    mock_clock: MockClock,
) -> None:
    async with open_desk(frame_bytes=1024) as desk:
        socket, handshake = await open_socket(desk.stream)
        assert handshake["maxPayload"] == 1024
        await socket.send("4" + "x" * 1023)
        assert await socket.receive() == "4" + "x" * 1023
        await socket.send("4" + "x" * 1024)
        assert await socket.closed() == 1009
        assert desk.session.ends == [CloseCode.TOO_BIG]


async def test_a_message_may_come_in_fragments_but_not_in_too_many(mock_clock: MockClock) -> None:
    async with open_desk(max_fragments=3) as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.send_fragments(b"4t", b"e", b"a")
        assert await socket.receive() == "4tea"
        await socket.send_fragments(b"4t", b"e", b"a", b"!")
        assert await socket.closed() == 1009


async def test_a_ping_of_the_websocket_itself_is_answered(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.stream.send_all(b"\x89\x82\0\0\0\0hi")
        assert await come(socket.stream) == b"\x8a\x02hi"


async def test_the_close_frame_of_a_client_is_echoed(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await socket.say_goodbye(4999)
        assert await socket.closed() == 4999
        assert desk.session.ends == [CloseCode.NORMAL]


async def test_the_end_of_the_stream_ends_the_session(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        await trio.aclose_forcefully(socket.stream)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.NORMAL]
        assert len(desk.engine) == 0


async def test_a_bug_in_a_session_ends_it_and_nothing_else(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        poller = Poller(desk.stream)
        await poller.open()
        other, _ = await open_socket(desk.stream)
        with structlog.testing.capture_logs() as logs:
            await socket.send("4bug")
            await socket.closed()
            assert (await poller.post("4bug")).status == 200
            await trio.sleep(3)  # its goodbye has waited for a GET
        assert [line["event"] for line in logs if line["log_level"] == "error"] == [
            "session_failed",
            "session_failed",
        ]
        assert len(desk.engine) == 1
        await other.send("4tea")
        assert await other.receive() == "4tea"


# Heartbeat


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.threat("T42")
async def test_a_client_is_pinged_at_the_interval_and_gone_after_the_timeout_and_not_before(
    mock_clock: MockClock, transport: str
) -> None:
    async with open_desk() as desk:
        link: Poller | WebSocket
        if transport == "polling":
            link = Poller(desk.stream)
            await link.open()
            parked = (await link.park()).stream
        else:
            link, _ = await open_socket(desk.stream)
            parked = link.stream
        await _forward(mock_clock, 24.9)
        assert await come(parked) is None
        await _forward(mock_clock, 0.1)
        received = await come(parked)
        assert received is not None
        assert received.endswith(b"2")
        await _forward(mock_clock, 19.9)
        assert len(desk.engine) == 1
        await _forward(mock_clock, 0.1)
        assert len(desk.engine) == 0
        assert desk.session.ends == [CloseCode.HEARTBEAT_LOST]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("sign", ["3", "4tea", "6"])
async def test_any_packet_is_a_sign_of_life_and_pings_go_on_while_a_client_talks(
    mock_clock: MockClock, transport: str, sign: str
) -> None:
    async with open_desk() as desk:
        link: Poller | WebSocket
        if transport == "polling":
            link = Poller(desk.stream)
            await link.open()
        else:
            link, _ = await open_socket(desk.stream)
        pings = 0
        for _ in range(8):
            await link.send(sign)
            await _forward(mock_clock, 12.5)
            pings += (await link.heard()).count("2")
        assert pings == 4
        assert len(desk.engine) == 1


async def _forward(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_client_that_waits_for_a_slow_handler_is_not_gone(
    mock_clock: MockClock, transport: str
) -> None:
    async with open_desk() as desk:
        link: Poller | WebSocket
        if transport == "polling":
            link = Poller(desk.stream)
            await link.open()
        else:
            link, _ = await open_socket(desk.stream)
        gate = desk.session.gate = trio.Event()
        await link.send("4slow")
        for _ in range(10):
            await _forward(mock_clock, 25)
        assert len(desk.engine) == 1
        gate.set()
        heard: list[Any] = await link.heard()
        assert "4slow" in heard


# The upgrade


async def test_an_upgrade_goes_on_where_polling_ended(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        parked = await poller.park()
        socket = await probe(poller)
        assert packets_of(await parked.read()) == ["6"]
        await poller.send("4by polling")
        assert (await poller.poll()) == ["4by polling"]
        assert desk.session.transport == "polling"
        assert await poller.poll() == ["6"]  # as every one that comes while probing
        desk.session.send([b"4late"])
        await socket.send("5", "4first", b"\x01")
        assert [await socket.receive() for _ in range(3)] == ["4late", "4first", b"\x01"]
        assert desk.session.transport == "websocket"
        assert (await poller.get()).json["code"] == 3
        assert (await poller.post("4x")).json["code"] == 3
        desk.session.send([b"4end"])
        assert await socket.heard() == ["4end"]


async def test_a_get_while_probing_waits_a_moment_for_something_better_than_a_noop(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        parked = await poller.park()
        assert await come(parked.stream) is None
        desk.session.send([b"4tea"])
        assert packets_of(await parked.read()) == ["4tea"]
        parked = await poller.park()
        await _forward(mock_clock, 0.1)
        assert packets_of(await parked.read()) == ["6"]
        await socket.send("5")
        assert await socket.heard() == []  # the NOOP did not leak


async def test_a_get_that_is_parked_when_the_websocket_takes_over_gets_a_noop(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        parked = await poller.park()
        await socket.send("5")
        assert packets_of(await parked.read()) == ["6"]
        desk.session.send([b"4tea"])
        assert await socket.heard() == ["4tea"]


async def test_binary_that_waited_for_a_poll_is_binary_on_the_websocket(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        for extra, wanted in [("", b"\x00\xff"), ("&b64=1", "bAP8=")]:
            poller = Poller(desk.stream)
            await poller.open(extra)
            socket = await probe(poller)
            await poller.send("bAP8=")
            await wait_all_tasks_blocked()
            await socket.send("5")
            assert await socket.receive() == wanted


async def test_what_came_ahead_of_the_upgrade_by_post_is_handled_ahead_of_what_comes_behind(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        gate = desk.session.gate = trio.Event()
        socket = await probe(poller)
        await poller.send("4one", "4two")
        await poller.send("4three")
        await socket.send("5", "4four")
        await wait_all_tasks_blocked()
        gate.set()
        assert await socket.heard() == ["4one", "4two", "4three", "4four"]


@pytest.mark.threat("T50")
async def test_sixty_clients_lose_and_reorder_nothing_through_the_upgrade(
    autojump_clock: MockClock,
) -> None:
    async def talk() -> None:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        for number in range(5):
            await poller.send(f"4{number}")
        got: list[str] = []
        while len(got) < 3:
            got += [packet for packet in await poller.poll() if packet != "6"]
        await socket.send("5", *(f"4{number}" for number in range(5, 10)))
        while len(got) < 10:
            got.append(str(await socket.receive()))
        assert got == [f"4{number}" for number in range(10)]
        done.append(poller.sid)

    done: list[str] = []
    async with open_desk() as desk:
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(talk)
        assert len(set(done)) == 60


async def test_a_second_websocket_is_accepted_and_closed_and_the_first_goes_on(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        first = await probe(poller)
        during = await shake(desk.stream, f"{WEBSOCKET}&sid={poller.sid}")
        assert await during.closed() is not None
        await first.send("5", "4tea")
        assert await first.receive() == "4tea"
        behind = await shake(desk.stream, f"{WEBSOCKET}&sid={poller.sid}")
        assert await behind.closed() is not None
        await first.send("4pot")
        assert await first.receive() == "4pot"


@pytest.mark.parametrize("word", ["2", "4tea", "3probe", "2probe!", "x", b"\x00", "5x"])
async def test_a_websocket_that_says_something_else_than_the_probe_is_closed_and_polling_lives_on(
    mock_clock: MockClock, word: str | bytes
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        for is_probed in (False, True):
            query = f"{WEBSOCKET}&sid={poller.sid}"
            socket = await probe(poller) if is_probed else await shake(desk.stream, query)
            await socket.send(word)
            assert await socket.closed() is not None
            parked = await poller.park()
            assert await come(parked.stream) is None  # parked as before, no NOOP any more
            await poller.send("4tea")
            assert packets_of(await parked.read()) == ["4tea"]


@pytest.mark.parametrize("is_probed", [False, True])
async def test_a_websocket_that_takes_too_long_is_closed_and_polling_lives_on(
    mock_clock: MockClock, is_probed: bool
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        query = f"{WEBSOCKET}&sid={poller.sid}"
        socket = await probe(poller) if is_probed else await shake(desk.stream, query)
        await _forward(mock_clock, 9.9)
        await socket.heard()
        assert not socket.is_closed
        await _forward(mock_clock, 0.1)
        assert await socket.closed() is not None
        await poller.send("4tea")
        assert await poller.poll() == ["4tea"]


@pytest.mark.parametrize("how", ["end", "frame", "garbage"])
async def test_a_websocket_that_goes_while_probed_leaves_polling_as_it_was(
    mock_clock: MockClock, how: str
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        if how == "end":
            await trio.aclose_forcefully(socket.stream)
        elif how == "frame":
            await socket.say_goodbye()
        else:
            await socket.stream.send_all(b"\xff\xff\xff\xff")
        await wait_all_tasks_blocked()
        await poller.send("4tea")
        assert await poller.poll() == ["4tea"]
        again = await upgraded(poller)
        await again.send("4pot")
        assert await again.receive() == "4pot"


async def test_a_session_that_ends_while_probed_ends_the_websocket(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        await poller.send("1")
        assert await socket.closed() is not None
        assert len(desk.engine) == 0


async def test_a_client_that_is_about_to_switch_is_let_through_and_told_why_its_session_ended(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await probe(poller)
        desk.session.cut(CloseCode.SUPERSEDED)
        await wait_all_tasks_blocked()
        await socket.send("5")
        assert await socket.closed() == CloseCode.SUPERSEDED.code


async def test_an_upgraded_session_ends_with_its_websocket(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await upgraded(poller)
        await trio.aclose_forcefully(socket.stream)
        await wait_all_tasks_blocked()
        assert desk.session.ends == [CloseCode.NORMAL]
        assert len(desk.engine) == 0


async def test_a_websocket_for_a_session_that_has_gone_meanwhile_is_let_go(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        socket = await shake(desk.stream, f"{WEBSOCKET}&sid={poller.sid}")
        desk.session.cut(CloseCode.NORMAL)
        assert await socket.closed() is not None or socket.is_ended


# The end


async def test_a_close_by_the_server_flushes_what_waits_and_then_closes_the_websocket(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        socket, _ = await open_socket(desk.stream)
        desk.session.send([b"4last"])
        desk.session.cut(CloseCode.SHUTDOWN)
        desk.session.send([b"4more"])
        assert await socket.closed() == CloseCode.SHUTDOWN.code
        heard = await socket.heard()
        assert heard[0] == "4last"


async def test_a_close_by_the_server_flushes_what_waits_and_then_a_close_to_the_parked_get(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        parked = await poller.park()
        desk.session.send([b"4last"])
        desk.session.cut(CloseCode.SHUTDOWN)
        assert packets_of(await parked.read()) == ["4last"]
        assert await poller.poll() == ["1"]  # alone: stock clients drop what comes with it
        assert (await poller.get()).json["code"] == 1


async def test_a_close_by_the_server_waits_for_the_next_get_but_not_for_ever(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        desk.session.send([b"4last"])
        desk.session.cut(CloseCode.SHUTDOWN)
        await wait_all_tasks_blocked()
        assert await poller.poll() == ["4last"]
        assert await poller.poll() == ["1"]
        await wait_all_tasks_blocked()
        assert (await poller.get()).json["code"] == 1
        other = Poller(desk.stream)
        await other.open()
        desk.session.cut(CloseCode.SHUTDOWN)
        await wait_all_tasks_blocked()
        await _forward(mock_clock, 2)
        assert (await other.get()).json["code"] == 1
        assert len(desk.engine) == 0


async def test_a_drain_ends_who_polls_and_leaves_the_websockets(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        poller = Poller(desk.stream)
        await poller.open()
        parked = await poller.park()
        socket, _ = await open_socket(desk.stream)
        desk.engine.drain()
        assert packets_of(await parked.read()) == ["1"]
        await socket.send("4tea")
        assert await socket.receive() == "4tea"
        assert len(desk.engine) == 1


async def test_the_stop_closes_every_transport(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with open_desk() as desk:
            poller = Poller(desk.stream)
            await poller.open()
            parked = await poller.park()
            socket, _ = await open_socket(desk.stream)
            changed = Poller(desk.stream)
            await changed.open()
            second = await upgraded(changed)
            desk.engine.cut_all()
            assert packets_of(await parked.read()) == ["1"]
            assert await socket.closed() == CloseCode.SHUTDOWN.code
            assert await second.closed() == CloseCode.SHUTDOWN.code
            await wait_all_tasks_blocked()
            assert len(desk.engine) == 0
        nursery.cancel_scope.cancel()
