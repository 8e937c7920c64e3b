"""The journal's lanes: what begins beside a transaction under way, and what waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.context import RoomEvent
from chatd.errors import ChatError
from chatd.metrics import Metrics
from chatd.nurseries.backlog import AT_ONCE, YOUNG
from chatd.nurseries.journal import Journal, open_journal
from chatd.rows import Append, AppendRow, NewMessage
from chatd.store.memory import MemoryStore
from tests.store.kit import gather, sign_up, words

LANES = 4
CROWD = AT_ONCE + 3


class Slow(MemoryStore):
    """The twin, whose transactions take as long as their first message says, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[float, list[str]]] = []
        self.most = 0  # transactions at once
        self._open = 0

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        contents = [message.content for message in batch]
        self.begun.append((trio.current_time(), contents))
        self._open += 1
        self.most = max(self.most, self._open)
        await trio.sleep(float(contents[0]))
        self._open -= 1
        return await super().append_messages(batch)

    @property
    def batches(self) -> list[list[str]]:
        return [contents for _, contents in self.begun]


class Crowd:
    """Sessions with a message each, so that any two may be under way at once."""

    def __init__(self, store: Slow, journal: Journal, alice: UUID, sessions: list[UUID]) -> None:
        self.store = store
        self.journal = journal
        self.stored: list[str] = []
        self.refused: list[str] = []
        self._alice = alice
        self.sessions = sessions

    def say(self, *seconds: str) -> None:
        """Send messages, each into the next session; their transactions take that long."""
        for content in seconds:
            self.say_in(self.sessions.pop(), content)

    def say_in(
        self,
        session_id: UUID,
        content: str,
        *,
        key: str | None = None,
        lifetime: float | None = None,
    ) -> None:
        def settle(outcome: AppendRow | ChatError) -> RoomEvent | None:
            told = self.stored if isinstance(outcome, AppendRow) else self.refused
            told.append(content)
            return None

        message = words(session_id, self._alice, content, key=key)
        self.journal.submit(message, settle, lifetime=lifetime)

    async def hang(self, seconds: str) -> None:
        """Send a message that hangs, and a crowd behind it in its session; wait a second."""
        session_id = self.sessions.pop()
        self.say_in(session_id, seconds)
        await wait_all_tasks_blocked()
        for _ in range(CROWD):
            self.say_in(session_id, "0")
        await trio.sleep(1)

    async def change(self, seconds: float) -> str:
        """Make a change that takes so long; return what it came to."""

        async def work() -> tuple[str, list[RoomEvent]]:
            await trio.sleep(seconds)
            return "changed", []

        try:
            return await self.journal.change(work)
        except ChatError as refusal:
            return refusal.code


@asynccontextmanager
async def open_crowd(store: Slow | None = None, **settings: Any) -> AsyncIterator[Crowd]:
    store = store or Slow()
    alice = await sign_up(store, "Alice")
    sessions = [await gather(store, alice) for _ in range(6 * CROWD)]

    def publish(events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        del events, is_answered

    options = Settings(**{"journal_lanes": LANES} | settings)
    async with open_journal(store, publish, options, Metrics()) as journal:
        yield Crowd(store, journal, alice, sessions)


async def test_a_few_messages_do_not_wait_for_those_under_way(mock_clock: MockClock) -> None:
    async with open_crowd() as crowd:
        for content in ("1", "2", "3", "4", "0"):
            crowd.say(content)
            await wait_all_tasks_blocked()
        assert crowd.store.batches == [["1"], ["2"], ["3"], ["4"]]
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert crowd.store.batches[LANES:] == [["0"]]
        mock_clock.autojump_threshold = 0
    assert crowd.store.most == LANES
    assert crowd.stored == ["1", "0", "2", "3", "4"]


async def test_many_that_come_while_one_is_under_way_are_one_batch(mock_clock: MockClock) -> None:
    length = str(YOUNG / 2)
    async with open_crowd() as crowd:
        crowd.say(length)
        await wait_all_tasks_blocked()
        crowd.say(*["0"] * CROWD)
        await wait_all_tasks_blocked()
        assert crowd.store.batches == [[length]]
        crowd.say("0")
        mock_clock.jump(YOUNG / 2)
        await wait_all_tasks_blocked()
        assert crowd.store.batches == [[length], ["0"] * (CROWD + 1)]
    assert crowd.store.most == 1


@pytest.mark.parametrize("is_first_alone", [True, False])
async def test_nobody_waits_long_for_a_transaction_that_hangs(
    autojump_clock: MockClock, *, is_first_alone: bool
) -> None:
    async with open_crowd() as crowd:
        began = trio.current_time()
        crowd.say("3")  # it waits for a lock, or a disk
        if not is_first_alone:
            await trio.sleep(YOUNG * 5)
            began = trio.current_time()
        await wait_all_tasks_blocked()
        crowd.say(*["0"] * CROWD)
        await trio.sleep(1)
        crowd.say(*["0"] * CROWD)
        await trio.sleep(1)
        assert crowd.stored == ["0"] * 2 * CROWD
        (_, first), (second_at, second), (third_at, third) = crowd.store.begun
        assert (len(first), len(second), len(third)) == (1, CROWD, CROWD)
        assert second_at - began == pytest.approx(YOUNG if is_first_alone else 0)
        assert third_at - began == pytest.approx(1)
    assert crowd.stored[-1] == "3"


async def test_those_behind_a_session_that_hangs_wait_for_it_and_others_do_not(
    autojump_clock: MockClock,
) -> None:
    async with open_crowd() as crowd:
        await crowd.hang("3")
        assert len(crowd.store.begun) == 1
        crowd.say("0")
        await trio.sleep(1)
        assert crowd.stored == ["0"]
    assert crowd.stored == ["0", "3", *["0"] * CROWD]


async def test_nobody_waits_long_for_two_transactions_that_hang_and_a_crowd_behind_them(
    autojump_clock: MockClock,
) -> None:
    async with open_crowd() as crowd:
        await crowd.hang("4")
        crowd.say("3")  # it hangs as well
        await wait_all_tasks_blocked()
        crowd.say("0")
        await trio.sleep(1)
        assert crowd.stored == ["0"]


async def test_what_is_more_than_a_batch_has_all_lanes(autojump_clock: MockClock) -> None:
    async with open_crowd(journal_batch=CROWD) as crowd:
        crowd.say(*[str(YOUNG / 2)] * 5 * CROWD)
        await trio.sleep(1)
        assert [len(batch) for batch in crowd.store.batches] == [CROWD] * 5
        assert crowd.store.most == LANES


async def test_who_waited_behind_a_message_that_is_too_late_does_not_wait_any_more(
    autojump_clock: MockClock,
) -> None:
    """It has the key of one under way in another session; behind it nothing else stands."""
    async with open_crowd() as crowd:
        crowd.say_in(crowd.sessions.pop(), "3", key="k")
        await wait_all_tasks_blocked()
        session_id = crowd.sessions.pop()
        crowd.say_in(session_id, "1", key="k", lifetime=0.1)
        crowd.say_in(session_id, "0")
        await trio.sleep(1)
        assert crowd.stored == ["0"]


async def test_a_transaction_that_takes_too_long_ends_alone_and_its_lane_goes_on(
    mock_clock: MockClock,
) -> None:
    async with open_crowd(commit_timeout=5) as crowd:
        await wait_all_tasks_blocked()
        mock_clock.jump(3)  # so that the end is not when the watch looks anyway
        session_id = crowd.sessions.pop()
        crowd.say_in(session_id, "100")
        await wait_all_tasks_blocked()
        mock_clock.jump(3)
        crowd.say("4")
        crowd.say_in(session_id, "1")  # behind the late one
        await wait_all_tasks_blocked()
        mock_clock.jump(1.9)
        await wait_all_tasks_blocked()
        assert crowd.refused == []
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert crowd.refused == ["100"]
        mock_clock.autojump_threshold = 0
        await trio.sleep(3)
        assert crowd.stored == ["1", "4"]
        crowd.say("4", "3", "2", "1")  # all lanes are there
        await trio.sleep(3.5)
    assert crowd.refused == ["100"]


class Prompt(Slow):
    """The twin, which another task tells of its transaction's end: no deadline takes that away."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__()
        self._nursery = nursery

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        ended = trio.Event()
        self._nursery.start_soon(_end_after, ended, float(batch[0].content))
        await ended.wait()
        return [AppendRow(Append.MUTED) for _ in batch]


async def _end_after(ended: trio.Event, seconds: float) -> None:
    await trio.sleep(seconds)
    ended.set()


@pytest.mark.parametrize("turn", range(20))  # who is first at that moment is left to Trio
async def test_an_answer_at_the_very_moment_of_the_deadline_takes_nothing_from_the_next(
    autojump_clock: MockClock, turn: int
) -> None:
    del turn
    async with trio.open_nursery() as nursery:
        async with open_crowd(Prompt(nursery), commit_timeout=5, journal_lanes=1) as crowd:
            crowd.say("5")
            await trio.sleep(1)
            crowd.say("4.5")
            await trio.sleep(9)  # the second begins at 5 and ends at 9.5
            assert crowd.stored[-1] == "4.5"
            assert sorted([*crowd.stored, *crowd.refused]) == ["4.5", "5"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_first", [True, False])
async def test_the_end_waits_for_a_change_that_other_lanes_do_not_see(
    autojump_clock: MockClock, nursery: trio.Nursery, *, is_first: bool
) -> None:
    results = []

    async def change() -> None:
        results.append(await crowd.change(1))

    async with open_crowd() as crowd:
        if not is_first:  # one lane is to look again while the change is under way
            crowd.say(str(YOUNG / 4))
            await wait_all_tasks_blocked()
            crowd.say(*[str(YOUNG / 4)] * CROWD)
        nursery.start_soon(change)
        await trio.sleep(YOUNG * 2)
    await wait_all_tasks_blocked()
    assert results == ["changed"]


async def test_a_change_that_the_end_cuts_does_not_pass_for_one_that_was_made(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    results = []

    async def change() -> None:
        results.append(await crowd.change(4))

    async with open_crowd(commit_drain_seconds=1) as crowd:
        nursery.start_soon(change)
        await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert results == ["unavailable"]
