"""Keeps the search index up with the messages, behind their way and out of it.

What is not indexed yet is found all the same, by reading it: the index may take its time. It works
a twentieth of the time at most, so that it costs the message path next to nothing under full load;
then it falls behind, and catches up later. In few long passes: each one that begins takes a core
from somebody for a slice of time, and what they share is written once (43 µs a message with a pass
each second, 27 with one in ten). A search reads what ten seconds bring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from chatd.contract import Store
from chatd.errors import StoreError

BATCH = 2000  # changes of one transaction at most: 0.1 to 0.6 s of PostgreSQL
SHRINK = 8  # what failed is tried again in so much less at once, or one bad pass would be the last
REST = 19.0  # times as long as the last batch took
PAUSE = 10.0  # seconds at least between looks that did not find a whole batch

log = structlog.get_logger("chatd.indexer")


@asynccontextmanager
async def open_indexer(store: Store, is_writable: Callable[[], bool]) -> AsyncIterator[None]:
    """Index for the length of the block, as long as the store may be written."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_index, store, is_writable)
        yield
        nursery.cancel_scope.cancel(reason="the daemon stops")


async def _index(store: Store, is_writable: Callable[[], bool]) -> None:
    batch = BATCH
    while True:
        began = trio.current_time()
        done = 0
        if is_writable():
            try:
                done = await store.index_messages(batch)
            except StoreError as trouble:  # away, or too much for the time of a statement
                log.warning("index", error=str(trouble), batch=batch)
                batch = max(1, batch // SHRINK)
        rest = (trio.current_time() - began) * REST
        is_full = done >= batch
        if done:
            batch = min(BATCH, batch * 2)
        await trio.sleep(rest if is_full else max(rest, PAUSE))
