"""Mentions: who is kept, counted and told."""

from __future__ import annotations

from typing import cast
from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.rows import Append, AppendRow, Mentions, MessageChange, MessageRow, Role
from chatd.store.memory import MemoryStore
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather, sign_up, stored, words
from tests.store.test_writing import rule


async def mention(
    store: Store, session_id: UUID, sender_id: UUID, mentions: Mentions, *, key: str | None = None
) -> AppendRow:
    new = words(session_id, sender_id, key=key)._replace(mentions=mentions)
    [row] = await store.append_messages([new])
    return row


async def edit(
    store: Store, row: MessageRow, mentions: Mentions | None, *, role: Role = "OWNER"
) -> MessageChange:
    change = await store.edit_message(
        row.id,
        row.sender_id,
        role=role,
        content="edited",
        version=None,
        at=NOW + DAY,
        mentions=mentions,
    )
    assert change is not None
    return change


async def counts(store: Store, session_id: UUID, *user_ids: UUID) -> list[int]:
    """Return how many mentions wait for each, wherever it is read the same."""
    numbers = []
    for user_id in user_ids:
        [line] = [
            line
            for line in await store.list_sessions(user_id, before=None, limit=9)
            if line.session.id == session_id
        ]
        joined = await store.join_page(session_id, user_id, since=None, replay=0, limit=1)
        assert joined is not None
        states = await store.first_states([user_id], 9)
        [state] = [each for each in states[user_id][1] if each.session_id == session_id]
        assert line.mention_count == joined.mention_count == state.mention_count
        numbers.append(line.mention_count)
    return numbers


async def test_members_are_kept_counted_and_told_and_nobody_else(
    store: Store, people: People
) -> None:
    alice, bob, carol, dave = people.alice, people.bob, people.carol, people.dave
    tea = await gather(store, alice, bob, carol)
    new = words(tea, alice, key="k")._replace(mentions=(carol, dave, alice, bob, NOBODY))
    [result] = await store.append_messages([new])
    row = stored(result)
    assert row.mentions == (carol, alice, bob)
    assert result.told == tuple(sorted([bob, carol]))
    assert await counts(store, tea, alice, bob, carol) == [0, 1, 1]

    page = await store.history(tea, bob)
    assert page is not None
    assert page.messages == [row]
    assert (await store.changes_since(tea, 0, 10)).messages == [row]
    repeat = await mention(store, tea, alice, (bob,), key="k")
    assert repeat == AppendRow(Append.DUPLICATE, row)
    again = await store.append_messages([new])
    assert again == [AppendRow(Append.DUPLICATE, row)]
    assert await store.find_messages([new]) == [AppendRow(Append.STORED, row)]
    assert await counts(store, tea, bob, carol) == [1, 1]


async def test_who_mentions_nobody_of_the_session_mentions_nobody(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    result = await mention(store, tea, people.alice, (people.dave,))
    assert (stored(result).mentions, result.told) == (None, ())
    assert await counts(store, tea, people.bob) == [0]


async def test_all_are_the_members_at_the_time(store: Store, people: People) -> None:
    alice, bob, carol, dave = people.alice, people.bob, people.carol, people.dave
    tea = await gather(store, alice, bob, carol)
    await store.remove_member(tea, carol, at=NOW)
    result = await mention(store, tea, alice, "ALL")
    assert (stored(result).mentions, result.told) == ("ALL", (bob,))
    await store.add_member(tea, dave, role="MEMBER", at=NOW)
    await store.add_member(tea, carol, role="MEMBER", at=NOW)
    assert await counts(store, tea, alice, bob, carol, dave) == [0, 1, 0, 0]


async def test_each_message_of_a_batch_counts_for_whom_it_mentions(
    store: Store, people: People
) -> None:
    alice, bob, carol = people.alice, people.bob, people.carol
    tea, cake = await gather(store, alice, bob, carol), await gather(store, alice, bob)
    batch = [
        words(tea, alice)._replace(mentions=(bob,)),
        words(cake, alice)._replace(mentions="ALL"),
        words(tea, carol),
        words(tea, alice)._replace(mentions="ALL"),
        words(tea, carol)._replace(mentions=(alice,)),
        words(tea, people.dave)._replace(mentions=(alice,)),
    ]
    results = await store.append_messages(batch)
    told = [result.told for result in results]
    assert told == [(bob,), (bob,), (), tuple(sorted([bob, carol])), (alice,), ()]
    # Carol's own message stands behind the one that was for all: she has read it.
    assert await counts(store, tea, alice, bob, carol) == [1, 2, 0]
    assert await counts(store, cake, alice, bob) == [0, 1]
    await store.append_messages([words(tea, bob)])
    assert await counts(store, tea, alice, bob) == [1, 0]


async def test_a_deleted_message_mentions_nobody(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    one = stored(await mention(store, tea, people.alice, "ALL"))
    two = stored(await mention(store, tea, people.alice, (people.bob,)))
    assert await counts(store, tea, people.bob) == [2]
    for row, left in ((one, 1), (one, 1), (two, 0)):
        change = await store.delete_message(row.id, people.alice, role="OWNER", at=NOW)
        assert change is not None
        assert change.message.mentions is None
        assert await counts(store, tea, people.bob) == [left]
    page = await store.history(tea, people.bob)
    assert page is not None
    assert [row.mentions for row in page.messages] == [None, None]


async def test_what_was_read_is_not_taken_off_when_it_is_deleted(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    read = stored(await mention(store, tea, people.alice, (people.bob,)))
    await store.append_messages([words(tea, people.bob)])
    await mention(store, tea, people.alice, (people.bob,))
    await store.delete_message(read.id, people.alice, role="OWNER", at=NOW)
    assert await counts(store, tea, people.bob) == [1]


async def test_an_edit_counts_and_tells_those_who_are_new(store: Store, people: People) -> None:
    alice, bob, carol = people.alice, people.bob, people.carol
    tea = await gather(store, alice, bob, carol)
    row = stored(await mention(store, tea, alice, (bob,)))
    change = await edit(store, row, (bob, carol, people.dave))
    assert (change.message.mentions, change.told) == ((bob, carol), (carol,))
    assert (change.message.version, change.message.changed_seq) == (2, 2)
    assert await counts(store, tea, bob, carol) == [1, 1]
    unchanged = await edit(store, row, (bob, carol))
    assert (unchanged.is_changed, unchanged.message) == (False, change.message)
    kept = await edit(store, row, None)
    assert (kept.is_changed, kept.message) == (False, change.message)

    change = await edit(store, row, (carol,))
    assert (change.is_changed, change.told) == (True, ())
    assert await counts(store, tea, bob, carol) == [0, 1]
    change = await edit(store, row, "ALL")
    assert (change.message.mentions, change.told) == ("ALL", (bob,))
    change = await edit(store, row, ())
    assert (change.message.mentions, change.told) == (None, ())
    assert await counts(store, tea, bob, carol) == [0, 0]
    page = await store.history(tea, bob)
    assert page is not None
    assert page.messages == [change.message]


async def test_an_edit_does_not_count_for_who_has_read_the_message(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    row = stored(await mention(store, tea, people.alice, ()))
    await store.append_messages([words(tea, people.bob)])
    assert (await edit(store, row, (people.bob,))).told == (people.bob,)
    assert await counts(store, tea, people.bob) == [0]
    assert not (await edit(store, row, ())).told
    assert await counts(store, tea, people.bob) == [0]


async def test_in_slow_mode_a_batch_mentions_as_elsewhere(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    await rule(store, tea, people.bob, slow_mode_seconds=10)
    batch = [
        words(tea, people.bob),
        words(tea, people.bob, at=NOW + SECOND)._replace(mentions="ALL"),
        words(tea, people.bob, at=NOW + 10 * SECOND)._replace(mentions=(people.carol,)),
    ]
    results = await store.append_messages(batch)
    assert [row.told for row in results] == [(), (), (people.carol,)]
    assert results[1].outcome is Append.SLOW_MODE
    assert await counts(store, tea, people.alice, people.carol) == [0, 1]


@pytest.mark.parametrize("role", ["OWNER", "ADMIN", "MEMBER"])
async def test_in_a_large_session_only_who_leads_it_calls_all(
    store: Store, people: People, role: Role
) -> None:
    tea = await gather(store, people.alice, people.bob)
    await crowd(store, tea, 198)
    assert stored(await mention(store, tea, people.bob, "ALL")).mentions == "ALL"
    await crowd(store, tea, 1, first=198)
    await rule(store, tea, people.bob, role=role)
    result = await mention(store, tea, people.bob, "ALL")
    may = role != "MEMBER"
    assert result.outcome is (Append.STORED if may else Append.TOO_MANY)
    assert len(result.told) == (200 if may else 0)
    row = stored(await mention(store, tea, people.bob, (people.alice,)))
    change = await edit(store, row, "ALL", role=role)
    assert (change.is_changed, change.refusal) == (may, None if may else Append.TOO_MANY)


async def crowd(store: Store, session_id: UUID, count: int, *, first: int = 0) -> None:
    """Let people into a session."""
    ids = [await sign_up(store, f"guest{n}") for n in range(first, first + count)]
    if isinstance(store, MemoryStore):
        for user_id in ids:
            await store.add_member(session_id, user_id, role="MEMBER", at=NOW)
        return
    pool = cast("PostgresStore", store)._pool
    params = {"session_id": session_id, "ids": ids, "at": NOW, "count": len(ids)}
    await pool.fetch(
        "INSERT INTO session_users (session_id, user_id, role, joined_at)"
        " SELECT %(session_id)s, unnest(%(ids)s), 'MEMBER', %(at)s",
        params,
    )
    await pool.fetch(
        "UPDATE sessions SET member_count = member_count + %(count)s WHERE id = %(session_id)s",
        params,
    )
