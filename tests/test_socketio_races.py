"""Socket.IO when things happen at once: recoveries, upgrades, closes, crowds, doubtful commits."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import StoreAmbiguous, StoreUnavailable
from chatd.ids import uuid7
from chatd.nurseries import room as room_module
from chatd.nurseries.chat_engine import FIRST_BYTES
from chatd.nurseries.chat_recovery import ChatState
from chatd.nurseries.first_states import BATCH, open_first_states
from chatd.nurseries.recovery import MAX_SAVED, Recoveries
from chatd.rows import ChangesPage
from chatd.store.memory import MemoryStore
from tests.people import World
from tests.socketio_kit import (
    Chatter,
    Poller,
    WebSocket,
    chatter,
    leave,
    open_chat,
    open_link,
    probe,
)

SMALL = 10_000  # bytes


class SlowStore(MemoryStore):
    """A store whose answer about the changes of one session takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: UUID | None = None
        self.go = trio.Event()

    async def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        page = await super().changes_since(session_id, seq, limit)
        if session_id == self.slow:
            await self.go.wait()
        return page


async def say(somebody: Chatter, session_id: UUID, *contents: str) -> None:
    """Send messages, each of which must be stored."""
    for content in contents:
        await somebody.done("message:send", sessionId=str(session_id), content=content)


class Return:
    """Anna comes back to two rooms; the second one's page is being read."""

    def __init__(self, world: World, store: SlowStore) -> None:
        self._world = world
        self._store = store

    async def begin(self, *, is_bert_joined: bool) -> None:
        world, store = self._world, self._store
        self.anna, bert = await world.person("anna"), await world.person("bert")
        self.room = await world.session(bert, self.anna)
        other = await world.session(bert, self.anna)
        before = await chatter(world, self.anna)
        self.bert = await chatter(world, bert)
        await before.done("session:join", sessionId=str(self.room))
        await before.done("session:join", sessionId=str(other))
        if is_bert_joined:
            await self.bert.done("session:join", sessionId=str(self.room))
        await before.heard()
        await leave(before)
        await say(self.bert, self.room, "one")
        await say(self.bert, other, "elsewhere")
        store.slow = other
        self.again = Chatter(await open_link(world, "websocket"))
        auth = {"token": world.token(self.anna), "pid": before.pid, "offset": before.offset}
        await self.again.link.send("40" + json.dumps(auth))
        await wait_all_tasks_blocked()

    async def finish(self) -> list[str]:
        """Let the page arrive; return the messages of the first room that came."""
        self._store.go.set()
        await wait_all_tasks_blocked()
        await self.again.event("connection:ready")
        await self.again.heard()
        return [text for text in self.again.contents() if text != "elsewhere"]


async def test_who_is_removed_while_a_recovery_reads_other_pages_hears_nothing_more(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = SlowStore()
    async with open_chat(tmp_path, store) as world:
        back = Return(world, store)
        await back.begin(is_bert_joined=True)
        await back.bert.done("member:remove", sessionId=str(back.room), userId=str(back.anna.id))
        await say(back.bert, back.room, "secret")
        heard = await back.finish()
        await say(back.bert, back.room, "more secrets")
        await back.again.heard()
        assert "more secrets" not in back.again.contents()
        assert heard == ["one"]


async def test_a_recovery_loses_nothing_when_somebody_else_opens_the_room_meanwhile(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = SlowStore()
    async with open_chat(tmp_path, store) as world:
        back = Return(world, store)
        await back.begin(is_bert_joined=False)
        await say(back.bert, back.room, "two", "three")
        await back.bert.done("session:join", sessionId=str(back.room))
        heard = await back.finish()
        await say(back.bert, back.room, "four")
        await back.again.heard()
        assert heard == ["one", "two", "three"]


async def test_a_recovery_loses_nothing_when_a_room_is_busy_while_other_pages_are_read(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "ASIDE", 4)  # 1024 in earnest
    store = SlowStore()
    async with open_chat(tmp_path, store) as world:
        back = Return(world, store)
        await back.begin(is_bert_joined=True)
        await say(back.bert, back.room, *"23456789")
        assert await back.finish() == ["one", *"23456789"]


async def test_an_offset_that_is_no_utf8_costs_nobody_their_state_at_the_stop(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store) as world:
        anna, eve = await world.person("anna"), await world.person("eve")
        a = await chatter(world, anna)
        bad = Chatter(await open_link(world, "websocket"))
        await bad.connect(world.token(eve), offset="\ud800")
    async with open_chat(tmp_path, store) as world:
        again = Chatter(await open_link(world, "websocket"))
        assert (await again.comes_back(world.token(anna), a))["pid"] == a.pid


async def test_the_state_of_a_client_is_small_whatever_offset_it_shows(
    tmp_path: Path, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[ChatState] = []

    def save(_: object, pid: str, owner: UUID | None, state: ChatState) -> None:
        kept.append(state)

    monkeypatch.setattr(Recoveries, "save", save)
    async with open_chat(tmp_path) as world:
        eve = await world.person("eve")
        first = await chatter(world, eve)
        await first.heard()
        await first.link.send("41")  # the larger limit of who has logged in stays
        again = Chatter(first.link)
        await again.connect(world.token(eve), offset="x" * 1_000_000)
        await leave(again)
        assert [len(state.to_json()) < SMALL for state in kept] == [True]


async def test_one_user_does_not_push_the_states_of_others_out(mock_clock: MockClock) -> None:
    recoveries = Recoveries[str](120)
    anna, eve = uuid7(), uuid7()
    recoveries.save("anna", anna, "state")
    for number in range(MAX_SAVED):
        recoveries.save(str(number), eve, "state")
    assert recoveries.claim("anna", anna, None) == "state"


# Transports


async def test_who_logs_in_while_a_websocket_is_probed_may_say_as_much_as_others(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        room = await world.session(anna)
        poller = Poller(world.stream)
        await poller.open()
        socket = await probe(poller)  # a stock client probes while its CONNECT is on its way
        await poller.send("40" + json.dumps({"token": world.token(anna)}))
        await wait_all_tasks_blocked()
        await socket.send("5")
        a = Chatter(socket)
        await a.event("connection:ready")
        await say(a, room, "é" * (FIRST_BYTES // 2))


async def test_what_was_said_right_before_the_close_of_a_websocket_counts(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await b.done("session:join", sessionId=str(room))
        assert isinstance(a.link, WebSocket)
        for content in ("one", "two", "three"):
            event = ["message:send", {"sessionId": str(room), "content": content}]
            a.link._protocol.send_text(("42" + json.dumps(event)).encode())
        a.link._protocol.send_close(1000)
        await a.link.stream.send_all(b"".join(a.link._protocol.data_to_send()))
        await b.heard()
        assert b.contents() == ["one", "two", "three"]


async def test_an_upgrade_behind_a_long_recovery_does_not_make_a_client_slow(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_chat(tmp_path, outbox_frames=16) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        room = await world.session(anna, bert)
        a, b = await chatter(world, anna), await chatter(world, bert)
        await a.done("session:join", sessionId=str(room))
        await a.heard()
        await leave(a)
        contents = [f"{number:16000}" for number in range(100, 120)]  # several writes
        await say(b, room, *(content.replace(" ", "x") for content in contents))
        poller = Poller(world.stream)
        await poller.open()
        socket = await probe(poller)
        auth = {"token": world.token(anna), "pid": a.pid, "offset": a.offset}
        await poller.send("40" + json.dumps(auth))
        await wait_all_tasks_blocked()
        await socket.send("5", '421["no:such",{}]')
        again = Chatter(socket)
        await again.packet("431[")
        assert len(again.contents()) == len(contents)


# What it costs others


async def test_who_has_gone_is_not_asked_of_the_store(mock_clock: MockClock) -> None:
    store = MemoryStore()
    store.latency = 1
    async with open_first_states(store) as first_states, trio.open_nursery() as nursery:
        async with trio.open_nursery() as gone:
            gone.start_soon(first_states.read, uuid7())
            await wait_all_tasks_blocked()  # it is being read; the others wait behind it
            for _ in range(3 * BATCH):
                gone.start_soon(first_states.read, uuid7())
            await wait_all_tasks_blocked()
            gone.cancel_scope.cancel()
        nursery.start_soon(first_states.read, uuid7())
        for _ in range(2):
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
        await wait_all_tasks_blocked()
        is_answered = not nursery.child_tasks
        nursery.cancel_scope.cancel()
    assert is_answered


async def test_a_session_cannot_log_in_without_end(tmp_path: Path, mock_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store, rate_limits="on") as world:
        eve = await world.person("eve")
        link = await open_link(world, "websocket")
        before = store.calls["first_states"]
        assert isinstance(link, WebSocket)
        for _ in range(200):
            if not link.is_closed:
                await link.send("40" + json.dumps({"token": world.token(eve)}), "41")
                await link.heard()
        assert store.calls["first_states"] - before < 100


async def test_the_ack_is_ahead_of_the_echo_also_when_the_commit_is_in_doubt(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_chat(tmp_path, store, resolve_timeout=30) as world:
        anna = await world.person("anna")
        room = await world.session(anna)
        a = await chatter(world, anna)
        await a.done("session:join", sessionId=str(room))
        await a.heard()
        store.fail_next("append_messages", StoreAmbiguous("lost"))
        store.fail_next("find_messages", StoreUnavailable("away"), times=90)
        event = ["message:send", {"sessionId": str(room), "content": "tea"}]
        await a.link.send("429" + json.dumps(event))
        heard: list[str] = []
        for _ in range(140):
            await wait_all_tasks_blocked()
            mock_clock.jump(0.1)
            heard += await a.heard()
        assert [packet[:3] for packet in heard] == ["439", "42["]
