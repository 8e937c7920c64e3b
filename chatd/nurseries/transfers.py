"""How many files are on their way at once, so that they never take the daemon from the chat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chatd.errors import Overloaded

SHARE = 8  # the eighth part of all may be one owner's: a page of pictures, not a siege
RETRY_AFTER = 2.0  # seconds; most are over by then


class Transfers:
    """Counts uploads and downloads, by owner; one for a daemon."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_one = max(1, most // SHARE)
        self._open: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._open.values())

    @contextmanager
    def held(self, owner: str) -> Iterator[None]:
        """Keep a place for the length of the block.

        Raises:
            Overloaded: there is none, or the owner has their share.
        """
        mine = self._open.get(owner, 0)
        if mine >= self._of_one or len(self) >= self._most:
            msg = "too many uploads and downloads at once"
            raise Overloaded(msg, retry_after=RETRY_AFTER)
        self._open[owner] = mine + 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
