"""Trio's scheduler under a seed: one order of the tasks for each, the same at every run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

T = TypeVar("T")


def run_seeded(seed: int, story: Callable[[], Awaitable[T]]) -> T:
    """Run a story on an autojump clock of its own and return its result.

    Trio wakes the tasks of one pass in a random order. It has no public way to seed that.
    """
    scheduler = trio._core._run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        before = scheduler._r.getstate()
        scheduler._r.seed(seed)
        try:
            return trio.run(story, clock=MockClock(autojump_threshold=0))
        finally:
            scheduler._r.setstate(before)
