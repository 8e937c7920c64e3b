from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import LiteralString

import psycopg
import pytest
import trio
import trio.testing

from chatd.errors import StoreBug, StoreUnavailable
from chatd.store.pool import Pool, Transaction, open_pool
from tests.store.kit import in_parallel

COUNT = "SELECT count(*) FROM settings WHERE name LIKE 'mark%%'"
MARK = "INSERT INTO settings (name, value) VALUES ('mark', '1')"


async def running(pool: Pool, pattern: str) -> int:
    """Count the statements like `pattern` that the server runs now."""
    [(count,)] = await pool.fetch(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND state = 'active' AND query LIKE %(pattern)s AND pid <> pg_backend_pid()",
        {"pattern": pattern},
    )
    assert isinstance(count, int)
    return count


async def test_connections_are_opened_when_needed_and_used_last_in_first_out(pool: Pool) -> None:
    assert (pool.size, pool.idle, pool.in_use, pool.waiting) == (4, 0, 0, 0)
    pids = {await _pid(pool) for _ in range(5)}
    assert len(pids) == 1
    assert pool.idle == 1
    await in_parallel(pool, 3)
    assert pool.idle == 3
    assert len({await _pid(pool) for _ in range(5)}) == 1


async def _pid(pool: Pool) -> int:
    [(pid,)] = await pool.fetch("SELECT pg_backend_pid()")
    assert isinstance(pid, int)
    return pid


async def test_a_connection_has_the_settings_that_chatd_relies_on(pool: Pool) -> None:
    settings: dict[LiteralString, str] = {
        "synchronous_commit": "on",
        "TimeZone": "UTC",
        "statement_timeout": "3s",
        "lock_timeout": "1500ms",
        "idle_in_transaction_session_timeout": "10s",
        "application_name": "chatd",
    }
    for name, value in settings.items():
        query = "SELECT current_setting(%(name)s)"
        assert await pool.fetch(query, {"name": name}) == [(value,)], name


async def test_calls_beyond_the_size_wait_for_their_turn(pool: Pool) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(pool.fetch, "SELECT pg_sleep(0.05)")
        await trio.testing.wait_all_tasks_blocked()
        assert (pool.in_use, pool.waiting) == (4, 5)
    assert (pool.in_use, pool.waiting, pool.idle) == (0, 0, 4)


async def test_who_waits_too_long_for_a_connection_is_told_so(
    database_url: str, deadline: None
) -> None:
    async with open_pool(database_url, size=1) as pool, trio.open_nursery() as nursery:
        is_held, is_done = trio.Event(), trio.Event()

        async def hold(transaction: Transaction) -> None:
            is_held.set()
            await is_done.wait()

        nursery.start_soon(pool.transact, hold)
        await is_held.wait()
        pool._query_timeout = 0.1
        with pytest.raises(StoreUnavailable, match=r"within 0\.1 s"):
            await pool.fetch("SELECT 1", writes=True)
        assert (pool.in_use, pool.waiting) == (1, 0)
        is_done.set()


async def test_a_statement_has_a_deadline_and_ends_on_the_server(
    database_url: str, deadline: None
) -> None:
    async with open_pool(database_url, size=2, query_timeout=0.2) as pool:
        with pytest.raises(StoreUnavailable):
            await pool.fetch("SELECT pg_sleep(10)", writes=True)
        assert await running(pool, "%pg_sleep%") == 0
        assert pool.in_use == 0


@pytest.mark.parametrize("is_heavy", [False, True])
async def test_a_cancelled_statement_ends_on_the_server_and_its_connection_stays(
    pool: Pool, *, is_heavy: bool
) -> None:
    await _pid(pool)
    pid = await _pid(pool)
    with trio.move_on_after(0.1) as scope:
        await pool.fetch("SELECT pg_sleep(10)", is_heavy=is_heavy)
    assert scope.cancelled_caught
    assert await running(pool, "%pg_sleep%") == 0
    assert await _pid(pool) == pid
    assert (pool.idle, pool.in_use) == (1, 0)


async def test_a_cancelled_transaction_is_rolled_back(pool: Pool) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch(MARK)
        await trio.sleep_forever()

    with trio.move_on_after(0.2):
        await pool.transact(work)
    assert await pool.fetch(COUNT) == [(0,)]
    assert (pool.idle, pool.in_use) == (1, 0)


async def test_a_failed_transaction_is_rolled_back(pool: Pool) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch(MARK)
        raise KeyError("no")

    with pytest.raises(KeyError):
        await pool.transact(work)
    assert await pool.fetch(COUNT) == [(0,)]


async def test_a_failed_statement_that_was_hidden_does_not_pass_for_a_commit(pool: Pool) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.fetch(MARK)
        with suppress(psycopg.Error):
            await transaction.fetch("SELECT 1 / 0")

    with pytest.raises(StoreBug, match="ROLLBACK"):
        await pool.transact(work)
    assert await pool.fetch(COUNT) == [(0,)]


async def test_a_heavy_statement_is_sent_by_a_thread_and_answered_as_any_other(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0
    run_sync = trio.to_thread.run_sync

    async def count(send: Callable[..., None], *query: object) -> None:
        nonlocal sent
        sent += 1
        await run_sync(send, *query)

    monkeypatch.setattr(trio.to_thread, "run_sync", count)
    query = "SELECT %(number)s::int"
    assert await pool.fetch(query, {"number": 7}, is_heavy=True) == [(7,)]
    assert sent == 1
    assert await pool.fetch(query, {"number": 8}) == [(8,)]
    assert sent == 1
    with pytest.raises(StoreBug):
        await pool.fetch("SELECT 1 / %(number)s::int", {"number": 0}, is_heavy=True)


async def test_cancelling_at_every_moment_leaks_nothing(pool: Pool) -> None:
    """Cancel 150 calls, each a little later in its life than the one before."""

    async def work(transaction: Transaction) -> None:
        await transaction.fetch("SELECT 1")
        await transaction.fetch("SELECT pg_sleep(0.001)")

    for step in range(150):
        with trio.move_on_after(step * 0.00008):
            if step % 2:
                await pool.transact(work)
            else:
                is_heavy = step % 4 == 0
                await pool.fetch("SELECT pg_sleep(0.002)", writes=True, is_heavy=is_heavy)
        assert pool.in_use == 0
    assert pool.idle <= 1
    assert await pool.fetch("SELECT 1") == [(1,)]
    await in_parallel(pool, 4)
    assert pool.idle == 4


async def test_cancelling_many_at_once_leaks_nothing(pool: Pool) -> None:
    for delay in (0, 0.001, 0.01, 0.05):
        with trio.move_on_after(delay):
            async with trio.open_nursery() as nursery:
                for _ in range(12):
                    nursery.start_soon(pool.fetch, "SELECT pg_sleep(1)")
        assert (pool.in_use, pool.waiting) == (0, 0)
    assert await running(pool, "%pg_sleep%") == 0
    await in_parallel(pool, 4)
    assert pool.idle == 4


async def test_a_wrong_statement_is_a_bug_with_its_cause(pool: Pool) -> None:
    with pytest.raises(StoreBug, match="42P01") as caught:
        await pool.fetch("SELECT * FROM no_such_table")
    assert caught.value.__cause__ is not None
    with pytest.raises(StoreBug):
        await pool.fetch("SELECT %(missing)s", {"other": 1})
    assert (pool.idle, pool.in_use) == (1, 0)


async def test_a_closed_pool_says_so(database_url: str) -> None:
    with trio.fail_after(10):
        async with open_pool(database_url) as pool:
            await pool.fetch("SELECT 1")
        assert pool.idle == 0
        with pytest.raises(StoreUnavailable, match="closed"):
            await pool.fetch("SELECT 1")


async def test_what_goes_wrong_in_the_block_comes_out_bare(database_url: str) -> None:
    with trio.fail_after(10), pytest.raises(KeyError):
        async with open_pool(database_url):
            raise KeyError("bare")


async def test_large_parameters_and_results_pass(pool: Pool) -> None:
    text = "0123456789abcdef" * 1_000_000
    assert await pool.fetch("SELECT %(text)s::text", {"text": text}) == [(text,)]
