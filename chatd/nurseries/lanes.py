"""The lanes of the journal: tasks with one transaction at a time each, and what ends a late one.

A cancel scope around each transaction is 46 calls inside Trio for a message that comes alone. So a
lane has one scope for all of its transactions, and one task looks at the clock for all lanes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from chatd.config import Settings
from chatd.nurseries.backlog import Batch


class Lane:
    """What one lane is at.

    Attributes:
        batch: what it stores now.
        until: when that has taken too long, on Trio's clock.
        is_late: it was given up, and comes back with a new scope.
    """

    __slots__ = ("_scope", "batch", "is_late", "until")

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self.batch: Batch | None = None
        self.until = math.inf
        self.is_late = False

    def begin(self) -> trio.CancelScope:
        """Return a scope for what it does from now on."""
        self._scope, self.is_late = trio.CancelScope(), False
        return self._scope

    def give_up(self) -> None:
        """Cancel what it waits for. What has come meanwhile is still good: see `is_late`."""
        self.until, self.is_late = math.inf, True
        self._scope.cancel(reason="a transaction takes too long")


async def watch(lanes: Sequence[Lane], settings: Settings) -> None:
    """Give up what takes too long, at the very moment, until cancelled.

    Args:
        lanes: all of them, also those that come later.
        settings: what begins after a look has `commit_timeout`, so the next look is in time for it.
    """
    while True:
        now = trio.current_time()
        for lane in lanes:
            if lane.until <= now:
                lane.give_up()
        looks = [now + settings.commit_timeout, *(lane.until for lane in lanes)]
        await trio.sleep_until(min(looks))
