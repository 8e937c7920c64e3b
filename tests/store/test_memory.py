from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import StoreAmbiguous, StoreUnavailable
from chatd.ids import uuid7
from chatd.store.memory import MemoryStore
from tests.store.kit import gather, say, sign_up, stored, words


async def test_a_fault_comes_once_and_leaves_nothing_behind() -> None:
    store = MemoryStore()
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    store.fail_next("append_messages", StoreUnavailable("away"), times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.append_messages([words(tea, alice)])
    assert await store.heads([tea]) == {tea: 0}
    [row] = await say(store, tea, alice, "now")
    assert row.seq == 1
    assert store.calls["append_messages"] == 3


async def test_an_ambiguous_fault_commits_and_then_raises() -> None:
    store = MemoryStore()
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    message = words(tea, alice)
    store.fail_next("append_messages", StoreAmbiguous("lost"))
    with pytest.raises(StoreAmbiguous):
        await store.append_messages([message])
    [found] = await store.find_messages([message])
    assert stored(found).id == message.id


async def test_an_ambiguous_fault_may_also_have_stored_nothing() -> None:
    store = MemoryStore()
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    message = words(tea, alice)
    store.fail_next("append_messages", StoreAmbiguous("lost"), is_committed=False)
    with pytest.raises(StoreAmbiguous):
        await store.append_messages([message])
    assert await store.find_messages([message]) == [None]


def test_a_fault_of_a_method_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError):
        MemoryStore().fail_next("apend_messages", StoreUnavailable("away"))


async def test_latency_is_on_trios_clock(autojump_clock: MockClock) -> None:
    store = MemoryStore(latency=0.5)
    start = trio.current_time()
    await store.ping()
    assert trio.current_time() - start == 0.5


async def test_each_call_can_be_cancelled_and_has_then_done_nothing() -> None:
    store = MemoryStore()
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.insert_user(
            user_id=uuid7(),
            email="alice@example.org",
            name="Alice",
            password_hash=None,
            created_at=words(uuid7(), uuid7()).created_at,
        )
    assert scope.cancelled_caught
    assert await store.user_by_email("alice@example.org") is None


async def test_the_epoch_of_a_twin_can_be_given() -> None:
    epoch = uuid7()
    assert await MemoryStore(epoch=epoch).epoch() == epoch
