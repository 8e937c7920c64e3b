"""Passwords: bcrypt over a pre-hash, in threads of their own with a bounded queue.

bcrypt at cost 12 takes 0.3 s and reads at most 72 bytes. The pre-hash (base64 of SHA-384, 64
bytes, the form OWASP gives) makes every byte of a longer password count. A flood of logins fills
the queue and is refused, instead of filling every thread or the memory.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import bcrypt
import trio

from chatd.errors import Overloaded
from chatd.password_rules import normal

T = TypeVar("T")
RETRY_AFTER = 2.0  # seconds: about six hashes further on


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
        if self._limiter.statistics().tasks_waiting >= self._queue:
            raise Overloaded(retry_after=RETRY_AFTER)
        return await trio.to_thread.run_sync(partial(function, *args), limiter=self._limiter)


def _prehash(password: str) -> bytes:
    return base64.b64encode(hashlib.sha384(normal(password).encode()).digest())
