"""Passwords: bcrypt over a pre-hash, in threads of their own with a bounded queue.

bcrypt at cost 12 takes 0.3 s and reads at most 72 bytes. The pre-hash (base64 of SHA-384, 64
bytes, the form OWASP gives) makes every byte of a longer password count. A flood of logins fills
the queue and is refused, instead of filling every thread or the memory; what is hashed has a lower
priority than the event loop.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import bcrypt
import trio

from chatd.errors import Overloaded
from chatd.password_rules import normal

T = TypeVar("T")
FLOOD = 4  # that wait for a thread: more than people who log in at the same moment
RETRY_AFTER = 2.0  # seconds: about six hashes further on
NICENESS = 5  # a third of the event loop's share where both want the core
FLOOD_NICENESS = 19  # the most; when others wait for a thread behind this one
MAX_NICENESS = 19


class Passwords:
    """Hashes and checks passwords off the event loop.

    Args:
        rounds: bcrypt's cost.
        queue: how many may wait for a thread; one more is refused.
    """

    def __init__(self, *, rounds: int, queue: int) -> None:
        self._rounds = rounds
        self._queue = queue
        self._limiter = trio.CapacityLimiter(max(1, os.cpu_count() or 1))
        # Checked for an unknown address, so that it takes as long as a wrong password.
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(rounds)).decode()

    def expect_room(self) -> None:
        """Refuse at once when too many wait, before anything is asked for a hash to come.

        Raises:
            Overloaded: too many wait already.
        """
        if self._limiter.statistics().tasks_waiting >= self._queue:
            raise Overloaded(retry_after=RETRY_AFTER)

    async def hash(self, password: str) -> str:
        """Return the hash to store.

        Raises:
            Overloaded: too many wait already.
        """
        salt = bcrypt.gensalt(self._rounds)
        hashed = await self._in_thread(bcrypt.hashpw, _prehash(password), salt)
        return hashed.decode()

    async def check(self, password: str, stored: str | None) -> bool:
        """Return whether a password fits; None takes the same time and never fits.

        Raises:
            Overloaded: too many wait already.
        """
        against = (stored or self._nobody).encode()
        fits = await self._in_thread(bcrypt.checkpw, _prehash(password), against)
        return fits and stored is not None

    async def _in_thread(self, function: Callable[[bytes, bytes], T], *args: bytes) -> T:
        self.expect_room()
        is_flood = self._limiter.statistics().tasks_waiting >= FLOOD
        niceness = FLOOD_NICENESS if is_flood else NICENESS
        return await trio.to_thread.run_sync(
            _aside, function, args, niceness, limiter=self._limiter
        )


def _aside(function: Callable[[bytes, bytes], T], args: tuple[bytes, ...], niceness: int) -> T:
    """Run in a thread that lets the event loop go first; Trio's own go on to other work."""
    with ThreadPoolExecutor(1, initializer=_step_back, initargs=(niceness,)) as thread:
        return thread.submit(function, *args).result()


def _step_back(niceness: int) -> None:
    this = threading.get_native_id()  # on Linux niceness is the thread's
    with suppress(OSError):  # where a sandbox forbids it, hashes compete
        nicer = min(os.getpriority(os.PRIO_PROCESS, this) + niceness, MAX_NICENESS)
        os.setpriority(os.PRIO_PROCESS, this, nicer)


def _prehash(password: str) -> bytes:
    return base64.b64encode(hashlib.sha384(normal(password).encode()).digest())
