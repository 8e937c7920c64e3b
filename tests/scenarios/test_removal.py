"""Who is removed in the middle of a burst gets nothing later, on any wire of the real daemon."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import trio

from chatd.client import ClientError
from chatd.client.rest import Rest
from tests.scenarios.checker import check_stream
from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import Json, Person, Talker, create_session, register, talking
from tests.socketio.js import JsClient, open_driver

SENDERS = 4
BEFORE = 100  # messages ahead of the act; as many follow it
WINDOW = 4  # sends under way at once, of each sender
TIMEOUT = 60.0  # seconds; the machine is shared
REASONS = {"remove": "removed", "ban": "banned", "delete": "deleted"}


@dataclass
class Burst:
    """People who send as fast as they are answered."""

    session: str
    sent: int = 0
    is_over: bool = False

    async def run(self, talker: Talker) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(WINDOW):
                nursery.start_soon(self._send, talker)

    async def _send(self, talker: Talker) -> None:
        while not self.is_over:
            try:
                await talker.send(self.session, "burst")
            except ClientError as refusal:
                if refusal.code != "not_a_member":
                    raise
                return  # the session is deleted
            self.sent += 1

    async def reaches(self, count: int) -> None:
        while self.sent < count:  # noqa: ASYNC110 - the senders have no event for each number
            await trio.sleep(0.005)


async def act(talker: Talker, how: str, session: str, user_id: str) -> None:
    if how == "delete":
        await talker.ask("session:delete", sessionId=session)
    else:
        event = "member:remove" if how == "remove" else "member:ban"
        await talker.ask(event, sessionId=session, userId=user_id)


Told = list[tuple[str, Json]]


def of_talker(talker: Talker) -> Told:
    return [(push.name, push.data) for push in talker.pushes]


def of_js(client: JsClient) -> Told:
    return [(one["name"], one["args"][0]) for one in client.of("event")]


def check(told: Told, session: str, reason: str, *, since: int) -> int:
    """Check that nothing followed the end, and nothing is missing before it; return the last."""
    here = [(name, data) for name, data in told if data.get("sessionId") == session]
    assert [data["reason"] for name, data in here if name == "session:removed"] == [reason]
    assert here[-1][0] == "session:removed"
    seqs: list[int] = [data["seq"] for _, data in here[:-1]]
    assert check_stream(seqs, after=since) == []
    return max(seqs)


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.threat("T82")
async def test_nothing_with_a_later_seq_reaches_who_is_removed_during_a_burst(
    daemon: Daemon, how: str
) -> None:
    with trio.fail_after(TIMEOUT):
        anna, ben = await register(daemon, "anna"), await register(daemon, "ben")
        others = [await register(daemon, f"sender{number}") for number in range(SENDERS)]
        session = await create_session(daemon, anna, ben, *others)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            driver = await enter(open_driver())
            owner, watcher, laptop, idle = [
                await enter(talking(daemon, person)) for person in (anna, others[0], ben, ben)
            ]
            phones = [
                await driver.connect(daemon.url, ben, transport)
                for transport in ("websocket", "polling")
            ]
            await watcher.join(session)
            since = [(await laptop.join(session))["seq"]]
            since += [(await phone.join(session))["seq"] for phone in phones]
            senders = [await enter(talking(daemon, other)) for other in others]
            await _burst(owner, senders, how, session, ben)
            ends = [
                check(told, session, REASONS[how], since=seq)
                for told, seq in zip(
                    [await _settled(laptop, session), *[await _told(p, session) for p in phones]],
                    since,
                    strict=True,
                )
            ]
            assert len(set(ends)) == 1  # the same for all: the act itself, or what it ended
            told = [each for each in await _settled(idle, session) if "sessionId" in each[1]]
            *before, end = [each for each in told if each[1]["sessionId"] == session]
            assert {name for name, _ in before} <= {"session:unread"}  # it has not joined
            assert end == ("session:removed", {"sessionId": session, "reason": REASONS[how]})
            if how != "delete":
                last = (await watcher.history(session, 0))[-1]["seq"]
                assert last > ends[0] + BEFORE / 2  # the burst went on, unheard
        await _refused_by_rest(daemon, ben, session)


async def _burst(owner: Talker, senders: list[Talker], how: str, session: str, ben: Person) -> None:
    burst = Burst(session)
    async with trio.open_nursery() as nursery:
        for sender in senders:
            nursery.start_soon(partial(burst.run, sender))
        await burst.reaches(BEFORE)
        await act(owner, how, session, ben.id)
        if how != "delete":
            await burst.reaches(burst.sent + BEFORE)
        burst.is_over = True


async def _settled(talker: Talker, session: str) -> Told:
    """Return what came until the end, and until an answer behind it."""
    await talker.until(lambda: any(push.name == "session:removed" for push in talker.pushes))
    with pytest.raises(ClientError) as refusal:
        await talker.ask("message:history", sessionId=session)
    assert refusal.value.code == "not_a_member"
    return of_talker(talker)


async def _told(phone: JsClient, session: str) -> Told:
    """Return what came until the end, and until an answer behind it."""
    await phone.event("session:removed")
    answer: Any = await phone.ask("message:history", {"sessionId": session})
    assert answer["error"]["code"] == "not_a_member"
    return of_js(phone)


async def _refused_by_rest(daemon: Daemon, person: Person, session: str) -> None:
    door = Rest(daemon.url)
    with pytest.raises(ClientError) as refusal:
        await door.call("GET", f"/chat/sessions/{session}/messages", token=person.token)
    await door.aclose()
    assert refusal.value.code == "not_a_member"
