"""Whoever applies what they hear knows what they would fetch, whatever happened (protocol.md 4)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chatd.context import RoomEvent
from chatd.events.server import DURABLE_EVENTS
from chatd.nurseries import rooms
from chatd.rows import AppendRow, ChangesPage, JoinPage, NewMessage, UserRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.people import Client, World, open_world

SETTINGS: dict[str, Any] = {
    "replay_events": 6,  # changes that a join with `since` gives; more are a new page
    "position_interval": 86_400.0,  # only an event's own `seq` tells a room what it has missed
}
HISTORIES, PART = 500, 50  # on the memory twin; one more part on PostgreSQL
PAGE = 2  # rows of one page of a room's catch-up
FAR = 150  # on a twin that takes its time
WAYS = (0.0, 0.001, 0.01, 0.1)  # seconds to the far store, or back
EMOJI = ("👍", "ä", "❤")
UNCHANGED: dict[str, Any] = {
    "changedSeq": None,
    "version": 1,
    "editedAt": None,
    "deletedAt": None,
    "deletedBy": None,
    "pinnedAt": None,
    "pinnedBy": None,
    "reactions": [],
}


CHANGES = {"message:updated", "message:deleted", "message:reaction", "message:pinned"}


class View:
    """What a client knows of a session, by the rules of the protocol's section 4 alone."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.position: dict[str, Any] | None = None

    def join(self, answer: dict[str, Any]) -> None:
        """Take the answer of a join: a new page, or what changed."""
        if not answer["recovered"]:
            self.messages.clear()
        for message in answer["messages"]:
            self._put(message)
        self.position = {"epoch": answer["epoch"], "seq": answer["seq"]}

    def is_below(self, seq: int) -> bool:
        """Return whether it was not yet told of a `seq`."""
        return self.position is None or self.position["seq"] < seq

    def hear(self, name: str, data: dict[str, Any]) -> None:
        """Take a durable event; what a page has told already is dropped."""
        seq = data.get("changedSeq", data["seq"])
        assert self.position is not None
        if seq <= self.position["seq"]:
            return  # who joins again while the room reads a hole has a page ahead of it
        self.position["seq"] = seq
        if name == "message:new":
            self._put(data)
        elif name in CHANGES:
            self._change(name, dict(data), seq)

    def _change(self, name: str, data: dict[str, Any], seq: int) -> None:
        if name == "message:deleted":
            self._unquote(data["id"])
        if "message" in data:
            self._put(data["message"])
            return
        message = self.messages[data["messageId" if name == "message:reaction" else "id"]]
        message["changedSeq"] = seq
        if name == "message:updated":
            for field in ("version", "content", "mentions", "editedAt"):
                message[field] = data[field]
        elif name == "message:deleted":
            message |= {"content": "", "mentions": [], "reactions": []}
            message |= {"pinnedAt": None, "pinnedBy": None}
            message |= {field: data[field] for field in ("deletedAt", "deletedBy")}
        elif name == "message:pinned":
            message |= {field: data[field] for field in ("pinnedAt", "pinnedBy")}
        else:
            others = [each for each in message["reactions"] if each["emoji"] != data["emoji"]]
            mine = {field: data[field] for field in ("emoji", "count", "userIds")}
            message["reactions"] = sorted(
                [*others, mine] if data["count"] else others, key=lambda each: str(each["emoji"])
            )

    def _unquote(self, message_id: str) -> None:
        for reply in self.messages.values():
            if reply["replyTo"] is not None and reply["replyTo"]["id"] == message_id:
                reply["replyTo"] = reply["replyTo"] | {"excerpt": None}

    def _put(self, message: dict[str, Any]) -> None:
        if message.get("deletedAt") is not None:  # also in the answer to a join
            self._unquote(message["id"])
        self.messages[message["id"]] = UNCHANGED | message


Step = Callable[[], Awaitable[None]]


class Reader:
    """A client that joins, leaves, goes and comes back."""

    def __init__(self, world: World, user: UserRow, session_id: str) -> None:
        self._world, self._user, self._session_id = world, user, session_id
        self._client: Client | None = None
        self._goes, self._gone = trio.Event(), trio.Event()
        self._is_joined = False
        self.view = View()

    async def _connection(self, task_status: trio.TaskStatus[Client]) -> None:
        async with self._world.connect(self._user) as client:
            task_status.started(client)
            await self._goes.wait()
        self._gone.set()

    async def join(self) -> None:
        """Connect if need be, and join where it stopped."""
        if self._client is None:
            self._goes, self._gone = trio.Event(), trio.Event()
            self._client = await self._world.nursery.start(self._connection)
        if self._is_joined:
            await self.catch_up()
        since = {} if self.view.position is None else {"since": self.view.position}
        request = {"sessionId": self._session_id, "limit": 100} | since
        self.view.join(await self._client.ask("session:join", **request))
        self._is_joined = True

    async def catch_up(self) -> None:
        """Apply what has been heard."""
        if self._client is not None and self._is_joined:
            for frame in await self._client.heard():
                self._hear(frame)

    async def reach(self, seq: int) -> None:
        """Join if need be, and apply what comes until `seq` was told, and what is here behind it.

        That all is quiet does not say so: the room may be waiting for the store.
        """
        if not self._is_joined:
            await self.join()
        client = self._client
        assert client is not None
        while self.view.is_below(seq):
            self._hear(client.waiting.pop(0) if client.waiting else await client.frame())
        await self.catch_up()

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame.get("event") in DURABLE_EVENTS:
            self.view.hear(frame["event"], frame["data"])

    async def leave(self) -> None:
        """Stop the stream; the position stays."""
        if self._client is not None and self._is_joined:
            await self._client.ask("session:leave", sessionId=self._session_id)
            await self.catch_up()
            self._is_joined = False

    async def away(self) -> None:
        """Lose the connection, and what was on its way."""
        if self._client is not None:
            self._goes.set()
            await self._gone.wait()
        self._client, self._is_joined = None, False


class FarStore(MemoryStore):
    """A store that is some way away: others come, go and write while its answer is on the way."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)  # noqa: S311 - a story, not a secret

    async def _way(self) -> None:
        await trio.sleep(self._chance.choice(WAYS))

    async def join_page(self, *args: Any, **more: Any) -> JoinPage | None:
        await self._way()
        page = await super().join_page(*args, **more)
        await self._way()
        return page

    async def changes_since(self, *args: Any) -> ChangesPage:
        await self._way()
        page = await super().changes_since(*args)
        await self._way()
        return page

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        await self._way()
        rows = await super().append_messages(batch)
        await self._way()
        return rows


async def change(
    writer: Client, session_id: str, said: list[str], others: list[str], chance: random.Random
) -> None:
    """Change something in the session; said holds the messages that are no tombstone."""
    what = chance.choice(
        ["send", "reply", "edit", "react", "react", "take back", "pin", "take off", "delete"]
    )
    mentions: Any = chance.choice([[], "ALL", chance.sample(others, chance.randrange(3))])
    if what in {"send", "reply"} or not said:
        more = {"replyToId": chance.choice(said)} if said and what == "reply" else {}
        message = {"sessionId": session_id, "content": "tea", "mentions": mentions} | more
        said.append((await writer.ask("message:send", **message))["message"]["id"])
        return
    message_id = chance.choice(said)
    if what == "edit":
        more = {"mentions": mentions} if chance.random() < 0.5 else {}
        text = f"tea {chance.randrange(3)}"
        await writer.ask("message:edit", messageId=message_id, content=text, **more)
    elif what in {"pin", "take off"}:
        await writer.ask("message:pin", messageId=message_id, on=what == "pin")
    elif what == "delete":
        await writer.ask("message:delete", messageId=message_id)
        said.remove(message_id)
    else:
        reaction = {"emoji": chance.choice(EMOJI), "on": what == "react"}
        await writer.ask("message:react", messageId=message_id, **reaction)


async def live_through(world: World, seed: int, losing: list[bool]) -> None:
    """Let a session happen while readers come and go and events are lost; then compare."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    anna, bert = await world.person(f"anna{seed}"), await world.person(f"bert{seed}")
    session_id = str(await world.session(anna, bert))
    readers = [Reader(world, user, session_id) for user in (anna, bert, bert)]
    said: list[str] = []
    async with world.connect(anna) as a:
        for _ in range(chance.randrange(5, 25)):
            losing[0] = chance.random() < 0.3
            reader = chance.choice(readers)
            steps: list[Step] = [reader.join, reader.leave, reader.away]
            part, people = chance.random(), [str(anna.id), str(bert.id)]
            async with trio.open_nursery() as nursery:  # one of them, or both at once
                if part > 0.5:
                    nursery.start_soon(chance.choice([*steps, reader.join, reader.catch_up]))
                if part < 0.75:
                    await change(a, session_id, said, people, chance)
        losing[0] = False
        await a.ask("message:send", sessionId=session_id, content="its seq tells what was lost")
        page = await a.ask("message:history", sessionId=session_id, limit=100)
        fetched = {message["id"]: UNCHANGED | message for message in page["messages"]}
        for reader in readers:
            await reader.reach(page["seq"])
            assert reader.view.messages == fetched
            assert reader.view.position == {"epoch": page["epoch"], "seq": page["seq"]}
            await reader.away()


async def live_through_all(
    world: World, monkeypatch: pytest.MonkeyPatch, seeds: Iterable[int]
) -> None:
    """Let a history happen for each seed; what is published may be lost."""
    losing = [False]
    publish = world.daemon.services.rooms.publish

    def lossy(events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        if not losing[0]:
            publish(events, is_answered=is_answered)

    monkeypatch.setattr(rooms, "CATCHUP_PAGE", PAGE)
    monkeypatch.setattr(world.daemon.services.journal, "_publish", lossy)
    for seed in seeds:
        with trio.fail_after(20):
            await live_through(world, seed, losing)


@pytest.mark.parametrize("first", range(0, HISTORIES, PART))
async def test_a_client_that_applies_what_it_hears_knows_what_it_would_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    async with open_world(tmp_path, **SETTINGS) as world:
        await live_through_all(world, monkeypatch, range(first, first + PART))


@pytest.mark.parametrize("first", range(0, FAR, PART))
async def test_a_client_that_applies_what_it_hears_knows_what_it_would_fetch_from_afar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, first: int
) -> None:
    async with open_world(tmp_path, FarStore(first), **SETTINGS) as world:
        await live_through_all(world, monkeypatch, range(first, first + PART))


async def test_a_client_that_applies_what_it_hears_knows_what_it_would_fetch_from_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    async with open_pool(database_url, size=4) as pool:
        store = PostgresStore(pool)
        async with open_world(tmp_path, store, **SETTINGS) as world:
            await live_through_all(world, monkeypatch, range(HISTORIES, HISTORIES + PART))
