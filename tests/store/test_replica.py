"""Reads that a streaming replica answers, and those that it must not."""

from __future__ import annotations

import pytest

from tests.databases import pause_replay
from tests.store.kit import NOW, contents, gather, say, sign_up, words
from tests.store.replica_kit import Pair


async def test_the_replica_answers_history_lists_and_search(pair: Pair) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await say(store, tea, alice, "one", "two")
    await pair.settle()
    with pair.answers("replica"):
        page = await store.history(tea, bob)
        assert page is not None
        assert contents(page.messages) == ["one", "two"]
        assert [row.session.id for row in await store.list_sessions(bob, before=None, limit=5)] == [
            tea
        ]
        assert {row.user_id for row in await store.members(tea, after=None, limit=5)} == {
            alice,
            bob,
        }
        assert len(await store.find_users("bob", after=None, limit=5)) == 1
        assert contents(await store.search(bob, "two", limit=5)) == ["two"]
        assert contents(await store.search(bob, "two", session_id=tea, limit=5)) == ["two"]
    assert store.reads["replica"] == 6


async def test_who_has_written_reads_it_at_once_while_the_replica_stands_still(pair: Pair) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await pair.settle()
    pause_replay(pair.replica)
    await pair.write(words(tea, alice, "hello there"))
    await store.look()
    with pair.answers("written"):
        page = await store.history(tea, alice)
        [line] = await store.list_sessions(alice, before=None, limit=5)
        found = await store.search(alice, "hello", limit=5)
    assert page is not None
    assert contents(page.messages) == ["hello there"]
    assert line.last_message is not None
    assert contents(found) == ["hello there"]
    await pair.settle()
    with pair.answers("replica"):
        page = await store.history(tea, alice)
    assert page is not None
    assert contents(page.messages) == ["hello there"]


async def test_who_was_told_of_a_newer_seq_does_not_read_an_older_one(pair: Pair) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await say(store, tea, alice, "first")
    await pair.settle()
    pause_replay(pair.replica)
    await pair.write(words(tea, alice, "second"))
    with pair.answers("behind"):
        page = await store.history(tea, bob)
        [line] = await store.list_sessions(bob, before=None, limit=5)
        await store.members(tea, after=None, limit=5)
        found = await store.search(bob, "first", limit=5)  # it may be deleted meanwhile
        assert contents(await store.search(bob, "second", session_id=tea, limit=5)) == ["second"]
    assert page is not None
    assert contents(page.messages) == ["first", "second"]
    assert line.session.seq == page.seq
    assert contents(found) == ["first"]


@pytest.mark.parametrize("position", ["before_seq", "after_seq", "around_id"])
async def test_a_position_that_a_client_shows_is_not_read_from_a_replica_that_lacks_it(
    pair: Pair, position: str
) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await say(store, tea, alice, "first")
    await pair.settle()
    pause_replay(pair.replica)
    [row] = await say(store, tea, alice, "second")  # and this daemon is told nothing of it
    with pair.answers("replica"):
        page = await store.history(tea, bob)
    assert page is not None
    assert contents(page.messages) == ["first"]
    with pair.answers("behind"):
        if position == "around_id":
            page = await store.history(tea, bob, around_id=row.id)
        elif position == "after_seq":
            page = await store.history(tea, bob, after_seq=row.seq)
        else:
            page = await store.history(tea, bob, before_seq=row.seq)
    assert page is not None
    assert page.seq == row.seq
    with pair.answers("behind"):  # the primary's answer is known from then on
        await store.history(tea, bob)


async def test_what_a_join_or_a_catch_up_has_told_is_not_taken_back(pair: Pair) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea, coffee = await gather(store, alice, bob), await gather(store, alice, bob)
    await pair.settle()
    pause_replay(pair.replica)
    await say(store, tea, alice, "hello")
    await say(store, coffee, alice, "hello")
    await store.join_page(tea, bob, since=None, replay=10, limit=10)
    await store.changes_since(coffee, 0, 10)
    with pair.answers("behind"):
        await store.history(tea, bob)
        await store.history(coffee, bob)


async def test_a_removed_member_does_not_read_on_where_the_removal_is_known(pair: Pair) -> None:
    store = pair.store
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await say(store, tea, alice, "secret")
    await pair.settle()
    pause_replay(pair.replica)
    change = await store.remove_member(tea, bob, at=NOW)
    assert change is not None
    store.freshness.saw(tea, change.seq)  # the event of the removal
    with pair.answers("behind"):
        assert await store.history(tea, bob) is None
        assert await store.list_sessions(bob, before=None, limit=5) == []
        assert await store.search(bob, "secret", limit=5) == []


async def test_a_new_member_finds_the_session_at_once(pair: Pair) -> None:
    store = pair.store
    alice, bob, carol = [await sign_up(store, name) for name in ("Alice", "Bob", "Carol")]
    await pair.settle()
    pause_replay(pair.replica)
    tea = await gather(store, alice, bob)
    change = await store.add_member(tea, carol, role="MEMBER", at=NOW)
    assert change is not None
    with pair.answers("written"):
        for user in (alice, bob, carol):
            assert len(await store.list_sessions(user, before=None, limit=5)) == 1
    assert set(store.freshness.take_writers()) == {alice, bob, carol}


async def test_a_new_session_has_its_members_at_once_for_whoever_asks(pair: Pair) -> None:
    store = pair.store
    people = [await sign_up(store, name) for name in ("Alice", "Bob", "Carol")]
    await pair.settle()
    pause_replay(pair.replica)
    tea = await gather(store, *people)
    members = await store.members(tea, after=None, limit=2)
    assert len(members) == 2
    assert len(await store.members(tea, after=members[-1].user_id, limit=2)) == 1
    await pair.settle()
    with pair.answers("replica"):
        assert len(await store.members(tea, after=None, limit=5)) == 3


async def test_a_new_name_is_in_the_lists_at_once(pair: Pair) -> None:
    store = pair.store
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await pair.settle()
    pause_replay(pair.replica)
    await store.update_user(alice, name="Alicia", avatar=None, sets_avatar=False)
    with pair.answers("written"):
        [found] = await store.find_users("alicia", after=None, limit=5)
        [member] = await store.members(tea, after=None, limit=5)
    assert (found.user.name, member.name) == ("Alicia", "Alicia")


async def test_what_the_replica_does_not_know_is_asked_of_the_primary(pair: Pair) -> None:
    store = pair.store
    alice = await sign_up(store, "Alice")
    pause_replay(pair.replica)
    tea = await gather(store, alice)
    await pair.store.look()
    with pair.answers("behind"):  # as if another daemon had made it: nobody is marked
        store.freshness._open.writers.clear()
        store.freshness._closed.clear()
        assert await store.history(tea, alice) is not None
