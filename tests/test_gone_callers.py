"""What somebody asked for is done and told, also when they are cut before it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import CloseCode
from chatd.ids import uuid7
from chatd.nurseries.presence import Presence
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world

LATENCY = 1.0  # seconds of each call of the store


@dataclass(frozen=True)
class Scene:
    """Anna, who owns a session, asks; Bert, to whom it is done, listens."""

    world: World
    store: MemoryStore
    anna: UserRow
    bert: UserRow
    tea: UUID
    listener: Client  # of Bert

    async def ask_and_go(self, user: UserRow, reads: int, event: str, **data: Any) -> None:
        """Ask as somebody whose login ends in the call of the store behind `reads` others."""
        family_id = uuid7()
        async with self.world.connect(user, family_id) as client:
            self.store.latency = LATENCY
            await client.emit(event, **data)
            await trio.sleep((reads + 0.5) * LATENCY)
            self.world.daemon.services.sockets.cut_families([family_id], CloseCode.REVOKED)
            await trio.sleep(2 * LATENCY)
            self.store.latency = 0

    @property
    def bert_is_here(self) -> bool:
        """Whether Bert is one of those of the session who are connected."""
        presence = cast("Presence", self.world.daemon.services.presence)
        return self.bert.id in presence.here(self.tea)


@asynccontextmanager
async def open_scene(tmp_path: Path, *, bert_is_member: bool) -> AsyncIterator[Scene]:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, carl = [await world.person(name) for name in ("anna", "bert", "carl")]
        tea = await world.session(anna, carl, *([bert] if bert_is_member else []))
        async with world.connect(carl), world.connect(bert) as listener:
            yield Scene(world, store, anna, bert, tea, listener)


@pytest.mark.parametrize("event", ["member:remove", "member:ban", "session:delete"])
async def test_who_is_taken_out_shares_nothing_with_the_session_any_more(
    tmp_path: Path, autojump_clock: MockClock, event: str
) -> None:
    async with open_scene(tmp_path, bert_is_member=True) as scene:
        whom = {} if event == "session:delete" else {"userId": str(scene.bert.id)}
        await scene.ask_and_go(scene.anna, 1, event, sessionId=str(scene.tea), **whom)
        assert len(await scene.listener.heard("session:removed")) == 1
        assert not scene.bert_is_here


async def test_who_is_added_is_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_scene(tmp_path, bert_is_member=False) as scene:
        whom = {"sessionId": str(scene.tea), "userId": str(scene.bert.id)}
        await scene.ask_and_go(scene.anna, 1, "member:add", **whom)
        assert len(await scene.listener.heard("session:updated")) == 1
        assert scene.bert_is_here


async def test_who_accepts_an_invite_is_told_on_their_other_devices(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, bert_is_member=False) as scene:
        async with scene.world.connect(scene.anna) as owner:
            made = await owner.ask("invite:make", sessionId=str(scene.tea))
        await scene.ask_and_go(scene.bert, 0, "invite:accept", code=made["invite"]["code"])
        assert len(await scene.listener.heard("session:updated")) == 1
        assert scene.bert_is_here


async def test_who_is_mentioned_by_an_edit_is_told(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_scene(tmp_path, bert_is_member=True) as scene:
        async with scene.world.connect(scene.anna) as owner:
            sent = await owner.ask("message:send", sessionId=str(scene.tea), content="you")
        edit = {"messageId": sent["message"]["id"], "content": "Bert"}
        await scene.ask_and_go(scene.anna, 1, "message:edit", **edit, mentions=[str(scene.bert.id)])
        assert len(await scene.listener.heard("notification:new")) == 1
