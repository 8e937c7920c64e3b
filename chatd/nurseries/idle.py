"""Who has done nothing for a while: one task and one heap for all sockets, none for a request.

A request costs the assignment of a time to its socket. The heap holds each watched socket once,
at a time that is never later than its end of patience: when that comes, the socket is either idle
or goes back to where its last activity puts it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, Protocol, TypeVar

import trio

SLACK = 64  # entries of sockets that have gone, before the heap is cleared of them


class Active(Protocol):
    """What is watched."""

    active_at: float  # when it last did something, on Trio's clock


A = TypeVar("A", bound=Active)


class Idleness(Generic[A]):
    """Tells of sockets without activity; `run` is a task.

    Args:
        after: seconds without activity.
        on_idle: called once for a socket that was idle that long; `watch` begins again.
    """

    def __init__(self, after: float, on_idle: Callable[[A], None]) -> None:
        self._after = after
        self._on_idle = on_idle
        self._watched: set[A] = set()
        self._heap: list[tuple[float, int, A]] = []
        self._numbers = count()  # two with the same time are not compared
        self._arrived = trio.Event()

    def watch(self, socket: A) -> None:
        """Begin, with `active_at` as the last activity."""
        self._watched.add(socket)
        self._push(socket)
        self._arrived.set()

    def forget(self, socket: A) -> None:
        """End; nothing happens for one that is not watched."""
        self._watched.discard(socket)
        if len(self._heap) > 2 * len(self._watched) + SLACK:
            self._heap = [entry for entry in self._heap if entry[2] in self._watched]
            heapq.heapify(self._heap)

    def _push(self, socket: A) -> None:
        heapq.heappush(self._heap, (socket.active_at + self._after, next(self._numbers), socket))

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            while not self._heap:
                self._arrived = trio.Event()
                await self._arrived.wait()
            # What comes meanwhile is due later: it was active later.
            await trio.sleep_until(self._heap[0][0])
            self._ring(trio.current_time())

    def _ring(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            _, _, socket = heapq.heappop(self._heap)
            if socket not in self._watched:
                continue
            if socket.active_at + self._after > now:
                self._push(socket)
            else:
                self._watched.discard(socket)
                self._on_idle(socket)
