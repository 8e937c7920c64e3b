"""Deadlines of what waits in a queue: each is told when it passes, whatever the queue waits for."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import trio


class Deadline:
    """A time on Trio's clock, and what is done when it passes while it is watched."""

    __slots__ = ("at", "expire", "is_watched")

    def __init__(self, at: float, expire: Callable[[], None]) -> None:
        self.at = at
        self.expire = expire
        self.is_watched = False

    @property
    def is_over(self) -> bool:
        """Return whether the time has come; at the very moment it has."""
        return trio.current_time() >= self.at


class Deadlines:
    """Watches deadlines, as many as there are things that wait."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._forgotten = 0  # that are still in the heap
        self._changed = trio.Event()

    def watch(self, deadline: Deadline) -> None:
        """Call `expire` when the time comes, from the task of `run`."""
        deadline.is_watched = True
        heapq.heappush(self._heap, (deadline.at, next(self._numbers), deadline))
        if self._heap[0][2] is deadline:
            self._changed.set()

    def forget(self, deadline: Deadline) -> None:
        """Do nothing when the time comes. The heap is at most twice what is watched."""
        if not deadline.is_watched:
            return
        deadline.is_watched = False
        self._forgotten += 1
        if self._forgotten * 2 > len(self._heap):
            self._heap = [each for each in self._heap if each[2].is_watched]
            heapq.heapify(self._heap)
            self._forgotten = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with trio.move_on_at(self._heap[0][0] if self._heap else math.inf):
                await self._changed.wait()
            self._changed = trio.Event()
            while self._heap and self._heap[0][2].is_over:
                deadline = heapq.heappop(self._heap)[2]
                if deadline.is_watched:
                    deadline.is_watched = False
                    deadline.expire()
                else:
                    self._forgotten -= 1
