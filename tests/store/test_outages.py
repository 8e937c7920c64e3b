"""What callers of the pool hear of a PostgreSQL that fails: as little as possible."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator

import psycopg
import pytest
import trio
import trio.testing
from psycopg.abc import PQGen
from psycopg.waiting import Wait

from chatd.errors import StoreRetryable, StoreUnavailable
from chatd.store import waits
from chatd.store.pool import Pool, Transaction, open_pool
from tests.databases import PostgresServer
from tests.store.kit import in_parallel

COUNT = "SELECT count(*) FROM settings WHERE name LIKE 'mark%%'"
MARK = "INSERT INTO settings (name, value) VALUES ('mark', '1')"


async def kill_all(url: str) -> int:
    """End every other connection to the database, as an operator would; return how many."""
    async with open_pool(url, size=1) as operator:
        rows = await operator.fetch(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return len(rows)


async def test_a_transaction_that_cannot_be_rolled_back_costs_its_connection(
    pool: Pool, database_url: str
) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch(MARK)
        await kill_all(database_url)
        raise KeyError("no")

    with pytest.raises(KeyError):
        await pool.transact(work)
    assert (pool.idle, pool.in_use) == (0, 0)
    assert await pool.fetch(COUNT) == [(0,)]


async def test_a_socket_that_is_gone_is_a_lost_connection() -> None:
    def statement() -> PQGen[None]:
        yield Wait.R

    ours, theirs = socket.socketpair()
    gone = ours.fileno()
    ours.close()
    with theirs, pytest.raises(psycopg.OperationalError, match="socket is gone"):
        await waits.drive(statement(), gone)


async def test_nobody_notices_that_all_backends_were_killed(pool: Pool, database_url: str) -> None:
    await in_parallel(pool, 4)
    assert await kill_all(database_url) == 4
    for _ in range(5):
        assert await pool.fetch("SELECT 1", writes=True) == [(1,)]
    assert pool.in_use == 0


async def test_a_reader_whose_backend_is_killed_tries_again(pool: Pool, database_url: str) -> None:
    results = []

    async def read() -> None:
        results.extend(await pool.fetch("SELECT pg_sleep(0.5), 7"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(0.2)
        assert await kill_all(database_url) == 1
    assert [row[1] for row in results] == [7]


async def test_a_killed_transaction_is_done_again_and_once(pool: Pool, database_url: str) -> None:
    tries = []

    async def work(transaction: Transaction) -> None:
        await transaction.fetch(MARK)
        tries.append(1)
        if len(tries) == 1:
            await kill_all(database_url)
        await transaction.fetch("SELECT 1")

    await pool.transact(work)
    assert len(tries) == 2
    assert await pool.fetch(COUNT) == [(1,)]


async def test_a_deadlock_is_resolved_without_an_error(pool: Pool) -> None:
    await pool.fetch("INSERT INTO settings VALUES ('left', ''), ('right', '')")
    await pool.fetch("SET deadlock_timeout = '50ms'")
    first_locks = {"left": trio.Event(), "right": trio.Event()}

    async def lock_both(one: str, other: str) -> None:
        async def work(transaction: Transaction) -> None:
            lock = "SELECT 1 FROM settings WHERE name = %(name)s FOR UPDATE"
            await transaction.fetch("SET LOCAL deadlock_timeout = '50ms'")
            await transaction.fetch(lock, {"name": one})
            first_locks[one].set()
            await first_locks[other].wait()
            await transaction.fetch(lock, {"name": other})

        await pool.transact(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock_both, "left", "right")
        nursery.start_soon(lock_both, "right", "left")
    assert pool.in_use == 0


async def test_a_lock_that_is_held_too_long_is_retryable(database_url: str, deadline: None) -> None:
    async with open_pool(database_url, size=2, query_timeout=2) as pool:
        lock = "SELECT 1 FROM settings WHERE name = 'epoch' FOR UPDATE"
        async with trio.open_nursery() as nursery:
            is_locked, is_done = trio.Event(), trio.Event()

            async def hold(transaction: Transaction) -> None:
                await transaction.fetch(lock)
                is_locked.set()
                await is_done.wait()

            nursery.start_soon(pool.transact, hold)
            await is_locked.wait()
            with pytest.raises(StoreRetryable, match="55P03"):
                await pool.fetch(lock)
            is_done.set()


async def test_the_servers_own_deadline_is_unavailable(pool: Pool) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch("SET LOCAL statement_timeout = '50ms'")
        await transaction.fetch("SELECT pg_sleep(5)")

    with pytest.raises(StoreUnavailable, match="57014"):
        await pool.transact(work)


async def test_a_plan_that_a_migration_made_old_is_made_anew(pool: Pool, database_url: str) -> None:
    assert len((await pool.fetch("SELECT * FROM settings LIMIT 1"))[0]) == 2
    async with open_pool(database_url, size=1) as other:
        await other.fetch("ALTER TABLE settings ADD COLUMN note text")
    assert len((await pool.fetch("SELECT * FROM settings LIMIT 1"))[0]) == 3


async def test_a_server_that_is_not_there_is_unavailable_after_a_little_patience(
    deadline: None,
) -> None:
    async with open_pool("host=/nonexistent dbname=x") as pool:
        start = trio.current_time()
        with pytest.raises(StoreUnavailable):
            await pool.fetch("SELECT 1")
        patient = trio.current_time() - start
        with pytest.raises(StoreUnavailable):
            await pool.fetch("SELECT 1")
        assert trio.current_time() - start - patient < 0.5 < patient
        assert pool.in_use == 0


@pytest.fixture
async def restarted(database_url: str, deadline: None) -> AsyncIterator[Pool]:
    """Return a pool for tests that stop the server; it lives as long as they do."""
    async with open_pool(database_url, size=2, query_timeout=5) as pool:
        await in_parallel(pool, 2)
        yield pool


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_nobody_notices_that_the_server_was_restarted(
    restarted: Pool, postgres_server: PostgresServer, how: signal.Signals
) -> None:
    await trio.to_thread.run_sync(postgres_server.stop, how)
    results = []

    async def call() -> None:
        results.extend(await restarted.fetch("SELECT 7"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)  # comes while the server is away
        await trio.sleep(0.1)
        await trio.to_thread.run_sync(postgres_server.start)
    assert results == [(7,)]
