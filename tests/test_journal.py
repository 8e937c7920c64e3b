"""The journal: group commit, its order, and what it says when the store does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.context import RoomEvent
from chatd.errors import (
    ChatError,
    Draining,
    Forbidden,
    InternalError,
    Overloaded,
    StoreAmbiguous,
    StoreBug,
    StoreRetryable,
    StoreUnavailable,
    Unavailable,
)
from chatd.metrics import Metrics
from chatd.nurseries.journal import Journal, open_journal
from chatd.rows import Append, AppendRow, NewMessage
from chatd.store.memory import MemoryStore
from tests.store.kit import gather, sign_up, words


class Ledger(MemoryStore):
    """The twin, which remembers its batches and cannot take a message that says `bad`."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.pause_behind_commit = 0.0

    async def append_messages(self, batch: Sequence[NewMessage]) -> list[AppendRow]:
        self.batches.append([message.content for message in batch])
        if "bad" in self.batches[-1]:
            msg = "no such column"
            raise StoreBug(msg)
        if self.batches[-1] == ["slow alone"]:
            await trio.sleep(60)
        rows = await super().append_messages(batch)
        await trio.sleep(self.pause_behind_commit)
        return rows


@dataclass
class Desk:
    """Somebody who hands messages to a journal, and everything that happens."""

    store: Ledger
    journal: Journal
    published: list[RoomEvent]
    alice: UUID
    session: UUID
    story: list[str] = field(default_factory=list)
    outcomes: dict[str, AppendRow | ChatError] = field(default_factory=dict)

    def say(self, *contents: str, key: str | None = None, lifetime: float | None = None) -> None:
        for content in contents:
            self._say(content, key, lifetime)

    def _say(self, content: str, key: str | None, lifetime: float | None) -> None:
        def settle(outcome: AppendRow | ChatError) -> RoomEvent | None:
            assert content not in self.outcomes
            self.outcomes[content] = outcome
            self.story.append(f"ack {content}")
            if isinstance(outcome, ChatError) or outcome.outcome is not Append.STORED:
                return None
            assert outcome.row is not None
            return RoomEvent(self.session, outcome.row.seq, "message:new", content.encode())

        message = words(self.session, self.alice, content, key=key)
        self.journal.submit(message, settle, lifetime=lifetime)

    async def quiet(self) -> None:
        """Wait until everything that was said is settled; needs an autojump clock."""
        await trio.sleep(60)

    def seq(self, content: str) -> int:
        outcome = self.outcomes[content]
        assert isinstance(outcome, AppendRow)
        assert outcome.row is not None
        return outcome.row.seq

    def stored(self) -> list[str]:
        return [event.data.decode() for event in self.published]


@asynccontextmanager
async def open_desk(*, is_writable: bool = True, **settings: Any) -> AsyncIterator[Desk]:
    store = Ledger()
    alice = await sign_up(store, "Alice")
    session = await gather(store, alice)
    published: list[RoomEvent] = []
    story: list[str] = []

    def publish(events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        del is_answered
        published.extend(events)
        story.extend(f"publish {event.data.decode()}" for event in events)

    options = Settings(**settings)
    async with open_journal(store, publish, options, Metrics(), lambda: is_writable) as journal:
        yield Desk(store, journal, published, alice, session, story)


async def test_what_arrives_during_a_commit_is_the_next_batch(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.store.latency = 1
        desk.say("one")
        await wait_all_tasks_blocked()
        desk.say("two", "three", "four")
        await wait_all_tasks_blocked()
        assert desk.store.batches == [["one"]]
        for _ in range(2):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
        assert desk.store.batches == [["one"], ["two", "three", "four"]]
        assert desk.stored() == ["one", "two", "three", "four"]


async def test_a_batch_holds_no_more_than_its_bound() -> None:
    async with open_desk(journal_batch=3) as desk:
        desk.say(*"abcdefg")
        await wait_all_tasks_blocked()
        assert desk.store.batches == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
        assert desk.stored() == list("abcdefg")


async def test_each_message_is_acked_ahead_of_its_event_and_events_rise_by_seq() -> None:
    async with open_desk() as desk:
        desk.say("a", "b", "c")
        await wait_all_tasks_blocked()
        assert desk.story == ["ack a", "ack b", "ack c", "publish a", "publish b", "publish c"]
        assert [event.seq for event in desk.published] == [1, 2, 3]


async def test_two_messages_with_one_key_are_one_row_and_one_event() -> None:
    async with open_desk() as desk:
        desk.say("first", key="k")
        desk.say("other")
        desk.say("again", key="k")
        desk.say("last")
        await wait_all_tasks_blocked()
        assert desk.store.batches == [["first", "other"], ["again", "last"]]
        again = desk.outcomes["again"]
        assert isinstance(again, AppendRow)
        assert again.outcome is Append.DUPLICATE
        assert desk.seq("again") == desk.seq("first") == 1
        assert desk.stored() == ["first", "other", "last"]


async def test_a_change_runs_in_its_order_among_the_messages(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_desk() as desk:
        results: list[str] = []

        async def work() -> tuple[str, list[RoomEvent]]:
            row = await desk.store.update_session(desk.session, name="Coffee")
            assert row is not None
            event = RoomEvent(desk.session, row.seq, "session:updated", b"rename")
            return "renamed", [event]

        async def rename() -> None:
            results.append(await desk.journal.change(work))

        desk.store.latency = 1
        desk.say("under way")
        await wait_all_tasks_blocked()
        desk.store.latency = 0
        desk.say("before")
        nursery.start_soon(rename)
        await wait_all_tasks_blocked()
        desk.say("after")
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert desk.store.batches == [["under way"], ["before"], ["after"]]
        assert [(event.seq, event.data) for event in desk.published] == [
            (1, b"under way"),
            (2, b"before"),
            (3, b"rename"),
            (4, b"after"),
        ]
        assert results == ["renamed"]


@pytest.mark.parametrize(
    "trouble", [Forbidden(), StoreUnavailable("away"), ZeroDivisionError("bug")]
)
async def test_a_change_that_fails_fails_its_caller_and_nobody_else(trouble: Exception) -> None:
    async with open_desk() as desk:

        async def work() -> tuple[None, list[RoomEvent]]:
            await trio.lowlevel.checkpoint()
            raise trouble

        with pytest.raises(type(trouble)) as raised:
            await desk.journal.change(work)
        assert raised.value is trouble
        desk.say("next")
        await wait_all_tasks_blocked()
        assert desk.stored() == ["next"]


async def test_a_change_whose_commit_was_lost_is_run_again(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.store.fail_next("update_session", StoreAmbiguous("lost"), times=2)

        async def work() -> tuple[int, list[RoomEvent]]:
            row = await desk.store.update_session(desk.session, name="Coffee")
            assert row is not None
            return row.seq, [RoomEvent(desk.session, row.seq, "session:updated", b"rename")]

        seq = await desk.journal.change(work)
        assert [event.seq for event in desk.published] == [seq]
        desk.store.fail_next("update_session", StoreAmbiguous("lost"), times=100)
        with pytest.raises(StoreAmbiguous):
            await desk.journal.change(work)


async def test_a_change_is_given_up_at_the_commit_timeout(autojump_clock: MockClock) -> None:
    async with open_desk(commit_timeout=5) as desk:
        began = trio.current_time()
        with pytest.raises(Unavailable) as refusal:
            await desk.journal.change(trio.sleep_forever)
        assert trio.current_time() - began == pytest.approx(5)
        assert refusal.value.retry_after == 1


async def test_a_caller_that_is_cancelled_does_not_undo_its_change(mock_clock: MockClock) -> None:
    async with open_desk() as desk:

        async def work() -> tuple[None, list[RoomEvent]]:
            await trio.sleep(1)
            return None, [RoomEvent(desk.session, 1, "session:updated", b"rename")]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.journal.change, work)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert desk.stored() == []
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert desk.stored() == ["rename"]


async def test_a_retryable_failure_is_tried_again_unseen(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreRetryable("deadlock"), times=3)
        desk.say("stubborn")
        await desk.quiet()
        assert desk.stored() == ["stubborn"]


async def test_a_failure_that_stays_retryable_ends_as_unavailable(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreRetryable("deadlock"), times=4)
        desk.say("unlucky")
        await desk.quiet()
        assert isinstance(desk.outcomes["unlucky"], Unavailable)
        assert desk.stored() == []
        desk.say("lucky")
        await wait_all_tasks_blocked()
        assert desk.stored() == ["lucky"]


async def test_a_lost_commit_that_happened_is_acked_once() -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreAmbiguous("lost"))
        desk.say("a", "b")
        await wait_all_tasks_blocked()
        assert (desk.seq("a"), desk.seq("b")) == (1, 2)
        assert desk.stored() == ["a", "b"]
        assert len(desk.store.batches) == 1


async def test_a_lost_commit_that_did_not_happen_is_unavailable_and_can_be_repeated() -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreAmbiguous("lost"), is_committed=False)
        desk.say("try", key="k")
        await wait_all_tasks_blocked()
        refusal = desk.outcomes["try"]
        assert isinstance(refusal, Unavailable)
        assert refusal.retryable
        desk.say("try again", key="k")
        await wait_all_tasks_blocked()
        assert desk.seq("try again") == 1
        assert desk.stored() == ["try again"]


async def test_a_lost_commit_is_asked_for_until_the_store_is_back(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreAmbiguous("lost"))
        desk.store.fail_next("find_messages", StoreUnavailable("away"), times=20)
        desk.say("patient")
        await desk.quiet()
        assert desk.stored() == ["patient"]


async def test_a_lost_commit_is_unavailable_after_the_resolve_timeout_and_not_before(
    mock_clock: MockClock,
) -> None:
    async with open_desk(resolve_timeout=5) as desk:
        desk.store.fail_next("append_messages", StoreAmbiguous("lost"))
        desk.store.fail_next("find_messages", StoreUnavailable("away"), times=1000)
        desk.say("unknown")
        await wait_all_tasks_blocked()
        for _ in range(49):
            mock_clock.jump(0.1)
            await wait_all_tasks_blocked()
        assert desk.outcomes == {}
        mock_clock.jump(0.11)
        await wait_all_tasks_blocked()
        assert isinstance(desk.outcomes["unknown"], Unavailable)


async def test_a_commit_whose_answer_does_not_come_is_read_again(mock_clock: MockClock) -> None:
    async with open_desk(commit_timeout=5) as desk:
        desk.store.pause_behind_commit = 60
        desk.say("slow")
        await wait_all_tasks_blocked()
        mock_clock.jump(4.9)
        await wait_all_tasks_blocked()
        assert desk.outcomes == {}
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert desk.stored() == ["slow"]


async def test_what_is_late_of_a_batch_that_was_divided_takes_nothing_from_the_rest(
    mock_clock: MockClock,
) -> None:
    async with open_desk(commit_timeout=5) as desk:
        with structlog.testing.capture_logs() as logs:
            desk.say("good", "bad", "slow alone")
            await wait_all_tasks_blocked()
            mock_clock.jump(5)
            await wait_all_tasks_blocked()
        assert [entry["event"] for entry in logs] == [
            "a message cannot be stored",
            "commit unknown, reading again",
            "commit resolved",
        ]
        assert desk.seq("good") == 1
        assert isinstance(desk.outcomes["bad"], InternalError)
        assert isinstance(desk.outcomes["slow alone"], Unavailable)
        assert desk.stored() == ["good"]
        desk.say("next")
        await wait_all_tasks_blocked()
        assert desk.stored() == ["good", "next"]


async def test_a_store_that_is_away_stores_nothing_and_says_so() -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreUnavailable("away"))
        desk.say("a", "b")
        await wait_all_tasks_blocked()
        assert [type(outcome) for outcome in desk.outcomes.values()] == [Unavailable, Unavailable]
        assert desk.stored() == []


async def test_one_bad_message_does_not_fail_the_others() -> None:
    async with open_desk() as desk:
        with structlog.testing.capture_logs() as logs:
            desk.say("a", "b", "bad", "c", "d")
            await wait_all_tasks_blocked()
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
            "a message cannot be stored"
        ]
        assert isinstance(desk.outcomes.pop("bad"), InternalError)
        assert desk.stored() == ["a", "b", "c", "d"]
        assert [desk.seq(content) for content in "abcd"] == [1, 2, 3, 4]


async def test_a_full_queue_refuses_the_next_message_and_takes_nothing_of_it() -> None:
    async with open_desk(journal_queue=3) as desk:
        desk.say("a", "b", "c")
        with pytest.raises(Overloaded) as refusal:
            desk.say("d")
        assert refusal.value.retry_after == 1
        with pytest.raises(Overloaded):
            await desk.journal.change(trio.sleep_forever)
        await wait_all_tasks_blocked()
        assert desk.stored() == ["a", "b", "c"]
        desk.say("e")
        await wait_all_tasks_blocked()
        assert desk.stored() == ["a", "b", "c", "e"]


async def test_a_full_disk_refuses_what_would_write() -> None:
    async with open_desk(is_writable=False) as desk:
        with pytest.raises(Unavailable) as refusal:
            desk.say("a")
        assert refusal.value.retry_after == 60


async def test_the_end_waits_for_the_commit_under_way_and_takes_nothing_new(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    closed = trio.Event()
    desks: list[Desk] = []

    async def life() -> None:
        async with open_desk() as desk:
            desks.append(desk)
            desk.store.latency = 1
            desk.say("in flight")
        closed.set()

    nursery.start_soon(life)
    await wait_all_tasks_blocked()
    [desk] = desks
    assert not closed.is_set()
    with pytest.raises(Draining):
        desk.say("too late")
    mock_clock.jump(1)
    await wait_all_tasks_blocked()
    assert closed.is_set()
    assert desk.stored() == ["in flight"]


async def test_the_end_does_not_wait_longer_than_the_drain_of_commits(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    closed = trio.Event()
    desks: list[Desk] = []

    async def life() -> None:
        async with open_desk(commit_timeout=60, commit_drain_seconds=5) as desk:
            desks.append(desk)
            desk.store.latency = 1000
            desk.say("stuck")
        closed.set()

    nursery.start_soon(life)
    await wait_all_tasks_blocked()
    mock_clock.jump(4.9)
    await wait_all_tasks_blocked()
    assert not closed.is_set()
    mock_clock.jump(0.1)
    await wait_all_tasks_blocked()
    assert closed.is_set()
    assert desks[0].outcomes == {}  # neither stored nor acked
