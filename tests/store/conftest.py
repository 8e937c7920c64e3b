"""The store under test, in memory and in two PostgreSQLs: the embedded and the oldest one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import sign_up

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


@pytest.fixture(params=["memory", "postgres", "oldest postgres"])
def store_url(request: pytest.FixtureRequest) -> str | None:
    """Return where the store is, None for memory."""
    if request.param == "memory":
        return None
    is_oldest = request.param == "oldest postgres"
    url: str = request.getfixturevalue("oldest_database_url" if is_oldest else "database_url")
    return url


@pytest.fixture
async def store(store_url: str | None, deadline: None) -> AsyncIterator[Store]:
    """Return an empty store of either kind."""
    if store_url is None:
        yield MemoryStore()
    else:
        async with open_pool(store_url, size=4) as pool:
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
