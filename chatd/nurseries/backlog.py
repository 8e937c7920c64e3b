"""What waits for the journal, in its order, and what of it may begin now.

A session's messages follow each other, a repeat follows the first with its key, and a change stands
alone between those before it and those behind. Nothing here waits.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import trio

from chatd.context import RoomEvent, Settle
from chatd.errors import DeadlineExceeded
from chatd.nurseries.deadlines import Deadline, Deadlines
from chatd.rows import NewMessage

AT_ONCE = 4  # messages that begin a transaction beside a young one; more are its next batch
YOUNG = 0.02  # seconds; what takes longer waits for a lock or a disk, and nobody waits for that
LOOK_PAST = 4  # batches of messages that are passed over for one that may go ahead of them


class Submission(NamedTuple):
    """A message, who is told what became of it, and until when it may begin."""

    message: NewMessage
    settle: Settle
    keys: tuple[object, ...]
    deadline: Deadline | None = None


def keys_of(message: NewMessage) -> tuple[object, ...]:
    """Return what no two transactions under way share, nor two messages of a batch but the first.

    The session, for its order; what makes a repeat of the message one; its files. By integers: a
    UUID is hashed and compared in Python.
    """
    files = [file_id.int for file_id in message.attachments]
    if message.client_msg_id is None:
        return message.session_id.int, *files
    return message.session_id.int, (message.sender_id.int, message.client_msg_id), *files


class Change:
    """A durable change other than a message, and the caller that waits for it."""

    def __init__(self, work: Callable[[], Awaitable[tuple[Any, Sequence[RoomEvent]]]]) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: Any = None
        self.error: Exception | None = None


class Batch(NamedTuple):
    """The messages of one transaction that is under way."""

    submissions: list[Submission]
    keys: set[object]
    began: float


def _is_answered(item: Submission | Change) -> bool:
    deadline = item.deadline if isinstance(item, Submission) else None
    return deadline is not None and not deadline.is_watched


class Backlog:
    """Messages and changes; who takes some says when they have ended.

    Args:
        batch: messages of one transaction at most.

    Attributes:
        deadlines: of the messages that wait; somebody has to run them.
    """

    def __init__(self, batch: int) -> None:
        self.deadlines = Deadlines()
        self._batch = batch
        self._queue: deque[Submission | Change] = deque()
        self._late = 0  # messages in the queue that were answered at their deadline
        self._under_way: list[float] = []  # when each transaction began
        self._busy: set[object] = set()  # keys of their messages
        self._is_changing = False  # a change is under way, alone
        self._is_stuck = False  # all that waits is behind what is under way

    def __len__(self) -> int:
        """Return how much waits and was not answered."""
        return len(self._queue) - self._late

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self._queue or self._under_way or self._is_changing)

    @property
    def is_blocked(self) -> bool:
        """Whether nothing can begin before something has ended: that looks again by itself."""
        return self._is_stuck or self._is_changing

    def is_busy(self, session_id: UUID) -> bool:
        """Return whether a transaction of this session is under way."""
        return session_id.int in self._busy

    def add(self, item: Submission | Change) -> None:
        """Let something wait."""
        self._queue.append(item)
        if isinstance(item, Change):
            return
        if item.deadline is not None:
            self.deadlines.watch(item.deadline)
        if item.keys[0] not in self._busy:
            self._is_stuck = False

    def expired(self) -> None:
        """Note that a message was answered at its deadline; with many late ones they all go."""
        self._late += 1
        if self._late * 2 > len(self._queue):
            self._queue = deque(item for item in self._queue if not _is_answered(item))
            self._late = 0
        self._is_stuck = False  # another may have waited behind this one alone

    # What may begin

    def may_begin(self) -> bool:
        """Return whether what waits for a transaction may have one now, unless all is blocked.

        Many that come while one is under way are one batch behind it; a few do not wait for it,
        nor does what is a whole batch.
        """
        if not self._under_way or len(self) <= AT_ONCE or len(self) >= self._batch:
            return True
        return trio.current_time() >= self._patience_ends

    @property
    def _patience_ends(self) -> float:
        return self._under_way[-1] + YOUNG

    def next_look(self) -> float:
        """Return when something may begin though nothing has come or ended, on Trio's clock."""
        is_patient = self._queue and self._under_way and not self.is_blocked
        return self._patience_ends if is_patient else math.inf

    def next_batch(self) -> Batch | None:
        """Begin with messages up to the next change or the bound, but with none out of its order.

        A message stays behind one that is under way in its session, and a repeat behind the first
        with its key: it finds that one stored.
        """
        if self.is_blocked or not self._queue or not self.may_begin():
            return None
        submissions = self._take()
        if not submissions:
            self._is_stuck = bool(self._queue and self._under_way)
            return None
        keys = {key for submission in submissions for key in submission.keys}
        batch = Batch(submissions, keys, trio.current_time())
        self._busy |= keys
        self._under_way.append(batch.began)
        return batch

    def _take(self) -> list[Submission]:
        taken: list[Submission] = []
        left: list[Submission] = []
        blocked = self._busy.copy()
        while self._queue and len(taken) < self._batch and len(left) < LOOK_PAST * self._batch:
            item = self._queue[0]
            if isinstance(item, Change):
                break
            self._queue.popleft()
            if item.deadline is not None and self._is_late(item, item.deadline):
                continue
            keys = item.keys
            if blocked.isdisjoint(keys):
                if item.deadline is not None:
                    self.deadlines.forget(item.deadline)  # its transaction begins
                taken.append(item)
                blocked.update(keys[1:])
            else:
                left.append(item)
                blocked.update(keys)
        self._queue.extendleft(reversed(left))
        return taken

    def _is_late(self, submission: Submission, deadline: Deadline) -> bool:
        """Return whether a message that has left the queue was, or is now, answered as too late."""
        if not deadline.is_watched:
            self._late -= 1
            return True
        if deadline.is_over:
            self.deadlines.forget(deadline)
            submission.settle(DeadlineExceeded())
            return True
        return False

    def end(self, batch: Batch) -> None:
        """Note that a transaction has ended, and its messages are settled."""
        self._busy -= batch.keys
        self._under_way.remove(batch.began)
        self._is_stuck = False

    def next_change(self) -> Change | None:
        """Begin with a change if it is next and nothing is under way."""
        if not self._queue or self._is_changing or self._under_way:
            return None
        first = self._queue[0]
        if not isinstance(first, Change):
            return None
        self._queue.popleft()
        self._is_changing = True
        return first

    def end_change(self) -> None:
        """Note that the change under way has ended."""
        self._is_changing = False
