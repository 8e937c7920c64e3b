"""Rates and wrong guesses that all daemons of a cluster count together.

Each counts by itself, so that nobody waits, and tells the others a moment later what has passed and
which guess was wrong. Until they have heard it somebody may have as many bursts as there are
daemons; in the long run the rate is one. Without Redis each daemon counts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args
from uuid import UUID

import trio

from chatd.guesses import Guesses, Settled
from chatd.limits import LocalLimiter, Rate, Table
from chatd.nurseries.control import Control, Message

INTERVAL = 0.25  # seconds between two tellings: a hundred logins a second are one message
AT_ONCE = 500  # keys in one message, 60 bytes each
MAX_KEYS = 20_000  # of one telling; more are not told: a flood of addresses is each one's first
TABLES = frozenset(get_args(Table))

Key = tuple[object, ...]


class SharedLimits:
    """Tells and hears; `run` is a task.

    Args:
        has_peers: whether there is anybody to tell.
    """

    def __init__(
        self,
        limiter: LocalLimiter,
        guesses: Guesses,
        control: Control,
        has_peers: Callable[[], bool],
    ) -> None:
        self._limiter = limiter
        self._guesses = guesses
        self._control = control
        self._has_peers = has_peers
        self._passed: dict[tuple[Table, Key, Rate], int] = {}  # below 0: more came back than passed
        self._arrived = trio.Event()
        limiter.on_pass = partial(self._count, 1)
        limiter.on_give_back = partial(self._count, -1)
        guesses.on_settle = self._settle
        control.on("spent", self._heard_spent)
        control.on("restored", self._heard_restored)
        control.on("guess", self._heard_guess)

    def _count(self, calls: int, table: Table, key: Key, rate: Rate) -> None:
        if not self._has_peers() or len(self._passed) >= MAX_KEYS:
            return
        if not self._passed:
            self._arrived.set()
        what = table, key, rate
        self._passed[what] = self._passed.get(what, 0) + calls

    async def run(self) -> None:
        """Tell what has passed, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await trio.sleep(INTERVAL)
            passed, self._passed = self._passed, {}
            for kind, sign in (("spent", 1), ("restored", -1)):
                rows = [
                    [table, _pack(key), rate.per_second, rate.burst, count * sign]
                    for (table, key, rate), count in passed.items()
                    if count * sign > 0
                ]
                for start in range(0, len(rows), AT_ONCE):
                    self._control.mention(kind, l=rows[start : start + AT_ONCE])
                    await trio.lowlevel.checkpoint()

    def _heard_spent(self, tag: str, message: Message) -> None:
        del tag
        now = trio.current_time()
        for table, key, rate, count in _told(message):
            self._limiter.spend(table, key, rate, now, count)

    def _heard_restored(self, tag: str, message: Message) -> None:
        del tag
        for table, key, rate, count in _told(message):
            self._limiter.restore(table, key, rate, count)

    def _settle(self, settled: Settled) -> None:
        if self._has_peers():
            self._control.say(
                "guess",
                t=_pack(settled.target),
                o=_pack((settled.own,)),
                shared=settled.is_shared,
                fits=settled.fits,
            )

    def _heard_guess(self, tag: str, message: Message) -> None:
        del tag
        [own] = _unpack(message["o"])
        settled = Settled(
            _unpack(message["t"]), own, is_shared=message["shared"], fits=message["fits"]
        )
        self._guesses.heard(settled, trio.current_time())


def _told(message: Message) -> Iterator[tuple[Table, Key, Rate, int]]:
    for table, key, per_second, burst, count in message["l"]:
        if table not in TABLES or not 0 < count <= MAX_KEYS or not per_second > 0:
            raise ValueError(table)
        yield table, _unpack(key), Rate(float(per_second), int(burst)), int(count)


def _pack(key: Key) -> list[str]:
    """Return a key as texts that tell their type: a UUID is no text that reads like one."""
    return [f"u{part.hex}" if isinstance(part, UUID) else f"s{part}" for part in key]


def _unpack(texts: list[str]) -> Key:
    return tuple(UUID(text[1:]) if text[0] == "u" else text[1:] for text in texts)
