"""Messages: the ack, idempotency, order, history, the read marker (protocol.md section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import StoreUnavailable
from chatd.events.messages import HistoryAnswer, SendAnswer
from chatd.model import Message
from chatd.rows import SessionKind, UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world


async def pair(world: World, kind: SessionKind = "GROUP") -> tuple[UserRow, UserRow, str]:
    anna, bert = await world.person("anna"), await world.person("bert")
    return anna, bert, str(await world.session(anna, bert, kind=kind))


async def contents(client: Client) -> list[str]:
    """Return what was said since the last call."""
    return [event["content"] for event in await client.heard("message:new")]


async def test_everybody_who_joined_hears_a_message_once_and_others_do_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with (
            world.connect(anna) as a,
            world.connect(anna) as a2,
            world.connect(bert) as b,
            world.connect(bert) as not_joined,
        ):
            for client in (a, a2, b):
                await client.ask("session:join", sessionId=session_id)
            answer = SendAnswer.model_validate(
                await a.ask("message:send", sessionId=session_id, content=" hello \r\n ")
            )
            assert (answer.message.content, answer.message.seq) == ("hello", 1)
            for client in (a, a2, b):
                [heard] = await client.heard("message:new")
                assert Message.model_validate(heard) == answer.message
            assert await contents(not_joined) == []


async def test_on_the_senders_socket_every_ack_is_ahead_of_its_echo(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            await a.ask("session:join", sessionId=session_id)
            for number in range(20):
                await a.emit("message:send", sessionId=session_id, content=str(number))
            order: list[tuple[str, int]] = []
            while len(order) < 40:
                frame = await a.frame()
                if frame.get("ok"):
                    order.append(("ack", frame["data"]["message"]["seq"]))
                elif frame.get("event") == "message:new":
                    order.append(("echo", frame["data"]["seq"]))
            assert [seq for what, seq in order if what == "echo"] == list(range(1, 21))
            for seq in range(1, 21):
                assert order.index(("ack", seq)) < order.index(("echo", seq))


async def test_a_message_by_rest_is_answered_and_heard(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            path = f"/chat/sessions/{session_id}/messages"
            answer = await world.rest("POST", path, {"content": "hi"}, token=world.token(anna))
            assert answer.status == 201
            said = SendAnswer.model_validate(answer.json)
            assert (said.duplicate, said.message.sender.id) == (False, anna.id)
            assert await contents(b) == ["hi"]


# Idempotency


async def test_a_repeat_answers_what_is_stored_and_is_not_heard_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        said = {"sessionId": session_id, "content": "once", "clientMsgId": "k-1"}
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            first = await a.ask("message:send", **said)
            again = await a.ask("message:send", **said)
            assert (first["duplicate"], again["duplicate"]) == (False, True)
            assert again["message"] == first["message"]
            assert await contents(b) == ["once"]


async def test_a_key_with_another_content_or_session_is_a_conflict(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        other_session = str(await world.session(anna, bert))
        said = {"sessionId": session_id, "content": "once", "clientMsgId": "k-1"}
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("message:send", **said)
            for change in ({"content": "other"}, {"sessionId": other_session}):
                code = await a.refusal("message:send", **(said | change))
                assert code == "idempotency_conflict"
            mine = await b.ask("message:send", **(said | {"content": "bert's own key"}))
            assert not mine["duplicate"]
            page = await a.ask("message:history", sessionId=session_id)
            assert [each["seq"] for each in page["messages"]] == [1, 2]


async def test_two_at_once_are_one_row_and_two_equal_acks(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        said = {"sessionId": session_id, "content": "once", "clientMsgId": "k"}
        async with world.connect(anna) as a, world.connect(anna) as a2, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            store.latency = 0.1
            requests = [(client, await client.emit("message:send", **said)) for client in (a, a2)]
            answers = [(await client.answer(request))["data"] for client, request in requests]
            store.latency = 0
            assert sorted(answer["duplicate"] for answer in answers) == [False, True]
            assert answers[0]["message"] == answers[1]["message"]
            assert await contents(b) == ["once"]


async def test_a_send_while_the_store_is_away_is_told_and_can_be_repeated(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        said = {"sessionId": session_id, "content": "again", "clientMsgId": "k"}
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            store.fail_next("append_messages", StoreUnavailable("away"))
            frame = await a.answer(await a.emit("message:send", **said))
            error = frame["error"]
            assert (error["code"], error["retryable"]) == ("unavailable", True)
            assert await contents(b) == []
            assert (await a.ask("message:send", **said))["duplicate"] is False
            assert await contents(b) == ["again"]


# Order


async def test_two_senders_at_once_are_heard_in_one_order_without_holes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore(latency=0.01)
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
            for number in range(25):
                for client in (a, b):
                    await client.emit("message:send", sessionId=session_id, content=str(number))
                await trio.sleep(0.003)
            heard = []
            for client in (a, b):
                events: list[dict[str, Any]] = []
                while len(events) < 50:
                    events.append(await client.event("message:new"))
                heard.append([(event["seq"], event["id"]) for event in events])
            assert heard[0] == heard[1]
            assert [seq for seq, _ in heard[0]] == list(range(1, 51))


# Who may


@pytest.mark.threat("T81")
async def test_who_is_not_a_member_cannot_tell_whether_there_is_such_a_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        _, _, session_id = await pair(world)
        async with world.connect(await world.person("carol")) as c:
            for session in (session_id, "0190a000-0000-7000-8000-000000000000"):
                for event, data in (
                    ("message:send", {"content": "x"}),
                    ("message:history", {}),
                    ("message:read", {"seq": 1}),
                    ("session:join", {}),
                    ("session:get", {}),
                ):
                    assert await c.refusal(event, sessionId=session, **data) == "not_a_member"


async def test_a_reader_reads_and_does_not_write(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        carol = await world.person("carol")
        session = (await world.store.list_sessions(anna.id, before=None, limit=1))[0].session
        await world.store.add_member(
            session.id, carol.id, role="READ_ONLY", at=world.daemon.services.now()
        )
        async with world.connect(carol) as c:
            await c.ask("session:join", sessionId=session_id)
            assert await c.refusal("message:send", sessionId=session_id, content="x") == (
                "session_read_only"
            )


@pytest.mark.parametrize(
    "data",
    [
        {"content": ""},
        {"content": " \n\t "},
        {"content": "x" * 16_385},
        {"content": "nul \0"},
        {"content": "bell \x07"},
        {"content": 7},
        {"content": "x", "clientMsgId": ""},
        {"content": "x", "clientMsgId": "x" * 65},
        {"content": "x", "clientMsgId": "with space"},
        {"content": "x", "senderId": "0190a000-0000-7000-8000-000000000000"},
        {"content": "x", "sessionId": "not an id"},
        {},
    ],
)
async def test_what_is_no_message_is_refused_and_not_stored(
    tmp_path: Path, autojump_clock: MockClock, data: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            sent = {"sessionId": session_id} | data
            assert await a.refusal("message:send", **sent) == "validation_failed"
            page = await a.ask("message:history", sessionId=session_id)
            assert (page["messages"], page["seq"]) == ([], 0)


async def test_a_message_that_grows_too_long_when_it_is_normalised_is_refused_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            growing = "\ufb2c" * 16_384  # NFC makes three characters of it
            code = await a.refusal("message:send", sessionId=session_id, content=growing)
            assert code == "validation_failed"
            answer = await a.ask("message:send", sessionId=session_id, content="fits")
            assert answer["message"]["seq"] == 1


async def test_the_longest_message_is_taken_and_text_is_normalised(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            longest = "x" * 16_384
            answer = await a.ask("message:send", sessionId=session_id, content=longest)
            assert answer["message"]["content"] == longest
            text = "e\u0301\tone\r\ntwo"
            answer = await a.ask("message:send", sessionId=session_id, content=text)
            assert answer["message"]["content"] == "\u00e9\tone\ntwo"


# History and the read marker


async def test_history_goes_by_keyset_in_both_directions(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            ids = []
            for number in range(1, 11):
                answer = await a.ask("message:send", sessionId=session_id, content=str(number))
                ids.append(answer["message"]["id"])

            async def page(**bounds: Any) -> tuple[list[int], bool, bool]:
                answer = HistoryAnswer.model_validate(
                    await a.ask("message:history", sessionId=session_id, **bounds)
                )
                assert (answer.seq, answer.epoch) == (10, world.daemon.services.epoch)
                return [row.seq for row in answer.messages], answer.has_before, answer.has_after

            assert await page(limit=3) == ([8, 9, 10], True, False)
            assert await page(limit=3, beforeSeq=8) == ([5, 6, 7], True, True)
            assert await page(limit=3, beforeSeq=3) == ([1, 2], False, True)
            assert await page(limit=3, afterSeq=0) == ([1, 2, 3], False, True)
            assert await page(limit=3, afterSeq=8) == ([9, 10], True, False)
            assert await page(limit=3, aroundId=ids[4]) == ([4, 5, 6], True, True)
            for bad in ({"beforeSeq": 3, "afterSeq": 1}, {"limit": 101}, {"limit": 0}):
                code = await a.refusal("message:history", sessionId=session_id, **bad)
                assert code == "validation_failed"
            token = world.token(anna)
            path = f"/chat/sessions/{session_id}/messages?afterSeq=8&limit=1"
            by_rest = await world.rest("GET", path, token=token)
            assert [row["seq"] for row in by_rest.json["messages"]] == [9]


async def test_the_read_marker_moves_forward_only_and_not_past_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            for number in range(5):
                await a.ask("message:send", sessionId=session_id, content=str(number))
            read = [
                await b.ask("message:read", sessionId=session_id, seq=seq) for seq in (2, 1, 4, 99)
            ]
            assert [(each["lastReadSeq"], each["unreadCount"]) for each in read] == [
                (2, 3),
                (2, 3),
                (4, 1),
                (5, 0),
            ]
            mine = await a.ask("message:read", sessionId=session_id, seq=0)
            assert mine["unreadCount"] == 0  # one's own messages are read


async def test_a_quiet_room_finds_a_lost_last_event_by_its_position(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            monkeypatch.setattr(world.daemon.services.journal, "_publish", lambda *_, **__: None)
            await a.ask("message:send", sessionId=session_id, content="lost on the way")
            assert await contents(b) == []
            await trio.sleep(10)
            assert await contents(b) == ["lost on the way"]
