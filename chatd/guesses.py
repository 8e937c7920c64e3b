"""Delays after wrong passwords and codes: one second, then twice as long each time. Pure.

What is guessed at has two trails. One is of the address it comes from (or of a device that has
proved to know the account), and it is delayed from the first wrong guess on. The other is of all
addresses together, for an attacker who has many; of each address only the first few wrong guesses
count in it, so that nobody alone keeps the owner out. A known device has only its own. No delay
is longer than `MAX_DELAY`, and when it is over one guess is let through: nobody is locked out for
good, and whoever knows the password forgets the trail by using it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self
from uuid import UUID

from chatd.errors import RateLimited

FIRST_DELAY = 1.0  # seconds
MAX_DELAY = 900.0  # seconds
FORGET_AFTER = 86_400.0  # seconds without a wrong guess
SHARED_FREE = 3  # wrong guesses of one address that count for all, and that all have for nothing
MAX_TRAILS = 50_000  # of each table, 300 bytes each: then the one used least recently goes

_ROUNDING = 1e-9
_WAIT = "too many wrong tries: wait"

Key = tuple[object, ...]


class _Trail:
    """What is remembered of one key."""

    __slots__ = ("failures", "free", "last", "not_before", "pending")

    def __init__(self, free: int) -> None:
        self.free = free
        self.failures = 0
        self.not_before = 0.0
        self.last = 0.0
        self.pending = 0  # guesses that are being checked

    def check(self, now: float) -> None:
        if now - self.last >= FORGET_AFTER and self.failures:
            self.failures, self.not_before = 0, 0.0
        if self.not_before - now > _ROUNDING:
            raise RateLimited(_WAIT, retry_after=self.not_before - now)
        if self.pending and self.failures > self.free:  # not many at once in the place of one
            raise RateLimited(_WAIT, retry_after=self._delay(self.failures + 1))

    def wrong(self, now: float) -> None:
        self.failures += 1
        self.last = now
        self.not_before = now + self._delay(self.failures)

    def _delay(self, failures: int) -> float:
        over = failures - self.free
        return 0.0 if over <= 0 else min(MAX_DELAY, FIRST_DELAY * 2 ** min(over - 1, 32))


class Guess:
    """One guess that was let through; a context manager around its check."""

    def __init__(
        self, trails: Sequence[_Trail], on_settle: Callable[[bool], None] | None = None
    ) -> None:
        self._own, *self._shared = trails
        self._trails = trails
        self._on_settle = on_settle

    def __enter__(self) -> Self:
        for trail in self._trails:
            trail.pending += 1
        return self

    def __exit__(self, *_: object) -> None:
        for trail in self._trails:
            trail.pending -= 1

    def settle(self, now: float, *, fits: bool) -> None:
        """Tell what became of it: the trails are forgotten, or get longer."""
        if self._on_settle is not None and (not fits or self._has_past):
            self._on_settle(fits)
        if fits:
            for trail in self._trails:
                trail.failures, trail.not_before = 0, 0.0
            return
        self._own.wrong(now)
        if self._own.failures <= SHARED_FREE:
            for trail in self._shared:
                trail.wrong(now)

    @property
    def _has_past(self) -> bool:
        """Whether there is anything to forget."""
        return any(trail.failures for trail in self._trails)


class Settled(NamedTuple):
    """What became of a guess, for other daemons."""

    target: Key
    own: object  # the address it came from, or the device
    is_shared: bool  # it counts for all addresses
    fits: bool


class Guesses:
    """The trails of one daemon, in its memory."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self.on_settle: Callable[[Settled], None] | None = None  # tells other daemons
        self._own: OrderedDict[Key, _Trail] = OrderedDict()
        self._shared: OrderedDict[Key, _Trail] = OrderedDict()

    def begin(self, target: Key, *, address: str, device: UUID | None, now: float) -> Guess:
        """Let one guess through, or refuse it.

        Args:
            target: what is guessed at.
            address: where the guess comes from.
            device: what has proved to know the account, if anything has.
            now: seconds on any steady clock.

        Raises:
            RateLimited: with the seconds after which a guess is let through.
        """
        if not self._is_on:
            return Guess([_Trail(0)])
        trails = self._trails(target, device or address, is_shared=device is None)
        for trail in trails:
            trail.check(now)

        def tell(fits: bool) -> None:  # noqa: FBT001 - of a plain callable
            if self.on_settle is not None:
                settled = Settled(target, device or address, is_shared=device is None, fits=fits)
                self.on_settle(settled)

        return Guess(trails, tell)

    def heard(self, settled: Settled, now: float) -> None:
        """Take note of what became of a guess at another daemon."""
        trails = self._trails(settled.target, settled.own, is_shared=settled.is_shared)
        Guess(trails).settle(now, fits=settled.fits)

    def _trails(self, target: Key, own: object, *, is_shared: bool) -> list[_Trail]:
        trails = [_take(self._own, (target, own), 0)]
        if is_shared:
            trails.append(_take(self._shared, target, SHARED_FREE))
        return trails


def _take(trails: OrderedDict[Key, _Trail], key: Key, free: int) -> _Trail:
    trail = trails.get(key)
    if trail is None:
        trail = trails[key] = _Trail(free)
        if len(trails) > MAX_TRAILS:
            trails.popitem(last=False)
    else:
        trails.move_to_end(key)
    return trail
