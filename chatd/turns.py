"""Turns at something that few may do at once: the others wait, and not too many of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from chatd.errors import Overloaded

RETRY_AFTER = 1.0  # seconds: who was before has had a turn, or given up


class Turns:
    """Lets `at_once` in; `queue` may wait, one more is refused."""

    def __init__(self, *, at_once: int, queue: int) -> None:
        self._limiter = trio.CapacityLimiter(at_once)
        self._queue = queue

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it for the block.

        Raises:
            Overloaded: too many wait already.
        """
        if self._limiter.statistics().tasks_waiting >= self._queue:
            raise Overloaded(retry_after=RETRY_AFTER)
        async with self._limiter:
            yield
