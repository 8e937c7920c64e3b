"""Removed in the middle of a burst: nothing later arrives, in whatever order the tasks run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from chatd.events.server import DURABLE_EVENTS
from chatd.store.memory import MemoryStore
from chatd.testing import Heard, PersonSocket, Refused, open_chatd
from tests.schedules import run_seeded

SCHEDULES = 25
SENDERS = 3
MESSAGES = 12  # of each sender; the act comes somewhere among them
REASONS = {"remove": "removed", "ban": "banned", "delete": "deleted"}


def check_end(heard: Sequence[Heard], session_id: str, reason: str) -> list[int]:
    """Check that a device heard of its end once, as the last thing; return the `seq`s before."""
    here = [each for each in heard if each.data.get("sessionId") == session_id]
    ends = [each.data["reason"] for each in here if each.name == "session:removed"]
    assert ends == [reason]
    assert here[-1].name == "session:removed"
    seqs = [
        each.data["seq"]
        for each in here[:-1]
        if each.name in DURABLE_EVENTS and each.name != "session:updated"
    ]
    assert seqs == list(range(1, len(seqs) + 1))  # it joined before the first
    return seqs


async def do(owner: PersonSocket, how: str, session_id: str, user_id: str) -> None:
    who: dict[str, Any] = {"sessionId": session_id, "userId": user_id}
    if how == "delete":
        await owner.ask("session:delete", sessionId=session_id)
    else:
        await owner.ask("member:remove" if how == "remove" else "member:ban", **who)


async def story(tmp_path: Path, how: str, seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - a test's own dice
    store = MemoryStore()
    async with open_chatd(store=store, data_dir=tmp_path) as server, AsyncExitStack() as stack:
        anna, bert = await server.person("anna"), await server.person("bert")
        others = [await server.person(f"sender{number}") for number in range(SENDERS)]
        session_id = str(await server.session(anna, bert, *others))
        enter = stack.enter_async_context
        owner = await enter(anna.connect())
        senders = [await enter(other.connect()) for other in others]
        devices = [await enter(bert.connect(wire=wire)) for wire in ("ws", "socketio", "ws")]
        for socket in (owner, *devices[:2]):  # the last device has not joined
            await socket.ask("session:join", sessionId=session_id)
        store.latency = 0.01

        async def send(socket: PersonSocket) -> None:
            for number in range(MESSAGES):
                await trio.sleep(rng.uniform(0, 0.02))
                try:
                    await socket.ask("message:send", sessionId=session_id, content=str(number))
                except Refused as refusal:
                    if (how, refusal.code) != ("delete", "not_a_member"):
                        raise

        async with trio.open_nursery() as nursery:
            for socket in senders:
                nursery.start_soon(send, socket)
            await trio.sleep(rng.uniform(0, 0.3))
            await do(owner, how, session_id, str(bert.id))
        store.latency = 0
        told = [each for each in await owner.heard() if each.data.get("sessionId") == session_id]
        if how == "delete":
            end = check_end(told, session_id, "deleted")[-1:]
        else:
            end = [each.data["seq"] for each in told if each.name == "member:left"]
            seqs = [each.data["seq"] for each in told if each.name in DURABLE_EVENTS]
            assert seqs == list(range(1, SENDERS * MESSAGES + 2))
        for device in devices[:2]:
            assert check_end(await device.heard(), session_id, REASONS[how])[-1:] == end
        assert check_end(await devices[2].heard(), session_id, REASONS[how]) == []
        path = f"/chat/sessions/{session_id}/messages"
        assert (await server.rest("GET", path, token=bert.token())).status == 403


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.threat("T82")
def test_nothing_later_reaches_a_device_in_any_order_of_the_tasks(tmp_path: Path, how: str) -> None:
    for seed in range(SCHEDULES):
        run_seeded(seed, partial(story, tmp_path / str(seed), how, seed))
