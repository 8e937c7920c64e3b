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

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import structlog
import trio
from trio.lowlevel import ParkingLot

from chatd.config import Settings
from chatd.context import RoomEvent, Settle
from chatd.contract import Store
from chatd.errors import (
    ChatError,
    DeadlineExceeded,
    Draining,
    InternalError,
    Overloaded,
    StoreAmbiguous,
    StoreBug,
    StoreError,
    StoreRetryable,
    Unavailable,
)
from chatd.metrics import Metrics
from chatd.nurseries.deadlines import Deadline, Deadlines
from chatd.rows import AppendRow, NewMessage

T = TypeVar("T")
AT_ONCE = 4  # messages that begin a transaction beside a young one; more are its next batch
YOUNG = 0.02  # seconds; what takes longer waits for a lock or a disk, and nobody waits for that
LOOK_PAST = 4  # batches of messages that are passed over for one that may go ahead of them
RETRIES = 3  # of a transaction that PostgreSQL gave up for another's sake
RESOLVE_PAUSE = 0.1  # seconds between two questions after a lost COMMIT

log = structlog.get_logger("chatd.journal")


class Publish(Protocol):
    """Tells the rooms what was committed."""

    def __call__(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Publish the events of one transaction; never waits.

        Args:
            is_answered: who asked for them has the ack already, so that they may leave at once.
        """


class _Submission(NamedTuple):
    message: NewMessage
    settle: Settle
    keys: tuple[object, ...]
    deadline: Deadline | None = None


def _keys_of(message: NewMessage) -> tuple[object, ...]:
    """Return what no two transactions under way share, nor two messages of a batch but the first.

    The session, for its order; what makes a repeat of the message one; its files. By integers: a
    UUID is hashed and compared in Python.
    """
    files = [file_id.int for file_id in message.attachments]
    if message.client_msg_id is None:
        return message.session_id.int, *files
    return message.session_id.int, (message.sender_id.int, message.client_msg_id), *files


class _Change:
    """A durable change other than a message, and the caller that waits for it."""

    def __init__(self, work: Callable[[], Awaitable[tuple[Any, Sequence[RoomEvent]]]]) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None


def _is_answered(item: _Submission | _Change) -> bool:
    deadline = item.deadline if isinstance(item, _Submission) else None
    return deadline is not None and not deadline.is_watched


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
        self._store = store
        self._publish = publish
        self._settings = settings
        self._metrics = metrics
        self._queue: deque[_Submission | _Change] = deque()
        self._under_way: list[float] = []  # when each transaction began
        self._busy: set[object] = set()  # keys of their messages
        self._is_changing = False  # a change is under way, alone
        self._is_stuck = False  # all that waits is behind what is under way
        self._deadlines = Deadlines()
        self._late = 0  # messages in the queue that were answered at their deadline
        self._free = ParkingLot()  # lanes that have found nothing to do
        self._is_woken = False  # one of them is about to look again
        self._is_waiting = False  # one of them looks again when what is under way is not young
        self._idle = trio.Event()
        self._idle.set()
        self._is_closed = False

    def submit(self, message: NewMessage, settle: Settle, *, lifetime: float | None = None) -> None:
        """Take a message for the next group commit. See `chatd.context.Journal`."""
        keys = _keys_of(message)
        if lifetime is None:
            self._take(_Submission(message, settle, keys))
            return
        deadline = Deadline(trio.current_time() + lifetime, partial(self._expire, settle))
        self._take(_Submission(message, settle, keys, deadline))
        self._deadlines.watch(deadline)

    def _expire(self, settle: Settle) -> None:
        """Answer a message that waits at its deadline; it leaves the queue when many are late."""
        settle(DeadlineExceeded())
        self._late += 1
        if self._late * 2 > len(self._queue):
            self._queue = deque(item for item in self._queue if not _is_answered(item))
            self._late = 0
        self._is_stuck = False  # another may have waited behind this one alone
        self._wake()

    def _is_late(self, submission: _Submission) -> bool:
        """Return whether a message that has left the queue was, or is now, answered as too late."""
        deadline = submission.deadline
        if deadline is None:
            return False
        if not deadline.is_watched:
            self._late -= 1
            return True
        if deadline.is_over:
            self._deadlines.forget(deadline)
            submission.settle(DeadlineExceeded())
            return True
        return False

    async def change(self, work: Callable[[], Awaitable[tuple[T, Sequence[RoomEvent]]]]) -> T:
        """Run a change in its order among the messages. See `chatd.context.Journal`.

        A caller that is cancelled does not undo it.
        """
        change = _Change(work)
        self._take(change)
        await change.done.wait()
        if change.error is not None:
            raise change.error
        result: T = change.result
        return result

    def _take(self, item: _Submission | _Change) -> None:
        if self._is_closed:
            raise Draining(retry_after=self._settings.drain_seconds)
        if not self._is_writable():
            msg = "the disk is almost full: reading goes on, writing does not"
            raise Unavailable(msg, retry_after=60)
        if len(self._queue) - self._late >= self._settings.journal_queue:
            raise Overloaded(retry_after=1)
        self._queue.append(item)
        if isinstance(item, _Submission) and item.keys[0] not in self._busy:
            self._is_stuck = False
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._wake()

    def _wake(self) -> None:
        """Let a lane look for work, unless one is about to or will in time."""
        if self._is_stuck or self._is_changing or self._is_woken or not self._free:
            return  # what ends looks by itself
        if self._may_begin() or not self._is_waiting:
            self._is_woken = True
            self._free.unpark()

    async def run(self, nursery: trio.Nursery) -> None:
        """Write until cancelled; transactions run in `nursery`."""
        for _ in range(self._settings.journal_lanes):
            nursery.start_soon(self._serve)
        await self._deadlines.run()

    async def _serve(self) -> None:
        """Be a lane: one transaction after the other, as long as there is any."""
        while True:
            self._is_woken = False
            if batch := self._next_batch():
                await self._commit_lane(batch)
            elif change := self._next_change():
                self._is_changing = True
                await self._run_change(change)
                self._is_changing = False
            else:
                if not (self._queue or self._under_way or self._is_changing):
                    self._idle.set()
                await self._wait_for_work()

    def _may_begin(self) -> bool:
        """Return whether what waits for a transaction may have one now.

        Many that come while one is under way are one batch behind it; a few do not wait for it,
        nor does what is a whole batch.
        """
        waiting = len(self._queue) - self._late
        if waiting <= AT_ONCE or waiting >= self._settings.journal_batch or not self._under_way:
            return True
        return trio.current_time() >= self._under_way[-1] + YOUNG

    async def _wait_for_work(self) -> None:
        """Wait until it is worth to look, at most until a transaction under way is not young."""
        if not self._queue or not self._under_way or self._is_changing or self._is_stuck:
            await self._free.park()
            return
        self._is_waiting = True
        with trio.move_on_at(self._under_way[-1] + YOUNG):
            await self._free.park()
        self._is_waiting = False

    async def _commit_lane(self, batch: list[_Submission]) -> None:
        keys = {key for submission in batch for key in submission.keys}
        began = trio.current_time()
        self._busy |= keys
        self._under_way.append(began)
        if self._queue:
            self._wake()
        await self._commit(batch)
        self._busy -= keys
        self._under_way.remove(began)
        self._is_stuck = False

    def is_busy(self, session_id: UUID) -> bool:
        """Return whether a transaction of this session is under way, perhaps with an unknown end.

        What it has stored is not to be told before its sender is answered.
        """
        return session_id.int in self._busy

    async def flush(self) -> None:
        """Take nothing more, and wait until everything taken is settled."""
        self._is_closed = True
        await self._idle.wait()

    def _next_batch(self) -> list[_Submission]:
        """Take messages up to the next change or the batch's bound, but none out of its order.

        A message stays behind one that is under way in its session, and a repeat behind the first
        with its key: it finds that one stored.
        """
        if self._is_stuck or self._is_changing or not self._queue or not self._may_begin():
            return []
        batch: list[_Submission] = []
        left: list[_Submission] = []
        blocked = self._busy.copy()
        size = self._settings.journal_batch
        while self._queue and len(batch) < size and len(left) < LOOK_PAST * size:
            item = self._queue[0]
            if isinstance(item, _Change):
                break
            self._queue.popleft()
            if item.deadline is not None and self._is_late(item):
                continue
            keys = item.keys
            if blocked.isdisjoint(keys):
                if item.deadline is not None:
                    self._deadlines.forget(item.deadline)  # its transaction begins
                batch.append(item)
                blocked.update(keys[1:])
            else:
                left.append(item)
                blocked.update(keys)
        self._queue.extendleft(reversed(left))
        self._is_stuck = not batch and bool(self._queue and self._under_way)
        return batch

    def _next_change(self) -> _Change | None:
        """Take the change that is next; it waits for those before it, and those behind for it."""
        if not self._queue or self._is_changing or self._under_way:
            return None
        first = self._queue[0]
        if not isinstance(first, _Change):
            return None
        self._queue.popleft()
        return first

    async def _commit(self, batch: list[_Submission]) -> None:
        self._metrics.batch.observe(len(batch))
        started = trio.current_time()
        outcomes = await self._append(batch)
        self._metrics.commit_seconds.observe(trio.current_time() - started)
        settled = [
            submission.settle(outcome) for submission, outcome in zip(batch, outcomes, strict=True)
        ]
        events = [event for event in settled if event is not None]
        self._publish(events, is_answered=True)
        self._metrics.messages.inc(len(events))

    async def _append(self, batch: list[_Submission]) -> Sequence[AppendRow | ChatError]:
        """Store a batch and return an outcome a message, whatever the store does meanwhile."""
        messages = [submission.message for submission in batch]
        for attempt in range(RETRIES + 1):
            try:
                with trio.move_on_after(self._settings.commit_timeout):
                    return await self._store.append_messages(messages)
                return await self._resolve(messages)  # no answer in time
            except StoreRetryable:
                await trio.sleep(0.005 * 2**attempt)
            except StoreAmbiguous:
                return await self._resolve(messages)
            except StoreBug:
                if len(batch) > 1:  # one bad message does not fail the others
                    middle = len(batch) // 2
                    return [
                        *await self._append(batch[:middle]),
                        *await self._append(batch[middle:]),
                    ]
                log.exception("a message cannot be stored", message=str(messages[0].id))
                return [InternalError()]
            except StoreError as trouble:
                log.warning("messages not stored", count=len(batch), error=str(trouble))
                break
        return [Unavailable(retry_after=1)] * len(batch)

    async def _resolve(self, messages: list[NewMessage]) -> Sequence[AppendRow | ChatError]:
        """Find out what became of a COMMIT whose answer was lost: neither ack nor error before."""
        log.warning("commit unknown, reading again", count=len(messages))
        found: Sequence[AppendRow | None] = [None] * len(messages)
        with trio.move_on_after(self._settings.resolve_timeout):
            while True:
                try:
                    found = await self._store.find_messages(messages)
                    break
                except StoreError as trouble:
                    log.warning("store away", error=str(trouble))
                    await trio.sleep(RESOLVE_PAUSE)
        log.info("commit resolved", stored=sum(row is not None for row in found))
        return [Unavailable(retry_after=1) if row is None else row for row in found]

    async def _work(self, change: _Change) -> Sequence[RoomEvent]:
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

    async def _run_change(self, change: _Change) -> None:
        change.error = Unavailable(retry_after=1)  # unless it comes to an end
        try:
            with trio.fail_after(self._settings.commit_timeout):
                events = await self._work(change)
        except (ChatError, StoreError) as refusal:
            change.error = refusal
        except trio.TooSlowError:
            pass
        except Exception as bug:  # noqa: BLE001 - the caller raises it; the journal goes on
            change.error = bug
        else:
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
