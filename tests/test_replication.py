"""The replica of the settings: opened with the store, compared, told of in the log and figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio
from structlog.typing import EventDict

from chatd.config import Settings
from chatd.keyring import Keyring
from chatd.metrics import Metrics
from chatd.nurseries.replication import freshness_of, open_replication
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.store.replica import ReplicatedStore
from tests.databases import PostgresServer

TIMEOUT = 20.0  # seconds; the machine is shared


@asynccontextmanager
async def open_store(url: str, replica_url: str | None) -> AsyncIterator[PostgresStore]:
    settings = Settings(database_url=url, database_replica_url=replica_url, replica_max_lag=2)
    with trio.fail_after(TIMEOUT):
        async with (
            open_pool(url, size=2) as pool,
            open_replication(settings, pool, Keyring()) as store,
        ):
            yield store


async def told(logs: list[EventDict], event: str) -> EventDict:
    """Wait for a line of the log."""
    while True:
        for each in logs:
            if each["event"] == event:
                return each
        await trio.sleep(0.02)


async def test_without_a_replica_there_is_nothing_to_be_fresh_for(database_url: str) -> None:
    async with open_store(database_url, None) as store:
        assert freshness_of(store, Metrics()) is None
    assert freshness_of(MemoryStore(), Metrics()) is None


async def test_a_replica_is_read_when_somebody_marks_what_is_written_and_not_before(
    database_url: str, replica_url: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_store(database_url, replica_url) as store:
            assert isinstance(store, ReplicatedStore)
            await store.find_users("", after=None, limit=1)
            assert store.reads["lagging"] == 1
            assert logs == []
            metrics = Metrics()
            assert freshness_of(store, metrics) is store.freshness
            await told(logs, "replica compared")
            while not store.reads["replica"]:  # it may still have to replay a little
                await store.find_users("", after=None, limit=1)
                await trio.sleep(0.02)
            page = metrics.render().decode()
    assert 'chatd_replica_reads_total{outcome="replica"} 1.0' in page
    assert 'chatd_replica_reads_total{outcome="failed"} 0.0' in page
    [line] = [each for each in page.splitlines() if each.startswith("chatd_replica_lag_seconds")]
    assert 0 <= float(line.split()[1]) < TIMEOUT


async def test_what_cannot_be_compared_is_told_once_and_when_it_can_be(
    database_url: str, replica_url: str, replica_server: PostgresServer
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_store(database_url, replica_url) as store:
            await trio.to_thread.run_sync(replica_server.stop)
            freshness_of(store, Metrics())
            trouble = await told(logs, "replica cannot be compared")
            assert trouble["log_level"] == "warning"
            await store.find_users("", after=None, limit=1)
            await trio.to_thread.run_sync(replica_server.start)
            await told(logs, "replica compared")
    assert [each["event"] for each in logs] == ["replica cannot be compared", "replica compared"]


async def test_a_folder_that_is_no_server_costs_nobody_an_error(
    database_url: str, tmp_path: Path
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with open_store(database_url, f"host={tmp_path} dbname=chatd") as store:
            freshness_of(store, Metrics())
            await told(logs, "replica cannot be compared")
            assert await store.find_users("", after=None, limit=1) == []
