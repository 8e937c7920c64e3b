"""A namespace of one's own: order, acks both ways, refusals, goodbyes, recovery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.nurseries.event_namespace import (
    CALLING_INBOX,
    INBOX,
    AckError,
    EventNamespace,
    EventSocket,
)
from chatd.nurseries.socketio import ConnectRefused
from tests.http_kit import get
from tests.protocol_suite.events_kit import QUERY, EventClient, EventServer, open_events

RECOVERY = 120.0


class Place:
    """A namespace that keeps its sockets and why they left."""

    def __init__(self, **options: Any) -> None:
        self.sockets: list[EventSocket] = []
        self.reasons: list[str] = []
        self.namespace = EventNamespace(
            connected=self._connected, disconnected=self._disconnected, **options
        )

    async def _connected(self, socket: EventSocket) -> None:
        self.sockets.append(socket)

    async def _disconnected(self, _socket: EventSocket, reason: str) -> None:
        self.reasons.append(reason)


# Order


async def test_a_slow_handler_delays_the_next_event_of_its_socket_and_of_no_other() -> None:
    place, may_end = Place(), trio.Event()

    @place.namespace.on("slow")
    async def slow(_socket: EventSocket) -> str:
        await may_end.wait()
        return "slow"

    @place.namespace.on("quick")
    async def quick(_socket: EventSocket) -> str:
        return "quick"

    async with open_events(place.namespace) as server:
        ann, ben = await server.client(), await server.client()
        await ann.connect()
        await ben.connect()
        await ann.send('421["slow"]', '422["quick"]')
        await wait_all_tasks_blocked()
        await ben.send('421["quick"]')
        assert await ben.read() == '431["quick"]'
        may_end.set()
        assert [await ann.read(), await ann.read()] == ['431["slow"]', '432["quick"]']


async def test_connect_is_answered_ahead_of_what_connected_emits_and_that_ahead_of_events() -> None:
    may_end = trio.Event()

    async def greet(socket: EventSocket) -> None:
        socket.emit("first")
        await may_end.wait()
        socket.emit("second")

    namespace = EventNamespace(connected=greet)

    @namespace.on("echo")
    async def echo(socket: EventSocket, value: Any) -> None:
        socket.emit("echo", value)

    async with open_events(namespace) as server:
        ann = await server.client()
        await ann.send("40", '42["echo",1]')
        assert str(await ann.read()).startswith('40{"sid":')
        assert await ann.read() == '42["first"]'
        await wait_all_tasks_blocked()
        may_end.set()
        assert [await ann.read(), await ann.read()] == ['42["second"]', '42["echo",1]']


async def test_events_ahead_of_a_disconnect_are_handled_before_the_goodbye() -> None:
    place, may_end = Place(), trio.Event()

    @place.namespace.on("note")
    async def note(_socket: EventSocket, value: str) -> None:
        await may_end.wait()
        place.reasons.append(value)

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('42["note","a"]', '42["note","b"]', "41")
        await wait_all_tasks_blocked()
        may_end.set()
        await wait_all_tasks_blocked()
        assert place.reasons == ["a", "b", "client namespace disconnect"]


async def test_binary_leaves_in_one_piece_while_others_send() -> None:
    place = Place()
    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        [socket] = place.sockets
        placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'

        async def talk() -> None:
            for number in range(50):
                socket.emit("b", b"\x01", b"\x02")
                socket.emit("t", number)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            nursery.start_soon(talk)
        for _ in range(100):
            pieces = [await ann.read()]
            while str(pieces[0]).startswith('42["t"'):
                pieces = [await ann.read()]
            pieces += [await ann.read(), await ann.read()]
            assert pieces == [f'452-["b",{placeholders}]', b"\x01", b"\x02"]


# Acks of events


@pytest.mark.parametrize(
    ("result", "ack"),
    [
        (None, "431[]"),
        (1, "431[1]"),
        ((), "431[]"),
        ((1, None), "431[1,null]"),
        ([1, 2], "431[[1,2]]"),
    ],
)
async def test_what_a_handler_returns_is_the_ack(result: Any, ack: str) -> None:
    namespace = EventNamespace()

    @namespace.on("ask")
    async def ask(_socket: EventSocket) -> Any:
        return result

    async with open_events(namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('421["ask"]')
        assert await ann.read() == ack


async def test_an_event_without_id_or_without_handler_gets_no_ack() -> None:
    namespace = EventNamespace()

    @namespace.on("ask")
    async def ask(_socket: EventSocket) -> int:
        return 1

    async with open_events(namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('42["ask"]', '427["nobody"]', '428["ask"]')
        assert await ann.read() == "438[1]"


@pytest.mark.parametrize("event", ["fail", "unwritable", "nan", "many"])
async def test_a_handler_that_fails_is_logged_and_answered_and_the_session_lives(
    event: str,
) -> None:
    namespace = EventNamespace()

    @namespace.on("fail")
    async def fail(_socket: EventSocket) -> None:
        msg = "a bug"
        raise RuntimeError(msg)

    @namespace.on("unwritable")
    async def unwritable(_socket: EventSocket) -> object:
        return object()

    @namespace.on("nan")
    async def many(_socket: EventSocket) -> list[bytes]:
        return [b"x"] * 11

    @namespace.on("well")
    async def well(_socket: EventSocket) -> int:
        return 1

    @namespace.on("many")
    async def strict(_socket: EventSocket, *, never: int) -> None:
        raise AssertionError(never)

    async with open_events(namespace) as server:
        ann = await server.client()
        await ann.connect()
        with capture_logs() as logs:
            await ann.send(f'421["{event}"]')
            answer = str(await ann.read())
        assert answer.startswith('431[{"ok":false,"error":{"code":"internal",')
        assert "a bug" not in answer
        assert [line["log_level"] for line in logs if line["log_level"] != "debug"] == ["error"]
        await ann.send('422["well"]')
        assert await ann.read() == "432[1]"


# Calls


async def test_a_call_returns_what_the_client_answers() -> None:
    place, answers = Place(), list[list[Any]]()

    @place.namespace.on("start")
    async def start(socket: EventSocket) -> None:
        answers.append(await socket.call("ask", "what?"))

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('42["start"]')
        assert await ann.read() == '420["ask","what?"]'
        await ann.send("4399[0]", '430["that",2]', '430["again"]')  # one unknown, one too many
        await wait_all_tasks_blocked()
        assert answers == [["that", 2]]


@pytest.mark.parametrize("waiting", [1, INBOX + 5])
async def test_a_handler_that_calls_gets_its_answer_from_behind_other_events(waiting: int) -> None:
    place = Place()

    @place.namespace.on("start")
    async def start(socket: EventSocket) -> list[Any]:
        return await socket.call("ask")

    @place.namespace.on("more")
    async def more(_socket: EventSocket) -> None:
        place.reasons.append("more")

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('427["start"]', *['42["more"]'] * waiting)
        assert await ann.read() == '420["ask"]'
        await ann.send("430[1]")
        assert await ann.read() == "437[[1]]"
        await wait_all_tasks_blocked()
        assert place.reasons == ["more"] * waiting


async def test_a_call_that_begins_behind_a_full_inbox_is_answered() -> None:
    place, may_call = Place(), trio.Event()

    @place.namespace.on("start")
    async def start(socket: EventSocket) -> list[Any]:
        await may_call.wait()
        return await socket.call("ask")

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('427["start"]', *['42["more"]'] * (INBOX + 5))
        await wait_all_tasks_blocked()
        may_call.set()
        assert await ann.read() == '420["ask"]'
        await ann.send("430[1]")
        assert await ann.read() == "437[[1]]"


async def test_a_client_that_says_anything_but_the_answer_is_cut() -> None:
    place = Place()

    @place.namespace.on("start")
    async def start(socket: EventSocket) -> None:
        await socket.call("ask")

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('42["start"]')
        assert await ann.read() == '420["ask"]'
        await ann.send(*['42["more"]'] * (CALLING_INBOX + 1))
        assert await ann.closed() == []
        assert place.reasons == ["forced server close"]


async def by_leaving(ann: EventClient, _socket: EventSocket) -> None:
    await ann.send("41")


async def by_hanging_up(ann: EventClient, _socket: EventSocket) -> None:
    await ann.leave()


async def by_a_cut(_ann: EventClient, socket: EventSocket) -> None:
    socket._session.cut(CloseCode.REVOKED)


async def by_a_kick(_ann: EventClient, socket: EventSocket) -> None:
    socket.disconnect()


End = Callable[[EventClient, EventSocket], Awaitable[None]]


@pytest.mark.parametrize("end", [by_leaving, by_hanging_up, by_a_cut, by_a_kick])
async def test_a_call_fails_at_once_when_the_client_goes(end: End) -> None:
    failed, hook_may_end = trio.Event(), trio.Event()
    place = Place()

    async def linger(_socket: EventSocket, _reason: str) -> None:
        await hook_may_end.wait()

    place.namespace.disconnected = linger

    async def call(socket: EventSocket) -> None:
        with pytest.raises(AckError):
            await socket.call("ask")
        failed.set()

    async with open_events(place.namespace) as server, trio.open_nursery() as nursery:
        ann = await server.client()
        await ann.connect()
        [socket] = place.sockets
        nursery.start_soon(call, socket)
        assert await ann.read() == '420["ask"]'
        await end(ann, socket)
        await wait_all_tasks_blocked()
        assert failed.is_set()  # though the hook of the goodbye has not ended
        with pytest.raises(AckError):
            await socket.call("ask")
        assert not socket.emit("more")
        hook_may_end.set()


async def test_a_handler_whose_call_fails_is_no_error() -> None:
    place = Place()

    @place.namespace.on("start")
    async def start(socket: EventSocket) -> None:
        await socket.call("ask")

    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await ann.send('42["start"]')
        await ann.read()
        with capture_logs() as logs:
            await ann.send("41")
            await wait_all_tasks_blocked()
        assert [line["event"] for line in logs] == ["client_gone"]


# Refusal


async def test_who_is_refused_is_told_why_and_never_seen() -> None:
    async def authorize(socket: EventSocket) -> None:
        socket.emit("too early")
        if socket.auth.get("token") != "good":
            raise ConnectRefused("no", {"code": 7})

    place = Place(authorize=authorize)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.send('40{"token":"bad"}')
        assert await ann.read() == '44{"message":"no","data":{"code":7}}'
        assert (place.sockets, place.reasons) == ([], [])
        assert set(await ann.connect(token="good")) == {"sid"}
        assert len(place.sockets) == 1


# Goodbyes


async def by_silence(_ann: EventClient, _socket: EventSocket) -> None:
    await trio.sleep(46)


async def by_nonsense(ann: EventClient, _socket: EventSocket) -> None:
    await ann.send("42{}")


async def by_a_big_message(ann: EventClient, _socket: EventSocket) -> None:
    await ann.send("4" + "x" * 2_000_000)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (by_leaving, "client namespace disconnect"),
        (by_hanging_up, "transport close"),
        (by_a_big_message, "transport error"),
        (by_silence, "ping timeout"),
        (by_nonsense, "parse error"),
        (by_a_kick, "server namespace disconnect"),
        (by_a_cut, "forced server close"),
    ],
)
async def test_the_goodbye_is_told_once_in_the_words_of_node(
    end: End, reason: str, autojump_clock: MockClock
) -> None:
    place = Place()
    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        await end(ann, place.sockets[0])
        await trio.sleep(3)
        assert place.reasons == [reason]
    assert place.reasons == [reason]


async def test_a_server_that_shuts_down_says_so(autojump_clock: MockClock) -> None:
    place = Place()
    async with open_events(place.namespace) as server:
        ann = await server.client()
        await ann.connect()
        server.engine.cut_all()
        assert await ann.closed() == []
        assert place.reasons == ["server shutting down"]


async def test_a_poll_that_is_aborted_is_a_transport_error() -> None:
    place = Place()
    async with open_events(place.namespace) as server:
        polling = server.polling()
        opening = await polling.ask(get(f"{QUERY}polling"))
        sid = opening.body.split(b'"')[3].decode()
        target = f"{QUERY}polling&sid={sid}"
        await polling.send(
            f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40".encode()
        )
        assert (await polling.read()).body == b"ok"
        assert (await polling.ask(get(target))).body.startswith(b'40{"sid":')
        await polling.send(get(target))
        await wait_all_tasks_blocked()
        await polling.stream.aclose()
        await wait_all_tasks_blocked()
        assert place.reasons == ["transport error"]


async def test_a_goodbye_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    async def hang(_socket: EventSocket, _reason: str) -> None:
        await trio.sleep_forever()

    async with open_events(EventNamespace(disconnected=hang)) as server:
        ann = await server.client()
        await ann.connect()
        await ann.leave()
        assert len(server.engine) == 1
        await trio.sleep(11)
        assert len(server.engine) == 0


# Recovery


async def came_back(
    server: EventServer, pid: str, *missed: str, **auth: Any
) -> tuple[EventClient, dict[str, Any]]:
    """Return a new session that shows a pid, and its CONNECT, which these events precede."""
    client = await server.client()
    offset = {key: auth[key] for key in auth if auth[key] is not None}
    await client.send(
        f'40{{"pid":"{pid}"' + "".join(f',"{k}":"{v}"' for k, v in offset.items()) + "}"
    )
    for event in missed:
        assert str(await client.read()).startswith(event)
    answer = str(await client.read())
    assert answer.startswith('40{"sid":'), answer
    sid, new_pid = answer.split('"')[3], answer.split('"')[7]
    return client, {"sid": sid, "pid": new_pid}


def offset_of(message: str | bytes) -> str:
    """Return the last argument, a string, of an event."""
    return str(message).split('"')[-2]


async def test_who_comes_back_with_an_offset_gets_what_was_missed_ahead_of_connect() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        [socket] = place.sockets
        socket.data["name"] = "ann"
        socket.emit("seen", 0)
        offset = offset_of(await ann.read())
        await ann.leave()
        assert not socket.emit("missed", 1)
        assert not socket.emit("missed", 2)
        ann, now = await came_back(
            server, known["pid"], '42["missed",1,"', '42["missed",2,"', offset=offset
        )
        assert now == known
        assert place.sockets[1].is_recovered
        assert (place.sockets[1].id, place.sockets[1].data) == (socket.id, {"name": "ann"})
        assert "pid" not in place.sockets[1].auth


async def test_no_offset_is_given_twice_over_a_recovery() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        pid = (await ann.connect())["pid"]
        await ann.leave()
        place.sockets[0].emit("missed")
        ann = await server.client()
        await ann.send(f'40{{"pid":"{pid}"}}')
        missed = offset_of(await ann.read())
        await ann.read()
        place.sockets[0].emit("of a socket that has been replaced")
        place.sockets[1].emit("live")
        live = offset_of(await ann.read())
        assert live != missed
        await ann.leave()
        ann, now = await came_back(server, pid, '42["live","', offset=missed)
        assert now["pid"] == pid
        await ann.leave()
        ann, now = await came_back(server, pid, offset=live)
        assert now["pid"] == pid


async def test_who_has_received_no_event_comes_back_all_the_same() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        await ann.leave()
        place.sockets[0].emit("missed")
        _, now = await came_back(server, known["pid"], '42["missed","')
        assert now == known


async def test_who_comes_back_before_the_loss_is_seen_takes_over() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        place.sockets[0].emit("on its way")
        _, now = await came_back(server, known["pid"], '42["on its way","')
        assert now == known
        assert place.sockets[1].is_recovered
        await wait_all_tasks_blocked()
        assert place.reasons == ["transport close"]


async def test_a_state_is_taken_once() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        await ann.leave()
        first, now = await came_back(server, known["pid"])
        assert now == known
        await first.send("41")
        await wait_all_tasks_blocked()
        _, now = await came_back(server, known["pid"])
        assert now["pid"] != known["pid"]
        assert now["sid"] != known["sid"]


@pytest.mark.parametrize(("away", "is_kept"), [(RECOVERY - 1, True), (RECOVERY + 1, False)])
async def test_a_state_is_kept_for_120_s(
    away: float, is_kept: bool, autojump_clock: MockClock
) -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        await ann.leave()
        await trio.sleep(away)
        _, now = await came_back(server, known["pid"])
        assert (now == known) == is_kept


async def test_who_shows_an_offset_of_nobody_begins_anew() -> None:
    place = Place(recovery_seconds=RECOVERY)
    async with open_events(place.namespace) as server:
        ann = await server.client()
        known = await ann.connect()
        await ann.leave()
        _, now = await came_back(server, known["pid"], offset="nobody's")
        assert now["sid"] != known["sid"]
        assert not place.sockets[1].is_recovered


async def test_an_offset_ends_events_and_neither_calls_nor_acks() -> None:
    place = Place(recovery_seconds=RECOVERY)

    @place.namespace.on("ask")
    async def ask(_socket: EventSocket) -> str:
        return "text"

    async with open_events(place.namespace) as server, trio.open_nursery() as nursery:
        ann = await server.client()
        known = await ann.connect()
        [socket] = place.sockets
        socket.emit("event", 1)
        assert str(await ann.read()).startswith(f'42["event",1,"{known["sid"]}:')
        await ann.send('421["ask"]')
        assert await ann.read() == '431["text"]'
        nursery.start_soon(socket.call, "call", "text")
        assert await ann.read() == '420["call","text"]'
        await ann.send("430[]")
