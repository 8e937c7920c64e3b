"""Read markers and unread counts as clients see them (protocol.md sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from chatd.contract.reading import UnreadQuestion
from chatd.errors import StoreUnavailable
from chatd.nurseries import positions, readers, unread
from chatd.rows import UnreadPage, UserRow
from chatd.store.memory import MemoryStore
from chatd.testing import open_chatd
from tests.people import Client, World, open_world


async def trio_of(world: World) -> tuple[UserRow, UserRow, str]:
    """Return anna, bert and a session in which they are with carl."""
    anna, bert, carl = [await world.person(name) for name in ("anna", "bert", "carl")]
    return anna, bert, str(await world.session(anna, bert, carl))


async def say(client: Client, session_id: str, *contents: str) -> list[dict[str, Any]]:
    """Send messages and return them."""
    return [
        (await client.ask("message:send", sessionId=session_id, content=each))["message"]
        for each in contents
    ]


async def line_of(client: Client) -> dict[str, Any]:
    """Return the client's one line in the list of sessions."""
    [line] = (await client.ask("session:list"))["sessions"]
    result: dict[str, Any] = line
    return result


# Markers


async def test_a_marker_is_told_to_own_devices_at_once_and_to_who_joined_after_half_a_second(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await b.ask("session:join", sessionId=tea)
            await say(a, tea, "1", "2", "3")
            for seq in (1, 2):
                answer = await b.ask("message:read", sessionId=tea, seq=seq)
                assert (answer["unreadCount"], answer["lastReadSeq"]) == (3 - seq, seq)
            first, second = await b2.heard("message:read")
            assert (first["seq"], first["unreadCount"]) == (1, 2)
            read_at = second.pop("readAt")
            assert second == {
                "sessionId": tea,
                "userId": str(bert.id),
                "seq": 2,
                "unreadCount": 1,
                "mentionCount": 0,
                "markedUnread": False,
            }
            mock_clock.jump(readers.INTERVAL - 0.01)
            assert await a.heard("message:read") == []
            mock_clock.jump(0.01)
            told = {"sessionId": tea, "userId": str(bert.id), "seq": 2, "readAt": read_at}
            assert await a.heard("message:read") == [told]
            assert await b.heard("message:read") == await b2.heard("message:read") == []


async def test_a_marker_moves_forward_only_and_what_moves_nothing_is_not_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await say(a, tea, "1", "2")
            await b.ask("message:read", sessionId=tea, seq=2)
            await trio.sleep(1)
            assert len(await b2.heard("message:read")) == len(await a.heard("message:read")) == 1
            for seq in (2, 1, 0, 9):
                answer = await b.ask("message:read", sessionId=tea, seq=seq)
                assert (answer["unreadCount"], answer["lastReadSeq"]) == (0, 2)
            await trio.sleep(1)
            assert await b2.heard("message:read") == await a.heard("message:read") == []


async def test_who_reads_in_private_is_told_to_their_own_devices_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=tea)
            await say(a, tea, "1")
            path, body = f"/chat/sessions/{tea}/read", {"seq": 1, "private": True}
            answer = await world.rest("POST", path, body, token=world.token(bert))
            assert (answer.status, answer.json["lastReadSeq"]) == (200, 1)
            await trio.sleep(1)
            [heard] = await b.heard("message:read")
            assert (heard["seq"], heard["unreadCount"]) == (1, 0)
            assert await a.heard("message:read") == []


async def test_in_a_large_session_only_own_devices_are_told_of_a_marker(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MEMBERS", 2)
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await say(a, tea, "1")
            await b.ask("message:read", sessionId=tea, seq=1)
            await trio.sleep(1)
            assert len(await b2.heard("message:read")) == 1
            assert await a.heard("message:read") == []


async def test_a_session_is_marked_unread_from_a_message_on_until_it_is_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await say(a, tea, "1", "2", "3")
            await b.ask("message:read", sessionId=tea, seq=3)
            await trio.sleep(1)
            await a.heard()
            await b2.heard()
            path, token = f"/chat/sessions/{tea}/unread", world.token(bert)
            answer = await world.rest("POST", path, {"seq": 2}, token=token)
            assert (answer.json["unreadCount"], answer.json["lastReadSeq"]) == (2, 1)
            [heard] = await b2.heard("message:read")
            assert (heard["seq"], heard["unreadCount"], heard["markedUnread"]) == (1, 2, True)
            line = await line_of(b)
            assert (line["unreadCount"], line["markedUnread"]) == (2, True)
            assert not (await line_of(a))["markedUnread"]
            again = await b.ask("message:unread", sessionId=tea, seq=3)
            assert again["lastReadSeq"] == 1
            await trio.sleep(1)
            assert await a.heard("message:read") == []
            await b.ask("message:read", sessionId=tea, seq=3)
            line = await line_of(b)
            assert (line["unreadCount"], line["markedUnread"]) == (0, False)


@pytest.mark.parametrize(
    ("event", "data", "code"),
    [
        ("message:unread", {"seq": 0}, "validation_failed"),
        ("message:unread", {}, "validation_failed"),
        ("message:read", {"seq": 1, "private": "yes"}, "validation_failed"),
        ("message:unread", {"seq": 1}, "not_a_member"),
        ("message:read", {"seq": 1}, "not_a_member"),
    ],
)
async def test_what_is_no_marker_is_refused(
    tmp_path: Path, autojump_clock: MockClock, event: str, data: dict[str, Any], code: str
) -> None:
    async with open_world(tmp_path) as world:
        _, _, tea = await trio_of(world)
        stranger = await world.person("stranger")
        async with world.connect(stranger) as s:
            assert await s.refusal(event, sessionId=tea, **data) == code


# Unread counts


async def test_a_burst_is_one_read_and_one_push_of_absolute_values_to_sockets_elsewhere(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await b2.ask("session:join", sessionId=tea)
            *_, last = await say(a, tea, "1", "2", "3")
            mock_clock.jump(unread.INTERVAL - 0.01)
            assert await b.heard("session:unread") == []
            mock_clock.jump(0.01)
            assert await b.heard("session:unread") == [
                {
                    "sessionId": tea,
                    "unreadCount": 3,
                    "mentionCount": 0,
                    "lastReadSeq": 0,
                    "lastMessage": last,
                }
            ]
            assert store.calls["unread_states"] == 1
            assert await a.heard("session:unread") == await b2.heard("session:unread") == []
            await b.ask("session:join", sessionId=tea)
            await say(a, tea, "4")
            mock_clock.jump(1)
            assert await b.heard("session:unread") == []
            assert store.calls["unread_states"] == 1  # nobody to tell: nothing to read


async def test_what_deletes_edits_reads_or_marks_unread_is_told_as_well(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await a.ask("session:join", sessionId=tea)
            await b2.ask("session:join", sessionId=tea)
            one, _ = await say(a, tea, "1", "2")
            assert (await b.event("session:unread"))["unreadCount"] == 2
            await a.ask("message:delete", messageId=one["id"])
            assert (await b.event("session:unread"))["unreadCount"] == 1
            [three] = await say(a, tea, "3")
            assert (await b.event("session:unread"))["unreadCount"] == 2
            await a.ask("message:edit", messageId=three["id"], content="III")
            assert (await b.event("session:unread"))["lastMessage"]["content"] == "III"
            await b2.ask("message:read", sessionId=tea, seq=9)
            told = await b.event("session:unread")
            assert (told["unreadCount"], told["lastReadSeq"]) == (0, 5)
            await b2.ask("message:unread", sessionId=tea, seq=5)
            told = await b.event("session:unread")
            assert (told["unreadCount"], told["lastReadSeq"]) == (0, 4)  # an edit is no message
            await b2.ask("message:unread", sessionId=tea, seq=4)
            assert (await b.event("session:unread"))["unreadCount"] == 1
            await b2.ask("message:react", messageId=three["id"], emoji="👍", on=True)
            await trio.sleep(1)
            assert await b.heard("session:unread") == []


async def test_in_a_large_session_only_who_has_moved_their_marker_is_told(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "LARGE", 2)
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            await say(a, tea, "1", "2")
            await trio.sleep(1)
            assert await b.heard("session:unread") == await a.heard("session:unread") == []
            await b2.ask("message:read", sessionId=tea, seq=1)
            await say(a, tea, "3")
            assert (await b.event("session:unread"))["unreadCount"] == 2
            assert (await b2.event("session:unread"))["unreadCount"] == 2
            assert await a.heard("session:unread") == []


async def test_counts_that_cannot_be_read_are_told_with_the_next_change(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=tea)
            store.fail_next("unread_states", StoreUnavailable("away"))
            with capture_logs() as logs:
                await say(a, tea, "1")
                await trio.sleep(1)
            assert [(each["event"], each["members"]) for each in logs] == [("unread not told", 1)]
            assert await b.heard("session:unread") == []
            await say(a, tea, "2")
            assert (await b.event("session:unread"))["unreadCount"] == 2


async def test_more_members_than_one_read_takes_are_told_by_several(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "QUESTIONS", 1)
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await say(a, tea, "1")
            assert (await a.event("session:unread"))["unreadCount"] == 0
            assert (await b.event("session:unread"))["unreadCount"] == 1
            assert store.calls["unread_states"] == 2


async def test_who_has_left_is_told_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await say(a, tea, "1")
            await b.ask("member:remove", sessionId=tea)
            await say(a, tea, "2")
            await trio.sleep(1)
            assert await b.heard("session:unread") == []


async def test_a_socketio_client_hears_markers_and_counts_too(autojump_clock: MockClock) -> None:
    async with open_chatd() as server:
        anna, bert = await server.person("anna"), await server.person("bert")
        tea = str(await server.session(anna, bert))
        async with (
            anna.connect() as a,
            bert.connect(wire="socketio") as b,
            bert.connect(wire="socketio") as b2,
        ):
            await a.ask("message:send", sessionId=tea, content="1")
            told = await b.event("session:unread")
            assert (told["unreadCount"], told["lastMessage"]["content"]) == (1, "1")
            await b2.ask("message:read", sessionId=tea, seq=1)
            assert (await b.event("message:read"))["unreadCount"] == 0
            assert (await b.event("session:unread"))["unreadCount"] == 0


async def test_the_first_state_has_the_same_counts(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a:
            one, *_ = await say(a, tea, "1", "2", "3")
            await a.ask("message:delete", messageId=one["id"])
        async with world.socket(world.token(bert)) as b:
            [position] = (await b.event("connection:ready"))["sessions"]
            assert (position["unreadCount"], position["mentionCount"]) == (2, 0)
            joined = await b.ask("session:join", sessionId=tea)
            assert (joined["unreadCount"], joined["lastReadSeq"]) == (2, 0)


class HeldStore(MemoryStore):
    """A store whose answer about what is unread is held back."""

    answer: trio.Event | None = None

    async def unread_states(self, questions: Sequence[UnreadQuestion], *, large: int) -> UnreadPage:
        page = await super().unread_states(questions, large=large)
        if self.answer is not None:
            await self.answer.wait()
        return page


@pytest.mark.parametrize("event", ["member:remove", "session:delete"])
async def test_nothing_follows_the_end_also_when_it_comes_while_counts_are_read(
    tmp_path: Path, autojump_clock: MockClock, event: str
) -> None:
    store = HeldStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, tea = await trio_of(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            store.answer = trio.Event()
            await say(a, tea, "1")
            await trio.sleep(2 * unread.INTERVAL)
            whom = {} if event == "session:delete" else {"userId": str(bert.id)}
            await a.ask(event, sessionId=tea, **whom)
            store.answer.set()
            await trio.sleep(2 * unread.INTERVAL)
            here = [each for each in await b.heard() if each["data"].get("sessionId") == tea]
            assert [each["event"] for each in here] == ["session:removed"]
            if event == "member:remove":  # the end of one is not the end of the others
                assert len(await a.heard("session:unread")) == 1


# Positions


async def test_a_heartbeat_tells_all_joined_sessions_when_something_has_changed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, tea = await trio_of(world)
        cake = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            for session_id in (tea, cake):
                await b.ask("session:join", sessionId=session_id)
            await say(a, tea, "1", "2")
            began = trio.current_time()
            assert (await b.event("session:heartbeat"))["positions"] == {tea: 2, cake: 0}
            first = trio.current_time()
            assert first - began <= positions.INTERVAL
            await trio.sleep(3 * positions.INTERVAL)
            assert await b.heard("session:heartbeat") == []
            await say(a, cake, "1")
            await b.ask("session:leave", sessionId=tea)
            assert (await b.event("session:heartbeat"))["positions"] == {cake: 1}
            assert (trio.current_time() - first) % positions.INTERVAL == pytest.approx(0, abs=0.1)
            assert await a.heard("session:heartbeat") == []  # it has joined nothing
