"""Takes away what deleted sessions leave behind, a little at a time.

A session of a million messages is deleted in 20 ms, as far as anybody can see. Its rows go
afterwards, in short transactions with a pause between: nobody waits for a lock of one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from chatd.contract import Store
from chatd.errors import StoreError

SWEEP_INTERVAL = 60.0  # seconds between two looks; what is deleted takes room, and nothing else
SWEEP_ROWS = 1000  # of one transaction: 0.1 s of PostgreSQL on a busy machine, measured
SWEEP_PAUSE = 0.05  # seconds between two of them, which are for everybody else

log = structlog.get_logger("chatd.sweeper")


async def sweep(store: Store) -> None:
    """Sweep for ever; what fails is tried again at the next look."""
    while True:
        await trio.sleep(SWEEP_INTERVAL)
        swept = 0
        try:
            while count := await store.sweep_sessions(SWEEP_ROWS):
                swept += count
                await trio.sleep(SWEEP_PAUSE)
        except StoreError as trouble:
            log.warning("sweep failed", error=type(trouble).__name__)
        if swept:
            log.info("swept", rows=swept)


@asynccontextmanager
async def open_sweeper(store: Store) -> AsyncIterator[None]:
    """Sweep for the length of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep, store)
        yield
        nursery.cancel_scope.cancel(reason="the daemon stops")
