"""Group commit: the one way by which every durable change of a session is written.

What arrives while transactions are under way is the next batch: no timer, no added
latency, 24-34 µs a message from 50 senders against a millisecond one by one. A few transactions may
be under way at once, of different sessions, for PostgreSQL flushes them together: with one, a
message waits for half of another's flush before its own. In one step without a
checkpoint the outcome of each message is settled, which puts the ack into the sender's outbox, and
then their events are published: so the ack is ahead of the echo, and the published order of a
session is the order of `seq`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import trio
from trio.lowlevel import ParkingLot

from chatd.config import Settings
from chatd.context import RoomEvent, Settle
from chatd.contract import Store
from chatd.errors import (
    ChatError,
    DeadlineExceeded,
    Draining,
    Overloaded,
    StoreAmbiguous,
    StoreRetryable,
    Unavailable,
)
from chatd.metrics import Metrics
from chatd.nurseries.appends import RESOLVE_PAUSE, RETRIES, Appender
from chatd.nurseries.backlog import Backlog, Batch, Change, Submission, keys_of
from chatd.nurseries.deadlines import Deadline
from chatd.nurseries.lanes import Lane, watch
from chatd.rows import AppendRow, NewMessage

T = TypeVar("T")


class Publish(Protocol):
    """Tells the rooms what was committed."""

    def __call__(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Publish the events of one transaction; never waits.

        Args:
            is_answered: who asked for them has the ack already, so that they may leave at once.
        """


class Journal:
    """See `chatd.context.Journal`; made by `open_journal`."""

    def __init__(
        self,
        store: Store,
        publish: Publish,
        settings: Settings,
        metrics: Metrics,
        is_writable: Callable[[], bool],
    ) -> None:
        self._is_writable = is_writable
        self._publish = publish
        self._settings = settings
        self._metrics = metrics
        self._appender = Appender(store, settings)
        self._waiting = Backlog(settings.journal_batch)
        self._free = ParkingLot()  # lanes that have found nothing to do
        self._is_woken = False  # one of them is about to look again
        self._is_timed = False  # one of them looks again when what is under way is not young
        self._lanes: list[Lane] = []
        self._idle: trio.Event | None = None  # somebody waits until there is nothing to do
        self._is_closed = False

    def submit(self, message: NewMessage, settle: Settle, *, lifetime: float | None = None) -> None:
        """Take a message for the next group commit. See `chatd.context.Journal`."""
        keys = keys_of(message)
        if lifetime is None:
            self._take(Submission(message, settle, keys))
            return
        deadline = Deadline(trio.current_time() + lifetime, partial(self._expire, settle))
        self._take(Submission(message, settle, keys, deadline))

    def _expire(self, settle: Settle) -> None:
        """Answer a message that waits at its deadline."""
        settle(DeadlineExceeded())
        self._waiting.expired()
        self._wake()

    async def change(self, work: Callable[[], Awaitable[tuple[T, Sequence[RoomEvent]]]]) -> T:
        """Run a change in its order among the messages. See `chatd.context.Journal`.

        A caller that is cancelled does not undo it.
        """
        change = Change(work)
        self._take(change)
        await change.done.wait()
        if change.error is not None:
            raise change.error
        result: T = change.result
        return result

    def _take(self, item: Submission | Change) -> None:
        if self._is_closed:
            raise Draining(retry_after=self._settings.drain_seconds)
        if not self._is_writable():
            msg = "the disk is almost full: reading goes on, writing does not"
            raise Unavailable(msg, retry_after=60)
        if len(self._waiting) >= self._settings.journal_queue:
            raise Overloaded(retry_after=1)
        self._waiting.add(item)
        self._wake()

    def _wake(self) -> None:
        """Let a lane look for work, unless one is about to or will in time."""
        waiting = self._waiting
        if waiting.is_blocked or self._is_woken or not self._free:
            return
        if waiting.may_begin() or not self._is_timed:
            self._is_woken = True
            self._free.unpark()

    async def run(self, nursery: trio.Nursery) -> None:
        """Write until cancelled; transactions run in `nursery`."""
        for _ in range(self._settings.journal_lanes):
            nursery.start_soon(self._serve)
        nursery.start_soon(watch, self._lanes, self._settings)
        await self._waiting.deadlines.run()

    async def _serve(self) -> None:
        """Be a lane, whatever becomes of its transactions."""
        lane = Lane()
        self._lanes.append(lane)
        while True:
            with lane.begin():
                await self._work_on(lane)
            if lane.batch is not None:  # no answer in time
                messages = [submission.message for submission in lane.batch.submissions]
                self._settle(lane.batch, await self._appender.resolve(messages))
                lane.batch = None

    async def _work_on(self, lane: Lane) -> None:
        """Run one transaction after the other, as long as there is any and none is late."""
        waiting = self._waiting
        while not lane.is_late:
            self._is_woken = False
            if (batch := waiting.next_batch()) is not None:
                if len(waiting):
                    self._wake()
                lane.batch = batch
                self._settle(batch, await self._appender.append(lane, batch.submissions))
                lane.batch = None
            elif (change := waiting.next_change()) is not None:
                await self._run_change(change)
                waiting.end_change()
            else:
                if self._idle is not None and waiting.is_idle:
                    self._idle.set()
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        """Wait until it is worth to look, at most until a transaction under way is not young."""
        until = self._waiting.next_look()
        if until == math.inf:
            await self._free.park()
            return
        self._is_timed = True
        with trio.move_on_at(until):
            await self._free.park()
        self._is_timed = False

    def is_busy(self, session_id: UUID) -> bool:
        """Return whether a transaction of this session is under way, perhaps with an unknown end.

        What it has stored is not to be told before its sender is answered.
        """
        return self._waiting.is_busy(session_id)

    async def flush(self) -> None:
        """Take nothing more, and wait until everything taken is settled."""
        self._is_closed = True
        if not self._waiting.is_idle:
            self._idle = self._idle or trio.Event()
            await self._idle.wait()

    def _settle(self, batch: Batch, outcomes: Sequence[AppendRow | ChatError]) -> None:
        """Tell who has sent a batch what became of it, and then the rooms."""
        submissions, seconds = batch.submissions, trio.current_time() - batch.began
        settled = [
            submission.settle(outcome)
            for submission, outcome in zip(submissions, outcomes, strict=True)
        ]
        events = [event for event in settled if event is not None]
        self._publish(events, is_answered=True)
        self._waiting.end(batch)
        metrics = self._metrics
        metrics.messages.inc(len(events))
        metrics.batch.observe(len(submissions))
        metrics.commit_seconds.observe(seconds)

    async def _work(self, change: Change) -> Sequence[RoomEvent]:
        """Run a change; one whose COMMIT was lost runs again, for every change is idempotent.

        When it finds itself done its events are missing: the rooms read them from the store.
        """
        for _ in range(RETRIES):
            try:
                change.result, events = await change.work()
            except (StoreAmbiguous, StoreRetryable):
                await trio.sleep(RESOLVE_PAUSE)
            else:
                return events
        change.result, events = await change.work()
        return events

    async def _run_change(self, change: Change) -> None:
        change.error = Unavailable(retry_after=1)  # unless it comes to an end in time
        events = None
        try:
            with trio.move_on_after(self._settings.commit_timeout):
                events = await self._work(change)
        except Exception as trouble:  # noqa: BLE001 - the caller raises it; the journal goes on
            change.error = trouble
        else:
            if events is not None:
                change.error = None
                self._publish(events, is_answered=False)
        finally:
            change.done.set()


@asynccontextmanager
async def open_journal(
    store: Store,
    publish: Publish,
    settings: Settings,
    metrics: Metrics,
    is_writable: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Journal]:
    """Run the journal for the length of the block, then finish what it has taken, in bounded time.

    A message that is not settled by then was not acknowledged either.
    """
    journal = Journal(store, publish, settings, metrics, is_writable)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.run, nursery)
        try:
            yield journal
        finally:
            with trio.move_on_after(settings.commit_drain_seconds, shield=True):
                await journal.flush()
            nursery.cancel_scope.cancel(reason="the daemon stops")
