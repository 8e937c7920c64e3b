"""The store under test, in memory and in two PostgreSQLs: the embedded and the oldest one.

A part of the contract runs through a PgBouncer in transaction mode, and over a replica, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.freshness import Freshness
from chatd.setting_types import Pooler as Pooling
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from chatd.store.replica import ReplicatedStore
from tests.databases import PostgresServer
from tests.poolers import Pooler
from tests.store.kit import sign_up
from tests.store.replica_kit import MAX_LAG, Pair

BEHIND = {
    "pgbouncer": {
        *("test_messages", "test_changes", "test_sessions", "test_members", "test_reading"),
        *("test_audit", "test_search", "test_writing", "test_erasure", "test_files"),
    },
    "replica": {
        *("test_messages", "test_sessions", "test_members", "test_search", "test_people"),
    },
}
TEST_TIMEOUT = 10.0  # seconds of real time for a whole test


@dataclass(frozen=True)
class People:
    """Who takes part."""

    alice: UUID
    bob: UUID
    carol: UUID
    dave: UUID


@pytest.fixture
async def deadline(nursery: trio.Nursery) -> None:
    """Fail a test that hangs."""

    async def give_up() -> None:
        await trio.sleep(TEST_TIMEOUT)
        pytest.fail(f"the test takes more than {TEST_TIMEOUT} s")

    nursery.start_soon(give_up)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the contract on all stores, and some through what may stand before one."""
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "store_url" in metafunc.fixturenames and "store_url" not in chosen:
        module = metafunc.module.__name__.rpartition(".")[2]
        behind = [kind for kind, modules in BEHIND.items() if module in modules]
        kinds = ["memory", "postgres", "oldest postgres", *behind]
        metafunc.parametrize("store_url", kinds, indirect=True)


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str | None:
    """Return where the store is, None for memory."""
    if request.param == "memory":
        return None
    is_oldest = request.param == "oldest postgres"
    url: str = request.getfixturevalue("oldest_database_url" if is_oldest else "database_url")
    if request.param == "pgbouncer":
        through: Pooler = request.getfixturevalue("pooler")
        return through.url(url)
    return url


class Current(Freshness):
    """The marks where a primary is its own replica: it shows everything."""

    def head(self, session_id: UUID) -> float:
        del session_id
        return 0

    def is_writer(self, user_id: UUID) -> bool:
        del user_id
        return False

    def lag(self, now: float) -> float:
        del now
        return 0


@pytest.fixture
async def store(
    request: pytest.FixtureRequest, store_url: str | None, deadline: None
) -> AsyncIterator[Store]:
    """Return an empty store of either kind."""
    kind = request.node.callspec.params["store_url"]
    if store_url is None:
        yield MemoryStore()
    elif kind == "replica":
        async with open_pool(store_url, size=4) as pool, open_pool(store_url) as readers:
            replicated = ReplicatedStore(pool, readers, max_lag=1)
            replicated.freshness = Current()
            yield replicated
            assert set(+replicated.reads) <= {"replica", "behind"}  # a page that it has not
    else:
        pooler: Pooling = "transaction" if kind == "pgbouncer" else "none"
        async with open_pool(store_url, size=4, pooler=pooler) as pool:
            yield PostgresStore(pool)


@pytest.fixture
async def people(store: Store) -> People:
    """Give four people accounts in the store."""
    alice, bob, carol, dave = [
        await sign_up(store, name) for name in ("Alice", "Bob", "Carol", "Dave")
    ]
    return People(alice, bob, carol, dave)


@pytest.fixture
async def pool(database_url: str, deadline: None) -> AsyncIterator[Pool]:
    """Return a pool of four connections to a fresh database."""
    async with open_pool(database_url, size=4, query_timeout=3) as pool:
        yield pool


@pytest.fixture
async def pair(
    postgres_server: PostgresServer,
    replica_server: PostgresServer,
    database_url: str,
    replica_url: str,
    deadline: None,
) -> AsyncIterator[Pair]:
    """Return a store with a replica that has been compared once."""
    async with (
        open_pool(database_url, size=4, query_timeout=3) as pool,
        open_pool(replica_url, size=4, query_timeout=1, is_replica=True) as readers,
    ):
        store = ReplicatedStore(pool, readers, max_lag=MAX_LAG)
        await store.look()
        yield Pair(store, postgres_server, replica_server)
