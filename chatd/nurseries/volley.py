"""Durable writes to many outboxes that leave together: in one system call, or one by one.

Made, filled and fired in one step: nobody else runs meanwhile, so that no descriptor can have
become another connection's.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatd.nurseries.ring import DATA_BYTES, ENTRIES, FEW, Ring
from chatd.nurseries.seat import Sink

_Part = tuple[Sequence[Sink], bytes, int]
"""Outboxes, what each of them is given, and of how many frames."""


class Volley:
    """Writes that wait for `fire`; an outbox gets its own in the order in which they were added.

    Args:
        ring: what writes them; None: the outboxes do, at once.
    """

    __slots__ = ("_held", "_parts", "_ring", "_size")

    def __init__(self, ring: Ring | None) -> None:
        self._ring = ring
        self._parts: list[_Part] = []
        self._held: set[Sink] = set()
        self._size = 0

    def add(self, outboxes: Sequence[Sink], data: bytes, frames: int) -> None:
        """Push bytes of `frames` frames to each of these outboxes, which are all different."""
        if self._ring is None:
            for outbox in outboxes:
                outbox.push(data, frames)
            return
        for start in range(0, len(outboxes), ENTRIES):
            part = outboxes[start : start + ENTRIES]
            is_full = len(self._held) + len(part) > ENTRIES or self._size + len(data) > DATA_BYTES
            # Two writes to one socket in one call could be torn into one another.
            if is_full or not self._held.isdisjoint(part):
                self.fire()
            self._parts.append((part, data, frames))
            self._held.update(part)
            self._size += len(data)

    def fire(self) -> None:
        """Write all that waits."""
        if not self._parts:
            return
        parts, count, size = self._parts, len(self._held), self._size
        self._parts, self._size = [], 0
        self._held.clear()
        if self._ring is None or count <= FEW or size > DATA_BYTES:
            _push(parts)
            return
        asked, lines = [], []
        for outboxes, data, frames in parts:
            ready, descriptors = _direct(outboxes, data, frames)
            asked.append((ready, data, frames))
            lines.append((descriptors, data))
        results = self._ring.send(lines)
        if results is not None:
            _account(asked, results)


def _push(parts: Sequence[_Part]) -> None:
    for outboxes, data, frames in parts:
        for outbox in outboxes:
            outbox.push(data, frames)


def _direct(outboxes: Sequence[Sink], data: bytes, frames: int) -> tuple[Sequence[Sink], list[int]]:
    """Push to those that have to wait; return the others, and their descriptors."""
    descriptors = [outbox.direct for outbox in outboxes]
    if not descriptors or min(descriptors) >= 0:
        return outboxes, descriptors
    for outbox in outboxes:
        if outbox.direct < 0:
            outbox.push(data, frames)
    ready = [outbox for outbox in outboxes if outbox.direct >= 0]
    return ready, [outbox.direct for outbox in ready]


def _account(asked: Sequence[_Part], results: Sequence[int]) -> None:
    """Tell each outbox what became of its write."""
    written = iter(results)
    for outboxes, data, frames in asked:
        for outbox in outboxes:
            result = next(written, None)
            if result is None:  # the kernel was not asked
                outbox.push(data, frames)
            else:
                outbox.was_written(result, data, frames)
