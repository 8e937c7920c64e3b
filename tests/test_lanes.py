"""The journal's lanes: what begins beside a transaction under way, and what waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.context import RoomEvent
from chatd.errors import ChatError
from chatd.metrics import Metrics
from chatd.nurseries.journal import AT_ONCE, YOUNG, Journal, open_journal
from chatd.rows import AppendRow, NewMessage
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
        self._alice = alice
        self.sessions = sessions

    def say(self, *seconds: str) -> None:
        """Send messages, each into the next session; their transactions take that long."""
        for content in seconds:
            self.say_in(self.sessions.pop(), content)

    def say_in(self, session_id: UUID, content: str) -> None:
        def settle(outcome: AppendRow | ChatError) -> RoomEvent | None:
            assert isinstance(outcome, AppendRow)
            self.stored.append(content)
            return None

        self.journal.submit(words(session_id, self._alice, content), settle)


@asynccontextmanager
async def open_crowd() -> AsyncIterator[Crowd]:
    store = Slow()
    alice = await sign_up(store, "Alice")
    sessions = [await gather(store, alice) for _ in range(4 * CROWD)]

    def publish(events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        del events, is_answered

    options = Settings(journal_lanes=LANES)
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
        session_id = crowd.sessions.pop()
        crowd.say_in(session_id, "3")
        await wait_all_tasks_blocked()
        for _ in range(CROWD):
            crowd.say_in(session_id, "0")
        await trio.sleep(1)
        assert len(crowd.store.begun) == 1
        crowd.say("0")
        await trio.sleep(1)
        assert crowd.stored == ["0"]
    assert crowd.stored == ["0", "3", *["0"] * CROWD]


async def test_nobody_waits_long_for_two_transactions_that_hang_and_a_crowd_behind_them(
    autojump_clock: MockClock,
) -> None:
    async with open_crowd() as crowd:
        session_id = crowd.sessions.pop()
        crowd.say_in(session_id, "4")
        await wait_all_tasks_blocked()
        for _ in range(CROWD):
            crowd.say_in(session_id, "0")
        await trio.sleep(1)
        crowd.say("3")  # it hangs as well
        await wait_all_tasks_blocked()
        crowd.say("0")
        await trio.sleep(1)
        assert crowd.stored == ["0"]
