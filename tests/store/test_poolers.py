"""A pooler between the pool and PostgreSQL: what is relied on then, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from chatd.errors import StoreAmbiguous, StoreRetryable, StoreUnavailable
from chatd.rows import Append
from chatd.store.migrate import migrate, migrations
from chatd.store.pool import Pool, Transaction, open_pool
from chatd.store.postgres import PostgresStore
from tests.databases import PostgresServer
from tests.poolers import PROGRAM, SIZE, Pooler, running_pooler
from tests.store.kit import gather, sign_up, stored, words
from tests.store.test_lost import Cut, open_relay

SHOW = "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout')"


@pytest.fixture
async def pooled(pooler: Pooler, database_url: str, deadline: None) -> AsyncIterator[Pool]:
    """Return a pool of more connections than the pooler has sessions of the server."""
    url = pooler.url(database_url)
    async with open_pool(url, size=SIZE * 4, query_timeout=3, pooler="transaction") as pool:
        yield pool


async def _pids(pool: Pool, calls: int) -> set[int]:
    found = []

    async def ask() -> None:
        found.extend(await pool.fetch("SELECT pg_backend_pid() FROM pg_sleep(0.02)"))

    async with trio.open_nursery() as nursery:
        for _ in range(calls):
            nursery.start_soon(ask)
    return {row[0] for row in found}


async def test_more_connections_than_the_pooler_has_sessions_all_get_their_answers(
    pooled: Pool,
) -> None:
    assert len(await _pids(pooled, SIZE * 8)) == SIZE
    assert pooled.idle == SIZE * 4


async def test_nothing_is_prepared_and_no_session_is_told_anything(pooled: Pool) -> None:
    for _ in range(SIZE * 2):
        assert await pooled.fetch("SELECT %(a)s::int + 1", {"a": 1}) == [(2,)]
        assert await pooled.fetch("SELECT count(*) FROM pg_prepared_statements") == [(0,)]
        assert await pooled.fetch(SHOW) == [("on", "0")]


async def test_a_transaction_is_told_what_it_relies_on_and_leaves_nothing_behind(
    pooled: Pool,
) -> None:
    async def work(transaction: Transaction) -> list[tuple[str, ...]]:
        return await transaction.fetch(SHOW)

    await pooled.fetch("SELECT 1 FROM pg_sleep(0)")
    assert await pooled.transact(work) == [("on", "1500ms")]
    assert await pooled.fetch(SHOW + ", 1", writes=True) == [("on", "1500ms", 1)]
    for _ in range(SIZE * 2):
        assert await pooled.fetch(SHOW) == [("on", "0")]


async def test_what_is_acknowledged_is_on_disk_whatever_the_role_prefers(
    pooled: Pool, database_url: str
) -> None:
    name = database_url.rpartition("dbname=")[2]
    async with open_pool(database_url, size=1) as operator:
        await operator.fetch(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        [(preferred, _)] = await pooled.fetch(SHOW)
        [(told, _)] = await pooled.fetch(SHOW, writes=True)
    finally:
        async with open_pool(database_url, size=1) as operator:
            await operator.fetch(f"ALTER DATABASE {name} RESET synchronous_commit")
    assert (preferred, told) == ("off", "on")


async def test_a_cancelled_statement_ends_on_the_server(pooled: Pool, database_url: str) -> None:
    with trio.move_on_after(0.3) as scope:
        await pooled.fetch("SELECT pg_sleep(60)")
    assert scope.cancelled_caught
    async with open_pool(database_url, size=1) as direct:
        running = await direct.fetch(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%'"
            " AND state = 'active' AND pid <> pg_backend_pid()"
        )
    assert running == [(0,)]
    assert await pooled.fetch("SELECT 1") == [(1,)]


@pytest.mark.parametrize("cut", ["request", "answer", "held request"])
async def test_what_became_of_a_lost_commit_can_be_found_out_without_a_process_to_end(
    postgres_server: PostgresServer,
    pooler: Pooler,
    database_url: str,
    tmp_path: Path,
    deadline: None,
    cut: Cut,
) -> None:
    behind = PostgresServer(pooler.folder, postgres_server.account, postgres_server.bin_folder)
    url = database_url.replace(str(postgres_server.folder), str(tmp_path))
    async with (
        open_relay(behind, tmp_path) as relay,
        open_pool(url, size=1, query_timeout=1, pooler="transaction") as pool,
    ):
        store = PostgresStore(pool)
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        message = words(tea, alice, "the message in question", key="k")
        relay.mark, relay.cut = b"COMMIT", cut
        with pytest.raises(StoreAmbiguous):
            await store.append_messages([message])
        if cut == "held request":
            with pytest.raises(StoreRetryable):  # its locks are held: nobody can tell yet
                await store.find_messages([message])
            relay.release.set()  # the network delivers the COMMIT now
        [found] = await store.find_messages([message])
        [again] = await store.append_messages([message])
    if cut == "request":
        assert found is None
        assert again.outcome is Append.STORED
    else:
        assert stored(found).seq == 1
        assert again.outcome is Append.DUPLICATE


async def test_a_daemon_migrates_through_a_pooler(
    postgres_server: PostgresServer, pooler: Pooler
) -> None:
    postgres_server.execute("CREATE DATABASE pooled")
    try:
        url = pooler.url(postgres_server.conninfo("pooled"))
        assert await migrate(url, "transaction") == len(migrations())
        assert await migrate(url, "transaction") == 0
    finally:
        postgres_server.execute("DROP DATABASE pooled WITH (FORCE)")


async def test_a_pooler_that_nobody_has_told_of_is_refused_and_the_setting_named(
    pooler: Pooler, database_url: str
) -> None:
    async with open_pool(pooler.url(database_url), size=1) as pool:
        with pytest.raises(StoreUnavailable, match="set database_pooler to transaction or session"):
            await pool.fetch("SELECT 1")


async def test_one_in_transaction_mode_that_was_called_one_in_session_mode_is_found_out(
    pooled: Pool, pooler: Pooler, database_url: str
) -> None:
    await _pids(pooled, SIZE * 2)  # the pooler has its sessions, and gives them out in turn
    async with open_pool(pooler.url(database_url), size=1, pooler="session") as pool:
        with pytest.raises(StoreUnavailable, match="database_pooler=transaction"):
            await pool.fetch("SELECT 1")


async def test_a_pooler_in_session_mode_gives_prepared_statements_and_processes_to_end(
    postgres_server: PostgresServer, database_url: str, deadline: None
) -> None:
    if not PROGRAM.exists():
        pytest.skip("PgBouncer is not installed")
    with running_pooler(postgres_server, "session") as pooler:
        async with open_pool(pooler.url(database_url), size=2, pooler="session") as pool:
            [(pid,)] = await pool.fetch("SELECT pg_backend_pid()")
            assert pool._idle[0].pid == pid
            prepared = await pool.fetch("SELECT count(*) FROM pg_prepared_statements")
            assert prepared[0][0] >= 1
