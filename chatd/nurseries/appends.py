"""Stores the messages of one batch, and finds out what became of them when no answer came."""

from __future__ import annotations

import math
from collections.abc import Sequence

import structlog
import trio

from chatd.config import Settings
from chatd.contract import Store
from chatd.errors import (
    ChatError,
    InternalError,
    StoreAmbiguous,
    StoreBug,
    StoreError,
    StoreRetryable,
    Unavailable,
)
from chatd.nurseries.backlog import Submission
from chatd.nurseries.lanes import Lane
from chatd.rows import AppendRow, NewMessage

RETRIES = 3  # of a transaction that PostgreSQL gave up for another's sake
RESOLVE_PAUSE = 0.1  # seconds between two questions after a lost COMMIT

log = structlog.get_logger("chatd.journal")


class Appender:
    """What the journal's lanes write with."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def append(
        self, lane: Lane | None, batch: list[Submission]
    ) -> Sequence[AppendRow | ChatError]:
        """Store a batch and return an outcome a message, whatever the store does meanwhile.

        Args:
            lane: cancels this, with itself, when no answer comes in time; None: it has a deadline
                of its own and is looked for in the store then.
            batch: one transaction, divided when the store cannot take it as a whole.
        """
        messages = [submission.message for submission in batch]
        for attempt in range(RETRIES + 1):
            try:
                return await self._append_in_time(lane, messages)
            except StoreRetryable:
                await trio.sleep(0.005 * 2**attempt)
            except StoreAmbiguous:
                return await self.resolve(messages)
            except StoreBug:
                if len(batch) > 1:  # one bad message does not fail the others
                    middle = len(batch) // 2
                    # Each part has its own deadline: a late one takes nothing from the others.
                    return [
                        *await self.append(None, batch[:middle]),
                        *await self.append(None, batch[middle:]),
                    ]
                log.exception("a message cannot be stored", message=str(messages[0].id))
                return [InternalError()]
            except StoreError as trouble:
                log.warning("messages not stored", count=len(batch), error=str(trouble))
                break
        return [Unavailable(retry_after=1)] * len(batch)

    async def _append_in_time(
        self, lane: Lane | None, messages: list[NewMessage]
    ) -> list[AppendRow]:
        timeout = self._settings.commit_timeout
        if lane is None:
            with trio.move_on_after(timeout):
                return await self._store.append_messages(messages)
            raise StoreAmbiguous("no answer in time")
        lane.until = trio.current_time() + timeout
        try:
            return await self._store.append_messages(messages)
        finally:
            lane.until = math.inf

    async def resolve(self, messages: list[NewMessage]) -> Sequence[AppendRow | ChatError]:
        """Find out what became of a COMMIT whose answer was lost: neither ack nor error before.

        Returns:
            The outcome of each message; what cannot be found out in `resolve_timeout` seconds is
            `Unavailable`, as what was not stored.
        """
        log.warning("commit unknown, reading again", count=len(messages))
        found: Sequence[AppendRow | None] = [None] * len(messages)
        with trio.move_on_after(self._settings.resolve_timeout):
            while True:
                try:
                    found = await self._store.find_messages(messages)
                    break
                except StoreError as trouble:
                    log.warning("store away", error=str(trouble))
                    await trio.sleep(RESOLVE_PAUSE)
        log.info("commit resolved", stored=sum(row is not None for row in found))
        return [Unavailable(retry_after=1) if row is None else row for row in found]
