"""What every connect reads of the store: those who come at once share one read.

After a restart everybody comes at once; a read for each costs a third of a connect, one for all
that wait costs next to nothing. Who comes alone is read at once; in a crowd the
next read lets the others come closer first, and is for everybody who has arrived by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import trio

from chatd.contract import Store
from chatd.errors import StoreError
from chatd.rows import PositionRow, UserRow

PASSES = 20  # of the scheduler before the next read in a crowd: it arrives in tens, not in twos
BATCH = 100  # users of one read: some ms of PostgreSQL
MAX_POSITIONS = 500  # sessions told in connection:ready; the rest by GET /chat/sessions

FirstRow = tuple[UserRow, list[PositionRow]]


class _Question:
    """One who waits for an answer."""

    __slots__ = ("answer", "done", "is_over", "trouble", "user_id")

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.done = trio.Event()
        self.is_over = False  # who asked has gone
        self.answer: FirstRow | None = None
        self.trouble: StoreError | None = None


class FirstStates:
    """Reads first states; made by `open_first_states`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[_Question] = []
        self._arrived = trio.Event()

    async def read(self, user_id: UUID) -> FirstRow | None:
        """Return an account and its positions; None when there is none.

        As many wait here as there are connections: `max_connections` bounds the queue.

        Raises:
            StoreError: the store is away.
        """
        question = _Question(user_id)
        self._waiting.append(question)
        self._arrived.set()
        try:
            await question.done.wait()
        finally:
            question.is_over = True
        if question.trouble is not None:
            raise question.trouble
        return question.answer

    async def run(self) -> None:
        """Answer until cancelled."""
        is_crowd = False
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._waiting:
                for _ in range(PASSES if is_crowd else 0):
                    await trio.lowlevel.checkpoint()
                here = [question for question in self._waiting if not question.is_over]
                batch, self._waiting = here[:BATCH], here[BATCH:]
                is_crowd = len(batch) > 1
                if batch:
                    await self._answer(batch)

    async def _answer(self, batch: list[_Question]) -> None:
        user_ids = list({question.user_id for question in batch})
        try:
            states = await self._store.first_states(user_ids, MAX_POSITIONS)
        except StoreError as trouble:
            for question in batch:
                question.trouble = trouble
        else:
            for question in batch:
                question.answer = states.get(question.user_id)
        for question in batch:
            question.done.set()


@asynccontextmanager
async def open_first_states(store: Store) -> AsyncIterator[FirstStates]:
    """Answer for the length of the block."""
    async with trio.open_nursery() as nursery:
        first_states = FirstStates(store)
        nursery.start_soon(first_states.run)
        yield first_states
        nursery.cancel_scope.cancel(reason="the daemon stops")
