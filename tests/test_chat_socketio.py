"""The chat over Socket.IO: login, requests, offsets, recovery of stock clients, the goodbye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode, StoreUnavailable
from chatd.ids import uuid7
from chatd.nurseries.chat_engine import FIRST_BYTES
from chatd.store.memory import MemoryStore
from tests.people import World
from tests.socketio_kit import (
    Chatter,
    Poller,
    WebSocket,
    chatter,
    come,
    leave,
    open_chat,
    open_link,
    open_socket,
    probe,
)

TRANSPORTS = pytest.mark.parametrize("transport", ["polling", "websocket"])
KEPT = 120.0


async def say(somebody: Chatter, session_id: object, *contents: str) -> None:
    """Send messages, each of which must be stored."""
    for content in contents:
        await somebody.done("message:send", sessionId=str(session_id), content=content)


def lasts(packets: list[str]) -> dict[str, Any]:
    """Return the last argument of every event, by name."""
    events = [json.loads(packet[2:]) for packet in packets if packet.startswith("42")]
    return {event[0]: event[-1] for event in events}


def is_string(value: Any) -> bool:
    """Whether a stock client would take it for an offset."""
    return isinstance(value, str)


# Login


@TRANSPORTS
async def test_a_good_token_is_answered_with_sid_and_pid_ahead_of_the_first_state(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        link = await open_link(world, transport)
        await link.send(f'40{{"token":"{world.token(anna)}"}}')
        connect, ready, *_ = await link.heard()
        assert isinstance(connect, str)
        assert isinstance(ready, str)
        assert set(json.loads(connect.removeprefix("40"))) == {"sid", "pid"}
        name, state, offset = json.loads(ready.removeprefix("42"))
        assert name == "connection:ready"
        assert state["connectionId"] == json.loads(connect[2:])["sid"]
        assert state["recovered"] is False
        assert is_string(offset)


@TRANSPORTS
@pytest.mark.parametrize("auth", ["", "{}", '{"token":7}', '{"token":"x"}', '{"token":null}'])
async def test_a_bad_token_is_refused_with_an_object_and_a_better_one_may_follow(
    tmp_path: Path, mock_clock: MockClock, transport: str, auth: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        link = await open_link(world, transport)
        await link.send(f"40{auth}")
        [refusal] = await link.heard()
        assert isinstance(refusal, str)
        assert refusal.startswith("44{")
        error = json.loads(refusal[2:])
        assert set(error) == {"message", "data"}
        assert is_string(error["message"])
        assert (error["data"]["code"], error["data"]["retryable"]) == ("unauthorized", False)
        await Chatter(link).connect(world.token(anna))


async def test_a_token_that_has_expired_says_so(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        token = world.token(await world.person("anna"))
        mock_clock.jump(900)
        link = await open_link(world, "websocket")
        await link.send(f'40{{"token":"{token}"}}')
        [refusal] = await link.heard()
        assert json.loads(str(refusal)[2:])["data"]["code"] == "token_expired"


async def test_a_revoked_login_is_refused(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        anna, family = await world.person("anna"), uuid7()
        world.daemon.live.sockets.cut_families([family], CloseCode.REVOKED)
        link = await open_link(world, "websocket")
        await link.send(f'40{{"token":"{world.token(anna, family)}"}}')
        [refusal] = await link.heard()
        assert json.loads(str(refusal)[2:])["data"]["code"] == "unauthorized"


async def test_a_crowd_of_one_user_is_refused(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path, max_sockets_per_user=1) as world:
        anna = await world.person("anna")
        await chatter(world, anna)
        link = await open_link(world, "websocket")
        await link.send(f'40{{"token":"{world.token(anna)}"}}')
        [refusal] = await link.heard()
        assert json.loads(str(refusal)[2:])["data"]["code"] == "forbidden"


async def test_while_the_store_is_away_a_connect_ends_the_transport_so_that_clients_come_back(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna = await world.person("anna")
        store.fail_next("first_states", StoreUnavailable("away"))
        socket, _ = await open_socket(world.stream)
        await socket.send(f'40{{"token":"{world.token(anna)}"}}')
        assert await socket.closed() == CloseCode.INTERNAL.code
        assert await socket.heard() == []
        await chatter(world, anna)


@TRANSPORTS
async def test_who_shows_no_token_is_gone_after_10_seconds_and_not_before(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        await open_link(world, transport)
        await wait_all_tasks_blocked()
        mock_clock.jump(9.9)
        await wait_all_tasks_blocked()
        [session] = world.daemon.engine._sessions.values()
        assert session.code is None
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert session.code is CloseCode.NOT_AUTHENTICATED


async def test_before_the_login_a_payload_is_small(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        socket, _ = await open_socket(world.stream)
        await socket.send('40{"token":"' + "x" * FIRST_BYTES + '"}')
        assert await socket.closed() == 1009


async def test_the_chat_has_one_namespace(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        somebody = await chatter(world, await world.person("anna"))
        await somebody.heard()
        await somebody.link.send("40/custom")
        assert await somebody.heard() == ['44/custom,{"message":"Invalid namespace"}']


# Requests


@TRANSPORTS
async def test_a_message_is_acked_ahead_of_its_echo_and_reaches_the_others(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna, transport), await chatter(world, bert)
        for somebody in (a, b):
            await somebody.done("session:join", sessionId=str(room))
        await a.heard()
        await a.link.send(
            "4277" + json.dumps(["message:send", {"sessionId": str(room), "content": "tea"}])
        )
        packets = [packet for packet in await a.heard() if not packet.startswith('42["presence')]
        assert [packet[:4] for packet in packets] == ["4377", '42["']
        assert a.contents(packets) == ["tea"]
        assert (await b.event("message:new"))["content"] == "tea"


@TRANSPORTS
async def test_only_durable_events_and_the_greeting_end_in_a_string(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna, transport), await chatter(world, bert)
        for somebody in (a, b):
            await somebody.done("session:join", sessionId=str(room))
        await b.done("typing:start", sessionId=str(room))
        await say(b, room, "tea")
        await a.refused("no:such")
        await a.link.send('42["no:such"]')  # refused by an event
        mock_clock.jump(900 - 60)
        await wait_all_tasks_blocked()
        world.daemon.cut_all()
        await a.heard()
        ends = lasts(a.packets)
        assert {"typing", "typing:start", "typing:update"} & set(ends) or "typing" in str(ends)
        assert {"request:failed", "message:new", "connection:ready"} <= set(ends)
        with_offset = {name for name, last in ends.items() if is_string(last)}
        assert with_offset == {"message:new", "connection:ready"}
        acks = [packet for packet in a.packets if packet.startswith("43")]
        assert acks
        for ack in acks:
            [answer] = json.loads(ack[ack.index("[") :])
            assert isinstance(answer, dict)


@pytest.mark.parametrize("payload", ['"tea"', "7", "null", "[]", "{},{}", "true"])
async def test_a_payload_that_is_no_object_is_refused_and_the_connection_lives(
    tmp_path: Path, mock_clock: MockClock, payload: str
) -> None:
    async with open_chat(tmp_path) as world:
        somebody = await chatter(world, await world.person("anna"))
        await somebody.heard()
        await somebody.link.send(f'427["session:create",{payload}]')
        [ack] = await somebody.heard()
        assert ack.startswith("437[")
        assert json.loads(ack[3:])[0]["error"]["code"] == "validation_failed"
        await somebody.done("session:list")


@TRANSPORTS
async def test_a_binary_event_is_refused_with_an_ack_and_the_connection_lives(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        room = await world.session(anna)
        somebody = await chatter(world, anna, transport)
        blob = '{"_placeholder":true,"num":0}'
        attachment = b"tea" if transport == "websocket" else "bdGVh"
        for data in (blob, f'{{"sessionId":"{room}","content":{blob}}}'):
            await somebody.heard()
            await somebody.link.send(f'451-7["message:send",{data}]', attachment)
            [ack] = await somebody.heard()
            assert json.loads(ack.removeprefix("437"))[0]["error"]["code"] == "validation_failed"
        await somebody.done("session:list")


@pytest.mark.parametrize("text", ["\\ud83d", "\\u0000", "x\\udfff"])
async def test_half_an_emoji_or_a_nul_costs_an_error_and_not_the_connection(
    tmp_path: Path, mock_clock: MockClock, text: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        room = await world.session(anna)
        somebody = await chatter(world, anna)
        await somebody.heard()
        payload = f'{{"sessionId":"{room}","content":"{text}"}}'
        await somebody.link.send(f'427["message:send",{payload}]')
        [ack] = await somebody.heard()
        assert json.loads(ack.removeprefix("437"))[0]["error"]["code"] == "validation_failed"
        await somebody.done("session:list")


async def test_11_attachments_end_the_connection(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        somebody = await chatter(world, await world.person("anna"))
        blobs = ",".join(f'{{"_placeholder":true,"num":{num}}}' for num in range(11))
        await somebody.link.send(f'4511-["x",{blobs}]')
        assert isinstance(somebody.link, WebSocket)
        assert await somebody.link.closed() == CloseCode.BAD_REQUEST.code


async def test_an_ack_of_the_client_means_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        somebody = await chatter(world, await world.person("anna"))
        await somebody.link.send('437["tea"]')
        await somebody.done("session:list")


async def test_a_bug_under_a_handler_leaves_the_daemon_and_the_others_up(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        a = await chatter(world, await world.person("anna"))
        b = await chatter(world, await world.person("bert"))
        store.fail_next("list_sessions", RuntimeError("bug"))
        with structlog.testing.capture_logs() as logs:
            await a.link.send('421["session:list"]')
            await wait_all_tasks_blocked()
            heard = await a.heard()
        errors = [line for line in logs if line["log_level"] == "error"]
        assert len(errors) == 1
        assert heard == [] or "internal" in heard[-1]
        await b.done("session:list")
        await chatter(world, await world.person("carl"))


# Slow clients


async def test_who_does_not_poll_is_evicted_and_comes_back_to_all_of_it(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path, outbox_frames=10) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna, "polling"), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await a.heard()
        contents = [f"message {number}" for number in range(12)]
        await say(b, room, *contents)
        await wait_all_tasks_blocked()
        assert isinstance(a.link, Poller)
        if a.link._parked is not None:  # it had one GET under way
            received = await come(a.link._parked.stream)
            assert received is not None
            first = received.partition(b"\r\n\r\n")[2].decode().split("\x1e")
            for packet in first:
                a._note(packet)
            a.link._parked = None
        for number in range(12):
            await say(b, room, f"more {number}")
        await wait_all_tasks_blocked()
        assert (await a.link.get()).json["code"] == 1
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(anna), a)
        assert answer == {"sid": a.id, "pid": a.pid}
        got = a.contents() + again.contents()
        assert got == [*contents, *(f"more {number}" for number in range(12))]


@TRANSPORTS
async def test_a_client_whose_request_waits_for_the_store_is_not_gone(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store, query_timeout=1000) as world:
        somebody = await chatter(world, await world.person("anna"), transport)
        await somebody.heard()
        store.latency = 100
        await somebody.link.send('421["session:list"]')
        await wait_all_tasks_blocked()
        for _ in range(5):
            mock_clock.jump(24.9)
            await wait_all_tasks_blocked()
        store.latency = 0
        await run_forward(world, mock_clock, 1)
        heard = await somebody.heard() + await somebody.heard()  # a GET had a ping ahead of it
        assert any(packet.startswith("431[") for packet in heard)


# Recovery


async def test_a_client_back_in_time_has_its_sid_and_what_it_missed_ahead_of_connect(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room, other = await world.session(anna, bert), await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await say(b, room, "one")
        await a.event("message:new")
        await leave(a)
        await say(b, room, "two", "three")
        await say(b, other, "elsewhere")
        mock_clock.jump(KEPT - 1)
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(anna), a)
        assert answer == {"sid": a.id, "pid": a.pid}
        assert again.contents() == ["two", "three"]  # all of it came ahead of CONNECT
        assert (await again.event("connection:ready"))["recovered"] is True
        await say(b, room, "four")
        assert (await again.event("message:new"))["content"] == "four"
        assert again.contents() == ["two", "three", "four"]


async def test_a_client_that_got_no_event_misses_nothing(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        b = await chatter(world, bert)
        a = Chatter(await open_link(world, "websocket"))
        await a.connect(world.token(anna))  # it has not read its connection:ready yet
        await a.done("session:join", sessionId=str(room))
        a.offset = None
        await leave(a)
        await say(b, room, "tea")
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(anna), a)
        assert answer == {"sid": a.id, "pid": a.pid}
        assert again.contents() == ["tea"]


async def test_a_client_takes_over_from_a_connection_that_only_looks_alive(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await say(b, room, "lost on the way")
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(anna), a)
        assert answer == {"sid": a.id, "pid": a.pid}
        assert again.contents() == ["lost on the way"]
        assert isinstance(a.link, WebSocket)
        assert await a.link.closed() == CloseCode.SUPERSEDED.code
        assert len(world.daemon.live.sockets.of_user(anna.id)) == 1
        await say(again, room, "tea")
        late = Chatter(await open_link(world, "websocket"))
        assert (await late.comes_back(world.token(anna), a))["pid"] != a.pid  # it was replaced
        third = Chatter(await open_link(world, "websocket"))
        assert (await third.comes_back(world.token(anna), again))["pid"] == a.pid


@pytest.mark.parametrize(("seconds", "is_recovered"), [(KEPT - 0.1, True), (KEPT, False)])
async def test_a_state_is_kept_for_120_seconds_and_not_longer(
    tmp_path: Path, mock_clock: MockClock, seconds: float, is_recovered: bool
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        a = await chatter(world, anna)
        await leave(a)
        mock_clock.jump(seconds)
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(anna), a)
        assert (answer["sid"] == a.id, answer["pid"] == a.pid) == (is_recovered, is_recovered)
        assert (await again.event("connection:ready"))["recovered"] is is_recovered


@pytest.mark.parametrize("what", ["pid", "offset", "user", "too much"])
async def test_a_client_that_cannot_be_recovered_is_a_new_one(
    tmp_path: Path, mock_clock: MockClock, what: str
) -> None:
    async with open_chat(tmp_path, replay_events=2) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await a.heard()
        await leave(a)
        if what == "pid":
            a.pid = "unknown"
        elif what == "offset":
            a.offset = f"{room}:99"
        elif what == "too much":
            await say(b, room, "one", "two", "three")
        again = Chatter(await open_link(world, "websocket"))
        answer = await again.comes_back(world.token(bert if what == "user" else anna), a)
        assert answer["sid"] != a.id
        assert answer["pid"] != a.pid
        assert again.contents() == []
        assert (await again.event("connection:ready"))["recovered"] is False


async def test_a_token_is_asked_for_on_recovery_too_and_a_refusal_costs_no_state(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        a = await chatter(world, anna)
        await leave(a)
        link = await open_link(world, "websocket")
        await link.send(f'40{{"token":"x","pid":"{a.pid}","offset":"{a.offset}"}}')
        [refusal] = await link.heard()
        assert str(refusal).startswith("44{")
        answer = await Chatter(link).comes_back(world.token(anna), a)
        assert answer == {"sid": a.id, "pid": a.pid}


async def test_a_store_that_is_away_during_recovery_costs_no_state(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await leave(a)
        await say(b, room, "tea")
        for method in ("memberships", "changes_since"):
            store.fail_next(method, StoreUnavailable("away"))
            socket, _ = await open_socket(world.stream)
            auth = {"token": world.token(anna), "pid": a.pid, "offset": a.offset}
            await socket.send("40" + json.dumps(auth))
            assert await socket.closed() == CloseCode.INTERNAL.code
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] == a.pid
        assert again.contents() == ["tea"]


async def test_a_client_that_was_removed_meanwhile_is_told_and_gets_nothing_more(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(bert, anna)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await leave(a)
        await b.done("member:remove", sessionId=str(room), userId=str(anna.id))
        await say(b, room, "secret")
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] == a.pid
        assert again.contents() == []
        assert lasts(again.packets)["session:removed"]["sessionId"] == str(room)


async def test_a_client_that_has_said_disconnect_leaves_no_state(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        a = await chatter(world, anna)
        await a.heard()
        await a.link.send("41")
        assert await a.heard() == []
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] != a.pid


async def test_a_client_comes_back_to_the_daemon_that_follows(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a = await chatter(world, anna)
        await a.done("session:join", sessionId=str(room))
    async with open_chat(tmp_path, store) as world:
        b = await chatter(world, bert)
        await say(b, room, "tea")
        foreign = Chatter(await open_link(world, "websocket"))
        assert (await foreign.comes_back(world.token(bert), a))["pid"] != a.pid
        store.fail_next("take_recovery", StoreUnavailable("away"))
        socket, _ = await open_socket(world.stream)
        auth = {"token": world.token(anna), "pid": a.pid, "offset": a.offset}
        await socket.send("40" + json.dumps(auth))
        assert await socket.closed() == CloseCode.INTERNAL.code
        again = Chatter(await open_link(world, "polling"))
        assert await again.comes_back(world.token(anna), a) == {"sid": a.id, "pid": a.pid}
        assert again.contents() == ["tea"]


async def test_a_stop_without_the_store_loses_states_and_nothing_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna = await world.person("anna")
        a = await chatter(world, anna)
        store.fail_next("save_recoveries", StoreUnavailable("away"))
    async with open_chat(tmp_path, store) as world:
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] != a.pid


# Transports and the goodbye


async def test_the_chat_goes_on_through_the_upgrade(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna, "polling"), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        assert isinstance(a.link, Poller)
        await a.heard()
        parked, a.link._parked = a.link._parked, None
        socket = await probe(a.link)
        assert parked is not None
        await parked.read()
        await say(b, room, "one")
        await socket.send("5")
        await say(b, room, "two")
        a.link = socket
        assert (await a.event("message:new"))["content"] == "one"
        assert (await a.event("message:new"))["content"] == "two"
        await say(a, room, "three")


@TRANSPORTS
async def test_the_stop_tells_why_and_sends_no_disconnect_so_that_clients_come_back(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        somebody = await chatter(world, await world.person("anna"), transport)
        await somebody.heard()
        world.daemon.cut_all()
        heard = [packet for packet in await somebody.heard() if packet != "1"]
        assert [json.loads(packet[2:])[1]["code"] for packet in heard] == [4001]
        assert not any(packet.startswith("41") for packet in somebody.packets)


@TRANSPORTS
async def test_who_is_to_stay_away_gets_a_disconnect(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna, family = await world.person("anna"), uuid7()
        somebody = Chatter(await open_link(world, transport))
        await somebody.connect(world.token(anna, family))
        await somebody.event("connection:ready")
        await somebody.heard()
        world.daemon.live.sockets.cut_families([family], CloseCode.REVOKED)
        heard = await somebody.heard()
        assert [packet for packet in heard if packet != "1"][-1] == "41"
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), somebody))["pid"] != somebody.pid


async def test_ids_that_others_see_open_nothing(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_chat(tmp_path) as world:
        somebody = Chatter(await open_link(world, "polling"))
        assert isinstance(somebody.link, Poller)
        await somebody.connect(world.token(await world.person("anna")))
        assert len({somebody.link.sid, somebody.id, somebody.pid}) == 3
        stranger = Poller(world.stream)
        stranger.sid = somebody.id
        assert (await stranger.get()).json["code"] == 1


async def run_forward(world: World, clock: MockClock, seconds: float) -> None:
    """Let time pass for everybody in the world."""
    clock.jump(seconds)
    await wait_all_tasks_blocked()


@TRANSPORTS
async def test_a_silent_chatter_is_gone_after_ping_and_timeout_and_can_come_back(
    tmp_path: Path, mock_clock: MockClock, transport: str
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        a = await chatter(world, anna, transport)
        await a.heard()
        if isinstance(a.link, Poller):
            a.link._parked = None
        await run_forward(world, mock_clock, 25)
        await run_forward(world, mock_clock, 19.9)
        assert len(world.daemon.live.sockets.all()) == 1
        await run_forward(world, mock_clock, 0.1)
        assert world.daemon.live.sockets.all() == []
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] == a.pid


async def test_a_client_that_vanishes_while_it_is_let_in_leaves_nothing(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna = await world.person("anna")
        poller = Poller(world.stream)
        await poller.open()
        store.latency = 1
        await poller.send(f'40{{"token":"{world.token(anna)}"}}')
        parked = await poller.park()
        await trio.aclose_forcefully(parked.stream)
        await run_forward(world, mock_clock, 2)
        assert world.daemon.live.sockets.all() == []
        assert len(world.daemon.engine) == 0
