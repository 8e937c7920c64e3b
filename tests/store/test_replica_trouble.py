"""A replica that lags, stops, is silent or is none: the primary answers, nobody hears of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from chatd.errors import StoreRetryable, StoreUnavailable
from chatd.rows import FoundUser, SessionListRow
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.store.replica import ReplicatedStore
from tests.databases import PostgresServer, pause_replay, running_replica
from tests.store.kit import contents, gather, say, sign_up
from tests.store.replica_kit import MAX_LAG, Pair


async def test_a_replica_that_is_too_old_is_not_read_until_it_has_caught_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = pair.store
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await pair.settle()
    with pair.answers("replica"):
        await store.history(tea, alice)
    pause_replay(pair.replica)
    await say(store, tea, alice, "hello")
    monkeypatch.setattr(store, "_max_lag", 0.01)
    await trio.sleep(0.02)
    await store.look()
    assert store.lag() >= 0.02
    with pair.answers("lagging"):
        page = await store.history(tea, alice)
    assert page is not None
    assert contents(page.messages) == ["hello"]
    monkeypatch.setattr(store, "_max_lag", MAX_LAG)
    await pair.settle()
    with pair.answers("replica"):
        await store.history(tea, alice)


async def test_a_replica_that_stops_is_left_alone_and_used_again_when_it_is_back(
    pair: Pair,
) -> None:
    store = pair.store
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await pair.settle()
    with pair.answers("replica"):
        await store.history(tea, alice)
    pair.replica.stop()
    with pair.answers("failed"):
        assert await store.history(tea, alice) is not None
    with pair.answers("resting"):
        assert await store.history(tea, alice) is not None
        assert len(await store.list_sessions(alice, before=None, limit=5)) == 1
    with pytest.raises(StoreUnavailable):
        await store.look()
    pair.replica.start()
    await pair.settle()
    store._rests_until = trio.current_time()  # as after REST seconds
    with pair.answers("replica"):
        assert await store.history(tea, alice) is not None


@pytest.fixture
async def hasty(
    pair: Pair, database_url: str, replica_url: str
) -> AsyncIterator[tuple[Pair, PostgresStore]]:
    """Return a pair that gives its replica 0.2 s, and what asks that replica."""
    async with (
        open_pool(database_url, size=1) as pool,
        open_pool(replica_url, size=1, query_timeout=0.2, is_replica=True) as readers,
    ):
        store = ReplicatedStore(pool, readers, max_lag=MAX_LAG)
        yield Pair(store, pair.primary, pair.replica), store._replica


async def test_a_replica_that_says_nothing_costs_its_deadline_and_no_error(
    hasty: tuple[Pair, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, replica = hasty
    alice = await sign_up(pair.store, "Alice")
    await gather(pair.store, alice)
    await pair.settle()

    async def silence(*_: object, **__: object) -> list[SessionListRow]:
        await replica._pool.fetch("SELECT pg_sleep(5)")
        return []

    monkeypatch.setattr(replica, "list_sessions", silence)
    replica._pool._query_timeout = 0.1  # before the server's own
    with pair.answers("failed"):
        assert len(await pair.store.list_sessions(alice, before=None, limit=5)) == 1
    assert replica._pool.idle == 0  # nobody waits for the end of what was cancelled
    with pair.answers("resting"):
        assert len(await pair.store.list_sessions(alice, before=None, limit=5)) == 1


async def test_a_long_search_is_no_sign_of_a_replica_that_is_not_well(
    hasty: tuple[Pair, PostgresStore],
) -> None:
    pair, replica = hasty
    alice = await sign_up(pair.store, "Alice")
    tea = await gather(pair.store, alice)
    await say(pair.store, tea, alice, "hello")
    await pair.settle()
    [connection] = replica._pool._idle
    connection.finish()
    with pair.answers("replica"):
        assert contents(await pair.store.search(alice, "hello", limit=5)) == ["hello"]
    replica._pool._query_timeout = 0
    with pair.answers("failed"):
        assert contents(await pair.store.search(alice, "hello", limit=5)) == ["hello"]
    replica._pool._query_timeout = 0.2
    with pair.answers("replica"):
        assert await pair.store.history(tea, alice) is not None


async def test_a_replica_whose_schema_is_not_there_yet_is_no_error_either(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = pair.store._replica
    await sign_up(pair.store, "Alice")
    await pair.settle()

    async def find_users(*_: object, **__: object) -> list[FoundUser]:
        await replica._pool.fetch("SELECT missing FROM users")
        return []

    monkeypatch.setattr(replica, "find_users", find_users)
    with pair.answers("failed"):
        assert len(await pair.store.find_users("alice", after=None, limit=5)) == 1


async def test_what_conflicts_with_the_replay_is_asked_of_the_primary_and_the_replica_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await sign_up(pair.store, "Alice")
    tea = await gather(pair.store, alice)
    await pair.settle()

    async def conflict(*_: object, **__: object) -> None:
        raise StoreRetryable("canceling statement due to conflict with recovery")

    with monkeypatch.context() as patch:
        patch.setattr(pair.store._replica, "members", conflict)
        with pair.answers("failed"):
            assert len(await pair.store.members(tea, after=None, limit=5)) == 1
    with pair.answers("replica"):
        assert len(await pair.store.members(tea, after=None, limit=5)) == 1


@pytest.mark.parametrize("what", ["another database", "the primary itself"])
async def test_what_is_no_replica_is_not_read(
    replica_server: PostgresServer, database_url: str, what: str
) -> None:
    is_other = what == "another database"
    url = replica_server.conninfo("chatd_template") if is_other else database_url
    async with (
        open_pool(database_url, size=1) as pool,
        open_pool(url, size=1, is_replica=True) as readers,
    ):
        await pool.fetch("UPDATE settings SET value = gen_random_uuid() WHERE name = 'epoch'")
        store = ReplicatedStore(pool, readers, max_lag=MAX_LAG)
        with pytest.raises(StoreUnavailable, match="no standby"):
            await store.look()
        assert await store.find_users("", after=None, limit=1) == []
        assert store.reads["resting"] == 1


async def test_a_replica_that_was_promoted_is_not_read_any_more(
    postgres_server: PostgresServer, database_url: str, deadline: None
) -> None:
    with running_replica(postgres_server) as replica:
        url = database_url.replace(str(postgres_server.folder), str(replica.folder))
        async with (
            open_pool(database_url, size=1) as pool,
            open_pool(url, size=1, is_replica=True) as readers,
        ):
            pair = Pair(ReplicatedStore(pool, readers, max_lag=MAX_LAG), postgres_server, replica)
            await pair.settle()
            with pair.answers("replica"):
                await pair.store.find_users("", after=None, limit=1)
            replica.execute("SELECT pg_promote()")
            with pytest.raises(StoreUnavailable, match="no standby"):
                await pair.store.look()
            with pair.answers("resting"):
                await pair.store.find_users("", after=None, limit=1)
