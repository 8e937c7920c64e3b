"""What a read replica must have replayed before it may answer: the writes of the last moments.

A daemon marks what it tells of: the head of each session, and the users who have written. Now and
then the marks so far are closed, the primary is asked for the position of its log, and when the
replica has replayed that position they are dropped, for then it shows all of it. So the marks of a
replica that keeps up are those of a second or two; of one that does not there are at most
`MAX_MARKS` in a batch, and beyond that the replica is trusted with nothing until it has caught up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from uuid import UUID

MAX_MARKS = 50_000  # sessions, and as many users, of one batch: 5 MiB each
MAX_BATCHES = 32  # closed ones; a replica so far behind is not read, they only wait
EVERYBODY = UUID(int=0)  # the id of no user


@dataclass(slots=True)
class _Batch:
    """Marks that one position of the primary's log covers."""

    heads: dict[int, int] = field(default_factory=dict)  # `seq` by session
    writers: set[int] = field(default_factory=set)
    is_full: bool = False  # more was marked than is remembered
    closed_at: float = 0.0
    position: int | None = None  # of the log, asked for after the batch was closed

    def take_over(self, later: _Batch) -> None:
        """Hold the marks of the next batch too, until what covers that one is replayed."""
        for session, seq in later.heads.items():
            if seq > self.heads.get(session, 0):
                self.heads[session] = seq
        self.writers |= later.writers
        self.is_full |= later.is_full
        self.closed_at, self.position = later.closed_at, later.position
        self.bound()

    def bound(self) -> None:
        """Forget the marks of a batch that has too many, and remember that it has."""
        if len(self.heads) > MAX_MARKS or len(self.writers) > MAX_MARKS:
            self.is_full = True
            self.heads.clear()
            self.writers.clear()


class Freshness:
    """The marks of one daemon. Pure: whoever asks the databases tells it what they said.

    Users and sessions are remembered by the integers of their ids: a UUID takes a third of a
    microsecond to be hashed and compared.
    """

    def __init__(self) -> None:
        self._open = _Batch()
        self._heads = self._open.heads
        self._closed: deque[_Batch] = deque()
        self._unheard: set[int] = set()  # writers that no other daemon was told of
        self._shown_at = -inf

    # What is written

    def saw(self, session_id: UUID, seq: int) -> None:
        """Mark that somebody was, or will be, told of a session's `seq`: 0.1 µs."""
        heads, session = self._heads, session_id.int
        if seq > heads.get(session, 0):
            heads[session] = seq
            if len(heads) > MAX_MARKS:
                self._open.bound()

    def wrote(self, user_id: UUID) -> None:
        """Mark a user whose write has ended, before the user is told: 0.2 µs."""
        self._mark(user_id.int)
        self._unheard.add(user_id.int)
        if len(self._unheard) > MAX_MARKS:
            self._unheard = {EVERYBODY.int}

    def take_writers(self) -> list[UUID]:
        """Return who was marked by `wrote` since the last call, for the other daemons.

        `EVERYBODY` is in it when they were too many to be remembered.
        """
        taken, self._unheard = self._unheard, set()
        return [UUID(int=user) for user in taken]

    def heard_writers(self, user_ids: Iterable[UUID]) -> None:
        """Mark what `take_writers` of another daemon returned."""
        for user_id in user_ids:
            self._mark(user_id.int)

    def _mark(self, user: int) -> None:
        if user == EVERYBODY.int:
            self._open.is_full = True
            return
        self._open.writers.add(user)
        self._open.bound()

    # What must be shown

    def head(self, session_id: UUID) -> float:
        """Return the `seq` that a session's page must have reached; 0: any will do.

        Infinite when too much was marked to know.
        """
        session = session_id.int
        return max(inf if each.is_full else each.heads.get(session, 0) for each in self._batches())

    def is_marked(self, session_id: UUID) -> bool:
        """Return whether a session has changed since what the replica is known to show."""
        return self.head(session_id) > 0

    def is_writer(self, user_id: UUID) -> bool:
        """Return whether a user has written what the replica is not known to show."""
        user = user_id.int
        return any(each.is_full or user in each.writers for each in self._batches())

    def lag(self, now: float) -> float:
        """Return how old, in seconds, what the replica shows may be; infinite if nothing is known.

        It is what the primary had at a time that is known, so this grows until the replica is
        known to have replayed more.
        """
        return now - self._shown_at

    def _batches(self) -> list[_Batch]:
        return [self._open, *self._closed]

    # What the databases say

    def close(self, now: float) -> None:
        """Close the marks so far: from now on a position of the primary's log covers them."""
        self._open.closed_at = now
        if len(self._closed) == MAX_BATCHES:
            self._closed[-1].take_over(self._open)
        else:
            self._closed.append(self._open)
        self._open = _Batch()
        self._heads = self._open.heads

    def covered(self, position: int) -> None:
        """Learn where the primary's log was after the last `close`."""
        if self._closed:
            self._closed[-1].position = position

    def replayed(self, position: int) -> None:
        """Learn what the replica has replayed, and drop the marks that it shows."""
        shown = [
            number
            for number, batch in enumerate(self._closed, 1)
            if batch.position is not None and batch.position <= position
        ]
        for _ in range(shown[-1] if shown else 0):
            self._shown_at = self._closed.popleft().closed_at
