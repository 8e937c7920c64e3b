"""Rate limits by GCRA: one number a key, no timers (ITU-T I.371). Pure.

`check` passes when the theoretical arrival time minus the burst lies in the past; then it moves on.
A `Limiter` answers at once, from what it knows here: no message waits for a network. One that
several daemons share keeps this interface, and tells the others of what passed behind the call.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from chatd.errors import RateLimited

# Remembered keys of each table, 250 bytes each: then the one that was used least recently goes.
# Keys of their own for each table, so that a flood of addresses makes nobody's login forgotten.
MAX_KEYS = 50_000
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_RATE = re.compile(r"([0-9]+)/(s|min|h) burst ([0-9]+)")
_ROUNDING = 1e-9

Table = Literal["connect", "handshake", "address", "pair", "account", "user"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often: `per_second` in the long run, `burst` at once."""

    per_second: float
    burst: int


@lru_cache(maxsize=64)
def rate_of(text: str) -> Rate:
    """Return the rate that a setting tells, such as `5/min burst 10`.

    Raises:
        ValueError: it is not one.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        msg = f"no rate: {text}"
        raise ValueError(msg)
    return Rate(int(match[1]) / _SECONDS[match[2]], int(match[3]))


class Budget(NamedTuple):
    """What is left of a rate: `remaining` calls at once, in `reset` seconds all `limit` of them."""

    limit: int
    remaining: int
    reset: int


def budget_of(rate: Rate, debt: float) -> Budget:
    """Return what a key has left that owes `debt` seconds. See `Limiter.check`."""
    used = math.ceil(debt * rate.per_second - _ROUNDING)
    return Budget(rate.burst, max(0, rate.burst - used), math.ceil(debt))


class Limiter(Protocol):
    """Counts calls by key, in tables that do not know each other."""

    def check(self, table: Table, key: tuple[object, ...], rate: Rate, now: float) -> float:
        """Count one call, or refuse it; `now` is in seconds on any steady clock.

        Returns:
            the debt: after so many seconds of silence the whole burst is there again.

        Raises:
            RateLimited: with the seconds after which the same call passes.
        """

    def give_back(self, table: Table, key: tuple[object, ...], rate: Rate) -> None:
        """Forget one call that has passed, because it did not do what it is counted for."""


OnPass = Callable[[Table, tuple[object, ...], Rate], None]
"""Told table, key and rate of a call that has passed, or was given back; never waits."""


class LocalLimiter:
    """The limiter of one daemon, in its memory. See `Limiter`."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self.on_pass: OnPass | None = None  # told of each call that passed
        self.on_give_back: OnPass | None = None  # and of each that was given back
        self._tables: dict[Table, OrderedDict[tuple[object, ...], float]] = {}

    def check(self, table: Table, key: tuple[object, ...], rate: Rate, now: float) -> float:
        """Count one call, or refuse it. See `Limiter`."""
        if not self._is_on:
            return 0.0
        arrivals = self._arrivals(table)
        arrival = max(arrivals.pop(key, now), now)
        interval = 1 / rate.per_second
        wait = arrival - now - (rate.burst - 1) * interval
        if wait > _ROUNDING:
            arrivals[key] = arrival
            raise RateLimited(retry_after=wait)
        arrival += interval
        arrivals[key] = arrival
        if len(arrivals) > MAX_KEYS:
            arrivals.popitem(last=False)
        if self.on_pass is not None:
            self.on_pass(table, key, rate)
        return arrival - now

    def give_back(self, table: Table, key: tuple[object, ...], rate: Rate) -> None:
        """Forget one call that has passed. See `Limiter`."""
        self.restore(table, key, rate, 1)
        if self._is_on and self.on_give_back is not None:
            self.on_give_back(table, key, rate)

    def restore(self, table: Table, key: tuple[object, ...], rate: Rate, count: int) -> None:
        """Forget calls that were given back elsewhere."""
        arrivals = self._arrivals(table)
        if key in arrivals:  # what lies in the past owes nothing
            arrivals[key] -= count / rate.per_second

    def spend(
        self, table: Table, key: tuple[object, ...], rate: Rate, now: float, count: int
    ) -> None:
        """Count calls that have passed elsewhere; at most a burst of them is owed on top."""
        if not self._is_on:
            return
        arrivals = self._arrivals(table)
        interval = 1 / rate.per_second
        arrival = max(arrivals.pop(key, now), now) + count * interval
        arrivals[key] = min(arrival, now + 2 * rate.burst * interval)
        if len(arrivals) > MAX_KEYS:
            arrivals.popitem(last=False)

    def _arrivals(self, table: Table) -> OrderedDict[tuple[object, ...], float]:
        arrivals = self._tables.get(table)
        if arrivals is None:
            arrivals = self._tables[table] = OrderedDict()
        return arrivals


class Meter:
    """The same for one thing that has its own: no key, no table, gone with its owner."""

    __slots__ = ("_arrival",)

    def __init__(self) -> None:
        self._arrival = 0.0

    def wait(self, rate: Rate, now: float, count: int = 1) -> float:
        """Count so many calls and return 0, or the seconds after which the same would pass."""
        interval = 1 / rate.per_second
        arrival = max(self._arrival, now)
        wait = arrival - now - (rate.burst - count) * interval
        if wait > _ROUNDING:
            return wait
        self._arrival = arrival + interval * count
        return 0.0
