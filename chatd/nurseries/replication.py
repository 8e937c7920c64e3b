"""The read replica beside the store: opened with it, and looked at for as long as it is open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from chatd.config import Settings
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.freshness import Freshness
from chatd.keyring import Keyring
from chatd.metrics import Metrics
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from chatd.store.replica import ReplicatedStore

LOOK_INTERVAL = 1.0  # seconds; so long what somebody has written is read from the primary
LOOKS_PER_LAG = 4  # at least, within what a replica may be behind
ANSWER_TIMEOUT = 1.0  # seconds, and half of those that a reader has: the rest is the primary's

log = structlog.get_logger("chatd.replica")


@asynccontextmanager
async def open_replication(
    settings: Settings, pool: Pool, keyring: Keyring
) -> AsyncIterator[PostgresStore]:
    """Make the store over the primary's pool, with the replica of the settings if there is one.

    A replica that is away, or no replica, costs what it would have answered, and a log line.
    """
    if settings.database_replica_url is None:
        yield PostgresStore(pool, keyring)
        return
    readers = open_pool(
        settings.database_replica_url.get_secret_value(),
        size=settings.database_pool_size,
        query_timeout=min(ANSWER_TIMEOUT, settings.query_timeout / 2, settings.search_timeout / 2),
        pooler=settings.database_pooler,
        is_replica=True,
    )
    async with readers as replica, trio.open_nursery() as nursery:
        store = ReplicatedStore(pool, replica, keyring, max_lag=settings.replica_max_lag)
        interval = min(LOOK_INTERVAL, settings.replica_max_lag / LOOKS_PER_LAG)
        nursery.start_soon(_watch, store, interval)
        yield store
        nursery.cancel_scope.cancel(reason="the store closes")


async def _watch(store: ReplicatedStore, interval: float) -> None:
    """Compare the replica with the primary until cancelled; tells when that begins to fail."""
    is_well: bool | None = None
    await store.is_attended.wait()
    while True:
        try:
            await store.look()
        except StoreError as trouble:
            if is_well is not False:
                log.warning("replica cannot be compared", error=str(trouble))
            is_well = False
        else:
            if not is_well:
                log.info("replica compared", lag=round(store.lag(), 3))
            is_well = True
        await trio.sleep(interval)


def freshness_of(store: Store, metrics: Metrics) -> Freshness | None:
    """Return what the replica of a store must show, None without one; its figures are shown.

    Who calls this marks: until then, as in commands, the replica is not read.
    """
    if not isinstance(store, ReplicatedStore):
        return None
    store.is_attended.set()
    metrics.watch_replica(store.reads, store.lag)
    return store.freshness
