"""One client of `/ws`: login, limits, refusals, goodbye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from chatd.errors import CloseCode, StoreUnavailable
from chatd.events.server import ConnectionClosing, ConnectionReady
from chatd.ids import uuid7
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from tests.http_kit import HANDSHAKE
from tests.http_kit import Client as RawClient
from tests.people import Client, World, open_world


def masked(head: int, payload: bytes) -> bytes:
    """Return a frame as a client sends it; the mask is zero."""
    assert len(payload) < 126
    return bytes((head, 0x80 | len(payload), 0, 0, 0, 0)) + payload


async def raw_client(world: World, user: UserRow) -> RawClient:
    """Return a client that is logged in and sends and reads bytes; its 101 has been read."""
    client = RawClient(world.stream())
    bearer = f"Authorization: Bearer {world.token(user)}\r\n\r\n".encode()
    await client.send(HANDSHAKE.removesuffix(b"\r\n") + bearer)
    received = b""
    while b"connection:ready" not in received:
        received += await client.stream.receive_some(65_536)
    await wait_all_tasks_blocked()
    return client


async def closing(client: Client) -> ConnectionClosing:
    """Read to the end and return the reason that the server gave; its code is the frame's."""
    code = await client.closed()
    reason = ConnectionClosing.model_validate(client.waiting[-1]["data"])
    assert client.waiting[-1]["event"] == "connection:closing"
    assert reason.code == code
    return reason


async def test_half_an_emoji_costs_an_error_and_not_the_connection(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            request = await client.emit("message:send", sessionId=session_id, content="a\ud83d")
            refused = (await client.answer(request))["error"]
            assert refused["code"] == "validation_failed"
            assert [each["field"] for each in refused["details"]["fields"]] == ["content"]
            request = await client.emit("session:list", **{"\ud83d": 1})
            refused = (await client.answer(request))["error"]
            assert refused["code"] == "validation_failed"
            await client.ask("message:send", sessionId=session_id, content="a\ud83d\ude00")


# Login


async def test_a_client_that_brings_no_token_is_gone_after_the_timeout_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world, world.socket() as client:
        await wait_all_tasks_blocked()
        mock_clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert client._socket.closed is None
        mock_clock.jump(0.1)
        assert (await closing(client)).code == CloseCode.NOT_AUTHENTICATED.code


async def test_the_first_frame_may_carry_the_token(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.socket() as client:
            assert await client.ask("auth", token=world.token(anna)) == {}
            ready = ConnectionReady.model_validate(await client.event("connection:ready"))
            assert ready.epoch == world.daemon.services.epoch
            assert ready.sessions == []
            assert ready.timings["pingIntervalMs"] == 25_000
            assert await client.ask("session:list") == {"sessions": [], "nextCursor": None}


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_scheme_of_the_token_in_the_handshake_has_no_case(
    tmp_path: Path, autojump_clock: MockClock, scheme: str
) -> None:
    async with open_world(tmp_path) as world:
        client = RawClient(world.stream())
        token = world.token(await world.person("anna"))
        await client.send(with_authorization(f"{scheme} {token}"))
        assert b"connection:ready" in await heard(client)


@pytest.mark.parametrize("header", ["Basic YW5uYTp0ZWE=", "Bearerx abc", "Negotiate"])
async def test_what_a_proxy_authorizes_with_leaves_the_token_to_the_first_frame(
    tmp_path: Path, autojump_clock: MockClock, header: str
) -> None:
    async with open_world(tmp_path) as world:
        client = RawClient(world.stream())
        auth = b'{"event":"auth","id":1,"data":{"token":"%b"}}'
        auth %= world.token(await world.person("anna")).encode()
        long = bytes((0x81, 0xFE)) + len(auth).to_bytes(2, "big") + bytes(4) + auth
        await client.send(with_authorization(header) + long)
        assert b"connection:ready" in await heard(client)


def with_authorization(header: str) -> bytes:
    """Return a handshake with this header."""
    return HANDSHAKE.removesuffix(b"\r\n") + f"Authorization: {header}\r\n\r\n".encode()


async def heard(client: RawClient) -> bytes:
    """Return what a client is told in the first second."""
    received = b""
    with trio.move_on_after(1):
        while piece := await client.stream.receive_some(65_536):
            received += piece
    return received


async def test_requests_that_come_with_the_token_are_answered_in_their_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        client = RawClient(world.stream())
        auth = b'{"event":"auth","id":1,"data":{"token":"%b"}}' % world.token(anna).encode()
        long = bytes((0x81, 0xFE)) + len(auth).to_bytes(2, "big") + bytes(4) + auth
        more = masked(0x81, b'{"event":"session:list","id":2}')
        await client.send(HANDSHAKE + long + more)
        received = b""
        while b'"id":2' not in received:
            received += await client.stream.receive_some(65_536)
        order = [received.index(part) for part in (b'"id":1', b"connection:ready", b'"id":2')]
        assert order == sorted(order)


async def test_ready_tells_where_the_user_stands(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = await world.session(anna, bert)
        async with world.connect(anna) as a:
            for content in ("one", "two"):
                await a.ask("message:send", sessionId=str(session_id), content=content)
        async with world.socket(world.token(bert)) as b:
            ready = ConnectionReady.model_validate(await b.event("connection:ready"))
            [position] = ready.sessions
            assert (position.session_id, position.seq, position.unread_count) == (session_id, 2, 2)


@pytest.mark.parametrize(
    "frame",
    [
        {"event": "auth", "id": 1, "data": {"token": "garbage"}},
        {"event": "auth", "id": 1, "data": {"token": 7}},
        {"event": "auth", "id": 1, "data": []},
        {"event": "session:list", "id": 1},
    ],
)
async def test_a_first_frame_without_a_good_token_is_refused_and_closed(
    tmp_path: Path, autojump_clock: MockClock, frame: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world, world.socket() as client:
        await client.send_raw(json.dumps(frame))
        answer = await client.answer(1)
        assert answer["error"]["code"] == "unauthorized"
        reason = await closing(client)
        assert (reason.code, reason.reconnect) == (CloseCode.NOT_AUTHENTICATED.code, False)


@pytest.mark.parametrize("is_first_frame", [True, False])
async def test_an_expired_token_closes_with_the_code_that_tells_to_refresh(
    tmp_path: Path, autojump_clock: MockClock, is_first_frame: bool
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        await trio.sleep(900)
        async with world.socket(None if is_first_frame else token) as client:
            if is_first_frame:
                assert await client.refusal("auth", token=token) == "token_expired"
            reason = await closing(client)
            assert (reason.code, reason.reconnect) == (CloseCode.TOKEN_EXPIRED.code, True)


async def test_a_bad_token_in_the_handshake_closes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world, world.socket("garbage") as client:
        assert (await closing(client)).code == CloseCode.NOT_AUTHENTICATED.code


async def test_a_revoked_login_does_not_come_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, family_id = await world.person("anna"), uuid7()
        async with world.connect(anna, family_id) as client, world.connect(anna) as other:
            world.daemon.live.sockets.cut_families([family_id], CloseCode.REVOKED)
            assert (await closing(client)).code == CloseCode.REVOKED.code
            assert await other.heard("connection:closing") == []
        async with world.socket(world.token(anna, family_id)) as client:
            reason = await closing(client)
            assert (reason.code, reason.reconnect) == (CloseCode.REVOKED.code, False)


async def test_a_login_revoked_while_it_connects_does_not_get_in(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, family_id = await world.person("anna"), uuid7()
        store.latency = 1
        async with world.socket(world.token(anna, family_id)) as client:
            await wait_all_tasks_blocked()
            world.daemon.live.sockets.cut_families([family_id], CloseCode.REVOKED)
            mock_clock.jump(1)
            assert (await closing(client)).code == CloseCode.REVOKED.code
        store.latency = 0


async def test_the_token_of_an_account_that_is_gone_is_as_good_as_revoked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        services = world.daemon.services
        token, _ = services.tokens.issue(uuid7(), uuid7(), uuid7(), services.now())
        async with world.socket(token) as client:
            assert (await closing(client)).code == CloseCode.REVOKED.code


async def test_a_store_that_is_away_at_the_connect_lets_the_client_come_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        store.fail_next("first_states", StoreUnavailable("away"))
        async with world.socket(world.token(anna)) as client:
            assert await client.closed() == CloseCode.INTERNAL.code
        async with world.connect(anna) as client:
            await client.ask("session:list")


async def test_a_user_has_no_more_sockets_than_the_setting_says(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, max_sockets_per_user=2) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        async with world.connect(anna) as first, world.connect(anna):
            async with world.socket(world.token(anna)) as third:
                reason = await closing(third)
                assert reason.code == CloseCode.TOO_MANY_CONNECTIONS.code
                assert not reason.reconnect
            async with world.connect(bert):
                pass
            await first.aclose()
            await wait_all_tasks_blocked()
            async with world.connect(anna):
                pass


@pytest.mark.parametrize(
    ("origin", "is_welcome"),
    [
        ("https://chatd.test", True),
        ("https://front.test", True),
        ("https://evil.test", False),
        ("null", False),
    ],
)
async def test_only_our_own_pages_and_listed_ones_open_a_websocket(
    tmp_path: Path, autojump_clock: MockClock, origin: str, is_welcome: bool
) -> None:
    async with open_world(tmp_path, cors_origins=("https://front.test",)) as world:
        client = RawClient(world.stream())
        await client.send(HANDSHAKE.replace(b"chat.test", b"chatd.test").removesuffix(b"\r\n"))
        await client.send(f"Origin: {origin}\r\n\r\n".encode())
        expected = b"HTTP/1.1 101 " if is_welcome else b"HTTP/1.1 403 "
        assert await client.read_bytes(len(expected)) == expected


# Requests


async def test_an_event_that_there_is_not_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path) as world,
        world.connect(await world.person("anna")) as client,
    ):
        assert await client.refusal("no:such") == "validation_failed"


async def test_a_request_without_an_id_gets_no_answer_but_its_error(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)
        async with world.connect(anna) as client:
            await client.send_raw('{"event":"session:list"}')
            await client.send_raw(
                '{"event":"message:send","data":{"sessionId":"%s","content":"x"}}' % session_id  # noqa: UP031 - braces
            )
            await client.send_raw('{"event":"message:send","data":{}}')
            while "event" in (frame := await client.frame()):
                assert frame["event"] == "user:status"
            assert (frame["id"], frame["ok"]) == (None, False)
            fields = {each["field"] for each in frame["error"]["details"]["fields"]}
            assert fields == {"sessionId", "content"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"not json", CloseCode.BAD_REQUEST),
        (b"[1]", CloseCode.BAD_REQUEST),
        (b'{"id": 1}', CloseCode.BAD_REQUEST),
        (b"\xff\xfe", CloseCode.INVALID_DATA),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
async def test_what_is_no_request_closes_the_connection(
    tmp_path: Path, autojump_clock: MockClock, payload: bytes, code: CloseCode, is_first: bool
) -> None:
    async with open_world(tmp_path) as world:
        if is_first:
            client = RawClient(world.stream())
            await client.send(HANDSHAKE)
        else:
            client = await raw_client(world, await world.person("anna"))
        await client.send(masked(0x81, payload))
        received = await client.read_until_closed()
        assert received.endswith(code.code.to_bytes(2, "big") + code.reason.encode())


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (masked(0x82, b"binary"), CloseCode.UNSUPPORTED_DATA),
        (bytes((0x81, 0xFF)) + (1 << 62).to_bytes(8, "big") + bytes(4), CloseCode.TOO_BIG),
        (b"\x81\x05hello", CloseCode.PROTOCOL_ERROR),
    ],
)
async def test_what_is_no_websocket_closes_with_one_close_frame(
    tmp_path: Path, autojump_clock: MockClock, frame: bytes, code: CloseCode
) -> None:
    async with open_world(tmp_path) as world:
        client = await raw_client(world, await world.person("anna"))
        await client.send(frame)
        received = await client.read_until_closed()
        reason = code.code.to_bytes(2, "big") + code.reason.encode()
        assert received[-2 - len(reason) :] == bytes((0x88, len(reason))) + reason
        assert received.count(reason) == 1


async def test_a_ping_is_answered_and_a_close_frame_is_echoed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        client = await raw_client(world, await world.person("anna"))
        await client.send(masked(0x89, b"are you there"))
        await wait_all_tasks_blocked()
        assert (await client.stream.receive_some(65_536)).endswith(b"\x8a\x0dare you there")
        await client.send(masked(0x88, b"\x03\xe8"))
        assert await client.read_until_closed() == b"\x88\x02\x03\xe8"
        assert world.daemon.live.sockets.all() == []


async def test_a_message_sent_right_before_the_close_frame_is_stored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)
        client = await raw_client(world, anna)
        text = b'{"event":"message:send","data":{"sessionId":"%b","content":"bye"}}' % (
            str(session_id).encode()
        )
        await client.send(masked(0x81, text) + masked(0x88, b"\x03\xe8"))
        await client.read_until_closed()
        page = await world.store.history(session_id, anna.id)
        assert page is not None
        assert [row.content for row in page.messages] == ["bye"]


async def test_a_client_that_hangs_up_leaves_nothing_behind(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            await client.ask("session:join", sessionId=session_id)
        await wait_all_tasks_blocked()
        page = world.daemon.services.metrics.render().decode()
        for gauge in ('chatd_connections{transport="ws"}', "chatd_joins", "chatd_rooms"):
            assert f"{gauge} 0.0\n" in page
        assert 'chatd_closes_total{code="1000"} 1.0\n' in page


async def test_one_connection_has_a_rate_of_its_own(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        async with world.connect(anna) as a, world.connect(bert) as b:
            for _ in range(500):
                await a.emit("no:such")
            await wait_all_tasks_blocked()
            frame = await a.answer(await a.emit("session:list"))
            assert frame["error"]["code"] == "rate_limited"
            assert frame["error"]["retryAfterMs"] > 0
            await b.ask("session:list")


async def test_a_bug_in_an_operation_is_logged_and_answered_and_the_connection_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with (
        open_world(tmp_path, store) as world,
        world.connect(await world.person("anna")) as client,
    ):
        store.fail_next("list_sessions", ZeroDivisionError("a bug"))
        with structlog.testing.capture_logs() as logs:
            frame = await client.answer(await client.emit("session:list"))
        assert frame["error"]["code"] == "internal"
        assert "a bug" not in str(frame)
        [bug] = [log for log in logs if log["log_level"] == "error"]
        assert bug["request"] == frame["error"]["requestId"]
        await client.ask("session:list")


async def test_a_store_that_is_away_is_answered_with_unavailable(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with (
        open_world(tmp_path, store) as world,
        world.connect(await world.person("anna")) as client,
    ):
        store.fail_next("list_sessions", StoreUnavailable("away"))
        frame = await client.answer(await client.emit("session:list"))
        error = frame["error"]
        assert (error["code"], error["retryable"]) == ("unavailable", True)
        assert error["retryAfterMs"] == 1000


# Pressure


@pytest.mark.parametrize(("max_inflight", "is_read"), [(2, False), (64, True)])
async def test_with_too_many_sends_under_way_the_client_is_not_read(
    tmp_path: Path, mock_clock: MockClock, max_inflight: int, is_read: bool
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, max_inflight=max_inflight) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            store.latency = 1
            sends = [
                await client.emit("message:send", sessionId=session_id, content=str(number))
                for number in range(3)
            ]
            other = await client.emit("no:such")
            answered: list[int] = []

            async def read() -> None:
                while True:
                    frame = await client.frame()
                    if "id" in frame:
                        answered.append(frame["id"])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                assert answered == ([other] if is_read else [])
                for _ in range(3):
                    mock_clock.jump(1)
                    await wait_all_tasks_blocked()
                assert sorted(answered) == [*sends, other]
                nursery.cancel_scope.cancel()


async def test_a_client_that_reads_too_slowly_is_cut_and_delays_nobody(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, outbox_frames=8) as world:
        anna, bert, slow = [await world.person(name) for name in ("anna", "bert", "slow")]
        session_id = str(await world.session(anna, bert, slow))
        ours, theirs = lockstep_stream_pair()  # a write waits until it is read
        world.nursery.start_soon(
            world.daemon.http.serve_connection, theirs, "192.0.2.9", "the slow one"
        )
        join = b'{"event":"session:join","id":1,"data":{"sessionId":"%b"}}' % session_id.encode()

        async def shake_hands() -> None:
            bearer = f"Authorization: Bearer {world.token(slow)}\r\n\r\n".encode()
            await ours.send_all(HANDSHAKE.removesuffix(b"\r\n") + bearer)

        async with world.connect(anna) as a, world.connect(bert) as b:
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shake_hands)
                received = b""
                while b"connection:ready" not in received:
                    received += await ours.receive_some(65_536)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send_all, masked(0x81, join))
                while b'"id":1' not in received:
                    received += await ours.receive_some(65_536)
            for number in range(20):  # from here on the slow one reads nothing
                await a.ask("message:send", sessionId=session_id, content=str(number))
            heard = [event["content"] for event in await b.heard("message:new")]
            assert heard == [str(number) for number in range(20)]
            users = {socket.identity.user_id for socket in world.daemon.live.sockets.all()}
            assert users == {anna.id, bert.id}
            page = world.daemon.services.metrics.render().decode()
            assert 'chatd_closes_total{code="4008"} 1.0\n' in page


async def test_an_ephemeral_event_that_does_not_fit_is_dropped_and_counted(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, outbox_frames=8) as world:
        async with world.connect(await world.person("anna")) as client:
            await client.heard()
            [connection] = world.daemon.live.sockets.all()
            notice = b'{"deadline":"2026-01-01T00:00:00.000Z"}'
            for _ in range(6):  # nothing is written in between: from the fourth on it is half full
                connection.push_ephemeral("server:draining", notice)
            assert len(await client.heard("server:draining")) == 4
        assert "chatd_dropped_total 2.0\n" in world.daemon.services.metrics.render().decode()
