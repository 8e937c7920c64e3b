"""Rates and wrong guesses that all daemons of a cluster count together.

Each counts by itself, so that nobody waits, and tells the others a moment later what has passed and
which guess was wrong. Until they have heard it somebody may have as many bursts as there are
daemons; in the long run the rate is one. Without Redis each daemon counts alone.
"""

from __future__ import annotations

from collections.abc import Callable
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
        self._passed: dict[tuple[Table, Key, Rate], int] = {}
        self._arrived = trio.Event()
        limiter.on_pass = self._pass
        guesses.on_settle = self._settle
        control.on("spent", self._heard_spent)
        control.on("guess", self._heard_guess)

    def _pass(self, table: Table, key: Key, rate: Rate) -> None:
        if not self._has_peers() or len(self._passed) >= MAX_KEYS:
            return
        if not self._passed:
            self._arrived.set()
        what = table, key, rate
        self._passed[what] = self._passed.get(what, 0) + 1

    async def run(self) -> None:
        """Tell what has passed, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            await trio.sleep(INTERVAL)
            passed, self._passed = self._passed, {}
            rows = [
                [table, _pack(key), rate.per_second, rate.burst, count]
                for (table, key, rate), count in passed.items()
            ]
            for start in range(0, len(rows), AT_ONCE):
                self._control.mention("spent", l=rows[start : start + AT_ONCE])
                await trio.lowlevel.checkpoint()

    def _heard_spent(self, tag: str, message: Message) -> None:
        del tag
        now = trio.current_time()
        for table, key, per_second, burst, count in message["l"]:
            if table not in TABLES or not 0 < count <= MAX_KEYS or not per_second > 0:
                raise ValueError(table)
            rate = Rate(float(per_second), int(burst))
            self._limiter.spend(table, _unpack(key), rate, now, int(count))

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


def _pack(key: Key) -> list[str]:
    """Return a key as texts that tell their type: a UUID is no text that reads like one."""
    return [f"u{part.hex}" if isinstance(part, UUID) else f"s{part}" for part in key]


def _unpack(texts: list[str]) -> Key:
    return tuple(UUID(text[1:]) if text[0] == "u" else text[1:] for text in texts)
