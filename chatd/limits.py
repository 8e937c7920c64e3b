"""Rate limits by GCRA: one number a key, no timers (ITU-T I.371). Pure.

`allow` when the theoretical arrival time minus the burst lies in the past; then move it on.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from chatd.errors import RateLimited

MAX_KEYS = 100_000  # remembered keys; 10 MiB. A key older than its burst says nothing anyway


@dataclass(frozen=True, slots=True)
class Rate:
    """How often: `per_second` in the long run, `burst` at once."""

    per_second: float
    burst: int


class Limiter:
    """Counts calls by key, such as (operation, user)."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._arrivals: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def check(self, key: tuple[object, ...], rate: Rate, now: float) -> None:
        """Count one call, or refuse it; `now` is in seconds on any steady clock.

        Raises:
            RateLimited: with the seconds after which the same call passes.
        """
        if not self._is_on:
            return
        interval = 1 / rate.per_second
        arrival = max(self._arrivals.pop(key, now), now)
        wait = arrival - now - (rate.burst - 1) * interval
        if wait > 1e-9:  # noqa: PLR2004 - below a nanosecond is rounding
            self._arrivals[key] = arrival
            raise RateLimited(retry_after=wait)
        self._arrivals[key] = arrival + interval
        if len(self._arrivals) > MAX_KEYS:
            self._arrivals.popitem(last=False)
