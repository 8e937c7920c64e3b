"""What is told at most once an interval: collected by key, handed over together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

K = TypeVar("K")
V = TypeVar("V")


class Window(Generic[K, V]):
    """Keeps the newest value of each key for at most an interval; `run` is a task.

    Nothing runs while nothing is put in. What is put in while `tell` works waits for the next
    turn, so that a slow receiver is asked less often and each key is held once: that is its bound.

    Args:
        interval: seconds from the first value to the telling, and between two tellings.
        tell: told what has come together, in the order of the keys' arrival.
    """

    def __init__(self, interval: float, tell: Callable[[dict[K, V]], Awaitable[None]]) -> None:
        self._interval = interval
        self._tell = tell
        self._waiting: dict[K, V] = {}
        self._arrived = trio.Event()

    def put(self, key: K, value: V) -> None:
        """Tell this value soon, unless a newer one of the key comes before; never waits."""
        if not self._waiting:
            self._arrived.set()
        self._waiting[key] = value

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await trio.sleep(self._interval)
            waiting, self._waiting = self._waiting, {}
            await self._tell(waiting)
