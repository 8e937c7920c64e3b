"""What becomes of a question, for whoever waits for it."""

from __future__ import annotations

import trio

from chatd.contract.assistant import Asked


class Outcome:
    """Set once, by the task that stores the question; that task goes on when nobody waits."""

    def __init__(self) -> None:
        self._known = trio.Event()
        self._asked: Asked | None = None
        self._refusal: Exception | None = None

    def succeed(self, asked: Asked) -> None:
        """The question is stored."""
        self._asked = asked
        self._known.set()

    def fail(self, refusal: Exception) -> None:
        """It is not."""
        self._refusal = refusal
        self._known.set()

    async def wait(self) -> Asked:
        """Return what was stored, or raise why it was not."""
        await self._known.wait()
        if self._refusal is not None:
            raise self._refusal
        assert self._asked is not None  # noqa: S101 - one of both
        return self._asked
