"""The client against a server in memory, and once over a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import ConnectionRejected

from chatd.client import (
    Change,
    Client,
    ClientError,
    Connected,
    Connection,
    ConnectionLost,
    Disconnected,
    Follower,
    Item,
    Joined,
    Position,
    Removed,
    Signal,
    Tokens,
    open_client,
)
from chatd.client.connection import (
    ANSWER_TIMEOUT,
    CONNECT_TIMEOUT,
    EVENT_BUFFER,
    PING_INTERVAL,
    PING_TIMEOUT,
)
from chatd.client.follower import BACKOFF_MAX, BACKOFF_MIN, _backoff
from chatd.client.nursery import open_private_nursery
from chatd.client.timeline import replay
from chatd.client.transport import _refused, open_websocket
from tests.fake_server import FakeServer, open_fake_server, say


@asynccontextmanager
async def open_ann() -> AsyncIterator[tuple[FakeServer, Client]]:
    """Ann, registered, on a server with the session s1."""
    async with open_fake_server() as server:
        server.add_session("tea")
        async with open_client(
            "http://chat.test", dial=server.dial, transport=server.transport
        ) as client:
            await client.register("ann@example.org", "correct horse", "Ann")
            yield server, client


async def next_of(follower: Follower, kind: type[Item]) -> Any:
    """Return the next item of a kind; an item of another kind that is not a notice is a failure."""
    async for item in follower:
        if isinstance(item, kind):
            return item
        assert not isinstance(item, Change), item
    raise AssertionError("the follower ended")


async def read_to_the_end(connection: Connection) -> None:
    async for _ in connection.events():
        pass


def refusal(code: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
    return {"code": code, "message": f"it is {code}", "retryable": retryable, **more}


async def no_send(event: object) -> None:
    """Stand in for a peer whose frames no longer arrive."""


# REST


@pytest.mark.parametrize(
    ("typed", "proof"),
    [
        ("123456", {"code": "123456"}),
        ("123 456", {"code": "123456"}),
        ("aaaa-bbbb-cccc-dddd", {"recoveryCode": "aaaa-bbbb-cccc-dddd"}),
        ("1234567", {"recoveryCode": "1234567"}),
    ],
)
async def test_a_second_factor_is_a_code_or_a_recovery_code(
    autojump_clock: MockClock, typed: str, proof: dict[str, str]
) -> None:
    async with open_fake_server() as server:
        async with open_client("http://chat.test", transport=server.transport) as client:
            assert (await client.prove("c1", typed))["name"] == "Ann"
            assert client.tokens is not None
        assert server.proofs == [{"challenge": "c1", **proof}]


async def test_an_api_token_is_used_as_it_is_and_never_renewed(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, _):
        tokens = Tokens.of_api_token("chatd_pat_x")
        async with open_client(
            "http://chat.test", tokens=tokens, dial=server.dial, transport=server.transport
        ) as client:
            await trio.sleep(365 * 86_400)
            assert (await client.me())["name"] == "Ann"
            assert client.tokens == tokens
        assert "POST /auth/refresh" not in server.calls


async def test_a_registered_client_is_logged_in(autojump_clock: MockClock) -> None:
    async with open_ann() as (_, client):
        assert client.user is not None
        assert client.user["name"] == "Ann"
        assert (await client.me())["email"] == "ann@example.org"


async def test_a_client_without_a_login_is_told_so_before_anything_is_sent(
    autojump_clock: MockClock,
) -> None:
    async with (
        open_fake_server() as server,
        open_client("http://chat.test", dial=server.dial, transport=server.transport) as client,
    ):
        with pytest.raises(ClientError, match="log in first"):
            await client.sessions()
        assert server.calls == []


async def test_a_list_is_read_to_its_last_page(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        for name in ("work", "cats", "food", "rest"):
            server.add_session(name)
        assert [s["name"] for s in await client.sessions()] == [
            "tea", "work", "cats", "food", "rest",
        ]  # fmt: skip


async def test_every_rest_call_reaches_its_route(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        session = await client.create_session(kind="GROUP", name="work", member_ids=["u"])
        assert await client.session(session["id"]) == session
        await client.add_member(session["id"], "u")
        stored = await client.post_message(session["id"], "hello", client_msg_id="k")
        again = await client.post_message(session["id"], "hello", client_msg_id="k")
        assert again == stored
        page = await client.history(session["id"], before_seq=9, after_seq=0, limit=5)
        assert page["messages"] == [stored]
        assert [u["name"] for u in await client.users("ann@example.org")] == ["Ann"]
        await client.login("ann@example.org", "correct horse")
        await client.logout()
        assert client.tokens is None
        await client.logout()
        assert server.calls.count("POST /auth/logout") == 1


async def test_a_refusal_keeps_what_the_server_said(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        error = refusal(
            "rate_limited", retryable=True, retryAfterMs=1500, requestId="r1", details={"n": 1}
        )
        server.refusals["/auth/me"] = [{"status": 429, **error}]
        with pytest.raises(ClientError) as caught:
            await client.me()
    refused = caught.value
    assert (refused.code, refused.retryable, refused.retry_after) == ("rate_limited", True, 1.5)
    assert (refused.status, refused.request_id, refused.details) == (429, "r1", {"n": 1})


@pytest.mark.parametrize(
    ("response", "code", "retryable"),
    [
        (httpx2.Response(502, text="<h1>Bad Gateway</h1>"), "bad_answer", True),
        (httpx2.Response(404, text="nothing here"), "bad_answer", False),
        (httpx2.Response(200, text="[]"), "bad_answer", False),
        (httpx2.Response(200, text="{}"), "bad_answer", False),
        (httpx2.ReadTimeout("slow"), "timed_out", True),
        (httpx2.ConnectError("refused"), "unreachable", True),
    ],
)
async def test_an_answer_that_is_not_the_protocol_is_an_error_of_its_own(
    response: httpx2.Response | Exception, code: str, retryable: bool, autojump_clock: MockClock
) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        if isinstance(response, Exception):
            raise response
        return response

    tokens = Tokens("a", "r", datetime.now(UTC) + timedelta(hours=1))
    transport = httpx2.MockTransport(answer)
    async with open_client("http://chat.test", tokens=tokens, transport=transport) as client:
        for call in (client.me, client.sessions):
            with pytest.raises(ClientError) as caught:
                await call()
            assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_a_login_without_tokens_is_a_bad_answer(autojump_clock: MockClock) -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"user": {}}))
    async with open_client("http://chat.test", transport=transport) as client:
        with pytest.raises(ClientError, match="bad_answer"):
            await client.login("ann@example.org", "correct horse")


async def test_calls_at_once_share_one_refresh(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        server.refresh_gate = trio.Event()
        await trio.sleep(880)  # of 900: less than the margin is left
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.me)
            await wait_all_tasks_blocked()
            server.refresh_gate.set()
        assert server.calls.count("POST /auth/refresh") == 1
        assert server.calls.count("GET /auth/me") == 5


async def test_a_token_that_the_server_calls_expired_is_renewed_and_the_call_repeated(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client):
        assert client.tokens is not None
        server.expired.add(client.tokens.access)
        await client.me()
        assert server.calls[-3:] == ["GET /auth/me", "POST /auth/refresh", "GET /auth/me"]


async def test_a_revoked_login_is_forgotten(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        await trio.sleep(880)
        server.refusals["/auth/refresh"] = [
            {"status": 503, **refusal("unavailable", retryable=True)},
            {"status": 401, **refusal("unauthorized")},
        ]
        with pytest.raises(ClientError, match="unavailable"):
            await client.me()
        assert client.tokens is not None
        with pytest.raises(ClientError, match="unauthorized"):
            await client.me()
        assert client.tokens is None


async def test_tokens_of_an_earlier_login_are_enough(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        doors: dict[str, Any] = {"dial": server.dial, "transport": server.transport}
        async with open_client("http://chat.test/", tokens=client.tokens, **doors) as again:
            assert (await again.me())["name"] == "Ann"


# One connection


async def test_a_message_is_answered_and_then_echoed(autojump_clock: MockClock) -> None:
    async with open_ann() as (_, client), client.connect() as connection:
        joined = await connection.join("s1")
        assert connection.ready == {"connectionId": "c1"}
        assert joined["seq"] == 0
        message = await connection.send("s1", "hello", reply_to_id="m0")
        assert message["content"] == "hello"
        names = [(await anext(connection.events())).name for _ in range(2)]
        assert names == ["connection:ready", "message:new"]
        await connection.leave("s1")


async def test_a_refused_request_raises_the_servers_code(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        server.refusals["session:join"] = [refusal("not_a_member")]
        with pytest.raises(ClientError) as caught:
            await connection.join("s1")
        assert caught.value.code == "not_a_member"
        assert connection.error is None


async def test_an_exception_of_the_block_arrives_as_itself(autojump_clock: MockClock) -> None:
    async with open_ann() as (_, client):
        with pytest.raises(KeyError, match="mine"):
            async with client.connect():
                raise KeyError("mine")


async def test_two_exceptions_at_once_stay_a_group() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError

    with pytest.RaisesGroup(KeyError, ValueError):
        async with open_private_nursery() as nursery:
            nursery.start_soon(fail)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                await wait_all_tasks_blocked()
            raise KeyError("mine")


async def test_an_unanswered_request_ends_at_its_deadline_and_not_before(
    mock_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        server.is_mute = True
        caught: list[ClientError] = []

        async def ask() -> None:
            try:
                await connection.join("s1")
            except ClientError as error:
                caught.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            mock_clock.jump(ANSWER_TIMEOUT - 0.1)
            await wait_all_tasks_blocked()
            assert caught == []
            mock_clock.jump(0.2)
        assert caught[0].code == "timed_out"
        assert caught[0].retryable


async def test_a_server_that_never_says_ready_is_given_up(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client):
        server.is_mute = True
        started_at = trio.current_time()
        with pytest.raises(ConnectionLost, match="no connection within"):
            async with client.connect():
                pass
        assert trio.current_time() - started_at < CONNECT_TIMEOUT + 3


async def test_a_server_that_fell_silent_is_noticed_by_the_ping(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ann() as (server, client):
        started_at = trio.current_time()
        async with client.connect() as connection:
            (websocket,) = server.joined
            monkeypatch.setattr(websocket, "_send", no_send)
            with pytest.raises(ConnectionLost) as caught:
                await read_to_the_end(connection)
        assert caught.value.close_code == 4012
        assert trio.current_time() - started_at >= PING_INTERVAL + PING_TIMEOUT


async def test_a_connection_whose_events_nobody_reads_is_closed_with_an_error(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        await connection.join("s1")
        (websocket,) = server.joined
        for _ in range(EVENT_BUFFER):
            await say(websocket, {"event": "user:status", "data": {}})
        await wait_all_tasks_blocked()
        with pytest.raises(ConnectionLost, match="were not read") as caught:
            await read_to_the_end(connection)
        assert caught.value.code == "overflow"
        assert caught.value.retryable


async def test_a_lost_connection_fails_what_waits_on_it(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        server.loses_answers_of.add("message:send")
        with pytest.raises(ConnectionLost):
            await connection.send("s1", "hello")
        with pytest.raises(ConnectionLost):
            await connection.send("s1", "hello again")


async def test_a_frame_that_is_not_json_ends_the_connection(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        (websocket,) = server.joined
        await websocket.send_message("{")
        with pytest.raises(ConnectionLost, match="not a JSON object"):
            await read_to_the_end(connection)


async def test_a_server_that_does_not_read_ends_the_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(data: bytes) -> None:
        await trio.sleep_forever()

    async with open_ann() as (_, client), client.connect() as connection:
        assert connection._websocket is not None
        monkeypatch.setattr(connection._websocket._stream, "send_all", never)
        with pytest.raises(ConnectionLost, match="does not read"):
            await connection.join("s1")


@pytest.mark.parametrize(
    ("code", "is_final"),
    [(4001, False), (4005, False), (4008, False), (4401, False), (1006, False), (1011, False),
     (4403, True), (4500, True), (4501, True), (4504, True), (4999, False)],
)  # fmt: skip
async def test_the_close_code_says_whether_to_come_back(
    code: int, is_final: bool, autojump_clock: MockClock
) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        await server.cut(code, "because")
        with pytest.raises(ConnectionLost) as caught:
            await read_to_the_end(connection)
    assert caught.value.close_code == code
    assert caught.value.is_final is is_final
    assert caught.value.retryable is not is_final


async def test_the_servers_last_words_count_more_than_the_code(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        words = {"code": 4013, "reason": "too fast", "reconnect": True, "retryAfterMs": 3000}
        await say(next(iter(server.joined)), {"event": "connection:closing", "data": words})
        await server.cut(1006)
        with pytest.raises(ConnectionLost, match="too fast") as caught:
            await read_to_the_end(connection)
    assert (caught.value.close_code, caught.value.retry_after) == (4013, 3.0)


async def test_an_expiring_token_is_renewed_on_the_live_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        assert client.tokens is not None
        first = client.tokens.access
        (websocket,) = server.joined
        await say(websocket, {"event": "auth:expiring", "data": {}})
        await wait_all_tasks_blocked()
        assert client.tokens.access != first
        assert server.requests[-1]["event"] == "auth:refresh"
        assert server.requests[-1]["data"] == {"accessToken": client.tokens.access}
        assert connection.error is None


async def test_a_token_that_cannot_be_renewed_ends_the_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.connect() as connection:
        server.refusals["/auth/refresh"] = [{"status": 401, **refusal("unauthorized")}]
        await say(next(iter(server.joined)), {"event": "auth:expiring", "data": {}})
        with pytest.raises(ConnectionLost, match="could not be renewed"):
            await read_to_the_end(connection)


async def test_a_server_that_hangs_up_in_the_handshake_is_noticed_at_once(
    autojump_clock: MockClock,
) -> None:
    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.aclose()
        return ours

    started_at = trio.current_time()
    with pytest.RaisesGroup(ConnectionLost, flatten_subgroups=True, allow_unwrapped=True):
        async with open_websocket(dial, "ws://chat.test/ws"):
            pass
    assert trio.current_time() == started_at


def test_a_refused_upgrade_is_final_unless_the_status_says_later() -> None:
    def refused(status: int, body: bytes | None) -> ConnectionLost:
        return _refused(BaseExceptionGroup("", [ConnectionRejected(status, (), body)]))

    draining = refused(503, b'{"error": {"code": "draining", "message": "later"}}')
    assert (draining.code, draining.is_final, draining.message) == ("draining", False, "later")
    assert refused(404, b"<html>").is_final
    assert refused(404, None).message == "the server refused the connection with status 404"


# Followed across disconnects


async def test_a_follower_hands_on_each_change_once_and_in_order(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        assert (await next_of(follower, Connected)).data == {"connectionId": "c1"}
        assert (await next_of(follower, Joined)).is_first
        await server.say_to_all("s1", "one")
        await server.say_to_all("s1", "two")
        await server.push("message:new", server.messages["s1"][0])  # doubled
        await server.say_to_all("s1", "three")
        seen = [(await next_of(follower, Change)).seq for _ in range(3)]
        assert seen == [1, 2, 3]


async def test_what_was_missed_comes_after_the_notice_and_once(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        await server.say_to_all("s1", "one")
        assert (await next_of(follower, Change)).data["content"] == "one"
        await server.cut(4008)
        server.store("s1", "two")
        server.store("s1", "three")
        lost = await next_of(follower, Disconnected)
        assert lost.error.close_code == 4008
        back = await next_of(follower, Joined)
        assert (back.is_recovered, back.missed, back.is_first) == (True, 2, False)
        changes = [await next_of(follower, Change) for _ in range(2)]
        assert [(c.data["content"], c.is_replay) for c in changes] == [
            ("two", True),
            ("three", True),
        ]
        await server.say_to_all("s1", "four")
        assert (await next_of(follower, Change)).data["content"] == "four"


@pytest.mark.parametrize("lever", ["too much missed", "another epoch"])
async def test_what_cannot_be_recovered_is_told_with_the_newest_page(
    lever: str, autojump_clock: MockClock
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        await server.cut(1006)
        for number in range(3):
            server.store("s1", f"missed {number}")
        if lever == "too much missed":
            server.replay_limit = 2
        else:
            server.epoch = "e2"
        back = await next_of(follower, Joined)
        assert not back.is_recovered
        assert not back.is_first
        assert len(back.messages) == 3
        await server.say_to_all("s1", "live")
        assert (await next_of(follower, Change)).seq == 4


async def test_a_hole_is_filled_from_the_server(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        server.store("s1", "never pushed")
        await server.say_to_all("s1", "pushed")
        await next_of(follower, Joined)
        seen = [await next_of(follower, Change) for _ in range(2)]
        assert [change.seq for change in seen] == [1, 2]


async def test_a_heartbeat_that_is_ahead_brings_what_was_lost_and_another_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        await server.say_to_all("s1", "one")
        await next_of(follower, Change)
        for positions in ({"s1": 1, "unknown": 7}, {"s1": "7"}, "none"):
            await server.push("session:heartbeat", {"positions": positions})
        server.store("s1", "lost")
        await server.push("session:heartbeat", {"positions": {"s1": 2}})
        assert (await next_of(follower, Joined)).missed == 1
        assert (await next_of(follower, Change)).data["content"] == "lost"
        assert len([r for r in server.requests if r["event"] == "session:join"]) == 2


async def test_a_message_whose_answer_was_lost_is_stored_once(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        server.loses_answers_of.add("message:send")
        message = await follower.send("s1", "only once")
        assert [m["content"] for m in server.messages["s1"]] == ["only once"]
        assert message == server.messages["s1"][0]
        sent = [r["data"]["clientMsgId"] for r in server.requests if r["event"] == "message:send"]
        assert len(sent) == 2
        assert len(set(sent)) == 1


async def test_messages_sent_while_offline_go_out_in_their_order(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        server.is_down = True
        await server.cut(1006)
        await next_of(follower, Disconnected)
        assert not follower.is_connected
        async with trio.open_nursery() as nursery:
            for content in ("one", "two", "three"):
                nursery.start_soon(follower.send, "s1", content)
                await wait_all_tasks_blocked()
            await trio.sleep(60)
            server.is_down = False
        assert [m["content"] for m in server.messages["s1"]] == ["one", "two", "three"]
        assert follower.is_connected


async def test_a_refused_message_is_not_tried_again_and_a_rate_limit_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        server.refusals["message:send"] = [
            refusal("rate_limited", retryable=True, retryAfterMs=4000)
        ]
        started_at = trio.current_time()
        await follower.send("s1", "patience")
        assert trio.current_time() - started_at >= 4
        server.refusals["message:send"] = [refusal("muted")]
        with pytest.raises(ClientError, match="muted"):
            await follower.send("s1", "never")


@pytest.mark.parametrize("code", [4403, 4500, 4501, 4504])
async def test_a_follower_that_is_told_to_stay_away_does_not_come_back(
    code: int, autojump_clock: MockClock
) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        await server.cut(code, "go")
        with pytest.raises(ConnectionLost) as caught:
            await next_of(follower, Disconnected)
        assert caught.value.close_code == code
        with pytest.raises(ConnectionLost):
            await follower.send("s1", "hello?")
        await trio.sleep(3600)
        assert server.dials == 1


async def test_an_expired_token_is_renewed_before_coming_back(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        assert client.tokens is not None
        server.expired.add(client.tokens.access)
        await server.cut(4401)
        assert (await next_of(follower, Joined)).is_recovered
        assert server.calls.count("POST /auth/refresh") == 1
        assert server.dials == 2


async def test_a_session_that_is_gone_is_told_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (server, client):
        server.add_session("work")
        async with client.follow("s1", "s2") as follower:
            await next_of(follower, Joined)
            await next_of(follower, Joined)
            await server.push("session:removed", {"sessionId": "s1", "reason": "kicked"})
            assert await next_of(follower, Removed) == Removed("s1", "kicked")
            await server.say_to_all("s1", "not for us")
            await server.say_to_all("s2", "for us")
            assert (await next_of(follower, Change)).session_id == "s2"
            await server.cut(1006)
            server.refusals["session:join"] = [refusal("not_a_member")]
            assert (await next_of(follower, Removed)).session_id == "s2"


async def test_sessions_are_joined_and_left_while_following(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow() as follower:
        server.store("s1", "before")
        server.refusals["session:join"] = [refusal("unavailable", retryable=True)]
        joined = await follower.join("s1")
        assert [m["content"] for m in joined.messages] == ["before"]
        await server.say_to_all("s1", "live")
        assert (await next_of(follower, Change)).data["content"] == "live"
        await follower.leave("s1")
        await server.say_to_all("s1", "unheard")
        await server.push("user:status", {"userId": "u", "status": "AWAY"})
        assert (await next_of(follower, Signal)).event == "user:status"
        server.refusals["session:leave"] = [refusal("unavailable", retryable=True)]
        await follower.leave("s1")
        server.refusals["session:leave"] = [refusal("not_found")]
        with pytest.raises(ClientError, match="not_found"):
            await follower.leave("s1")


async def test_a_signal_is_worth_nothing_later(autojump_clock: MockClock) -> None:
    async with open_ann() as (server, client), client.follow("s1") as follower:
        await next_of(follower, Joined)
        await follower.connected()
        assert await follower.signal("typing:start", {"sessionId": "s1"})
        server.loses_answers_of.add("typing:start")
        assert not await follower.signal("typing:start", {"sessionId": "s1"})
        await next_of(follower, Disconnected)
        assert not await follower.signal("typing:start", {"sessionId": "s1"})
        await follower.leave("s1")


async def test_a_follower_that_left_its_block_iterates_no_further(
    autojump_clock: MockClock,
) -> None:
    async with open_ann() as (_, client):
        async with client.follow("s1") as follower:
            await next_of(follower, Joined)
        with pytest.raises(ConnectionLost, match="closed by the client"):
            await next_of(follower, Joined)


def test_a_join_without_a_seq_is_a_bad_answer() -> None:
    with pytest.raises(ClientError, match="without a seq"):
        replay({"sessionId": "s1"}, None)


def test_replayed_rows_say_what_became_of_them() -> None:
    rows = [
        {"seq": 2, "changedSeq": 9, "deletedAt": "2026-01-02T12:31:00.000Z"},
        {"seq": 7},
        {"seq": 6, "changedSeq": 10, "deletedAt": "2026-01-02T12:31:00.000Z"},
        {"seq": 1, "changedSeq": 8, "deletedAt": None},
        {"seq": 5},
    ]
    answer = {"sessionId": "s1", "epoch": "e", "seq": 10, "recovered": True, "messages": rows}
    _, changes = replay(answer, Position("e", 5))
    assert [(c.seq, c.event) for c in changes] == [
        (7, "message:new"), (8, "message:updated"), (9, "message:deleted"),
        (10, "message:new"),
    ]  # fmt: skip


def test_the_back_off_grows_is_jittered_and_obeys_the_server() -> None:
    lost = ConnectionLost("gone")
    for attempt in range(40):
        pauses = {_backoff(attempt, lost) for _ in range(50)}
        assert len(pauses) > 1
        assert BACKOFF_MIN <= min(pauses) <= max(pauses) <= BACKOFF_MAX
    assert max(_backoff(0, lost) for _ in range(50)) <= 2 * BACKOFF_MIN
    assert _backoff(0, ConnectionLost("gone", retry_after=30)) >= 30


# The real network


async def test_rest_and_dialling_work_over_a_real_socket() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            head = bytes(await stream.receive_some(65_536))
            body = b'{"user": {"name": "Ann"}}' if b"Bearer a" in head else b"{}"
            length = f"content-length: {len(body)}\r\n\r\n".encode()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + length + body)

    tokens = Tokens("a", "r", datetime.now(UTC) + timedelta(hours=1))
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, listeners)
            async with open_client(f"http://127.0.0.1:{port}", tokens=tokens) as client:
                assert (await client.me())["name"] == "Ann"
                with pytest.raises(ConnectionLost):
                    async with client.connect():
                        pass
            nursery.cancel_scope.cancel()


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        tokens = Tokens("a", "r", datetime.now(UTC) + timedelta(hours=1))
        with trio.fail_after(10):
            async with open_client(url, tokens=tokens) as client:
                with pytest.raises(ClientError, match="unreachable"):
                    await client.me()
                with pytest.raises(ConnectionLost, match="unreachable"):
                    async with client.connect():
                        pass
