"""Who may write: the rules of a session, judged where messages are stored and changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.rows import Append, AppendRow, Role
from chatd.store.memory import MemoryStore
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND, gather, say, stored, words

SLOW = {"slow_mode_seconds": 10}
RULES: list[dict[str, Any]] = [
    {},
    {"archived_at": NOW},
    {"is_read_only": True},
    {"muted_until": NOW + SECOND},
    {"muted_until": NOW},
]


async def rule(store: Store, session_id: UUID, user_id: UUID, **columns: Any) -> None:
    """Set columns of a session and of one of its members, from inside either store."""
    mine = {"muted_until", "role"}
    if isinstance(store, MemoryStore):
        session = store._sessions[session_id]
        for name, value in columns.items():
            setattr(session.members[user_id] if name in mine else session, name, value)
        return
    assert isinstance(store, PostgresStore)
    params = {"session_id": session_id, "user_id": user_id} | columns
    for name in columns:
        place = (
            "session_users SET {} WHERE session_id = %(session_id)s AND user_id = %(user_id)s"
            if name in mine
            else "sessions SET {} WHERE id = %(session_id)s"
        )
        await store._pool.fetch("UPDATE " + place.format(f"{name} = %({name})s"), params)


@pytest.mark.parametrize("columns", RULES)
@pytest.mark.parametrize("role", ["OWNER", "ADMIN", "MEMBER", "READ_ONLY"])
async def test_whom_the_rules_let_write_may_write_and_edit_and_nobody_else(
    store: Store, people: People, role: Role, columns: dict[str, Any]
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.bob, "tee")
    await rule(store, tea, people.bob, role=role, **columns)
    expected = None
    is_reader = role == "READ_ONLY" or (role == "MEMBER" and "is_read_only" in columns)
    if is_reader or "archived_at" in columns:
        expected = Append.READ_ONLY
    elif columns.get("muted_until") == NOW + SECOND:
        expected = Append.MUTED

    [sent] = await store.append_messages([words(tea, people.bob, "x")])
    assert sent.outcome is (expected or Append.STORED)
    edit = {"role": role, "content": "tea", "version": None, "at": NOW}
    change = await store.edit_message(said.id, people.bob, **edit)  # type: ignore[arg-type]
    assert change is not None
    assert (change.is_changed, change.refusal) == (expected is None, expected)
    assert change.message.content == ("tee" if expected else "tea")

    change = await store.react(said.id, people.bob, role=role, emoji="👍", is_on=True, at=NOW)
    assert change is not None
    refusal = Append.READ_ONLY if "archived_at" in columns else None
    if columns.get("muted_until") == NOW + SECOND:
        refusal = Append.MUTED
    assert (change.is_changed, change.refusal) == (refusal is None, refusal)

    change = await store.delete_message(said.id, people.bob, role=role, at=NOW)
    assert change is not None
    assert change.is_changed


async def test_what_is_so_already_is_no_refusal(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    message = words(tea, people.alice, "tea", key="k")
    await store.append_messages([message])
    await store.react(message.id, people.alice, role="OWNER", emoji="👍", is_on=True, at=NOW)
    await rule(store, tea, people.alice, archived_at=NOW)
    [repeat] = await store.append_messages([words(tea, people.alice, "tea", key="k")])
    assert repeat.outcome is Append.DUPLICATE
    edit = await store.edit_message(
        message.id, people.alice, role="OWNER", content="tea", version=None, at=NOW
    )
    again = await store.react(
        message.id, people.alice, role="OWNER", emoji="👍", is_on=True, at=NOW
    )
    assert edit is not None
    assert again is not None
    assert (edit.refusal, again.refusal) == (None, None)


async def test_slow_mode_makes_members_wait_and_says_until_when(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    await rule(store, tea, people.bob, **SLOW)
    await say(store, tea, people.bob, "first")

    async def send(sender: UUID, seconds: float) -> AppendRow:
        at = NOW + seconds * SECOND
        [row] = await store.append_messages([words(tea, sender, "x", at=at)])
        return row

    until = NOW + 10 * SECOND
    assert await send(people.bob, 0) == AppendRow(Append.SLOW_MODE, until=until)
    assert await send(people.bob, 9.999999) == AppendRow(Append.SLOW_MODE, until=until)
    stored(await send(people.carol, 1))
    stored(await send(people.bob, 10))
    assert await send(people.bob, 11) == AppendRow(Append.SLOW_MODE, until=NOW + 20 * SECOND)
    for _ in range(2):
        stored(await send(people.alice, 1))  # its owner
    await rule(store, tea, people.bob, slow_mode_seconds=0)
    stored(await send(people.bob, 11))
    assert await store.heads([tea]) == {tea: 6}


async def test_slow_mode_begins_with_what_was_sent_before_it(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.bob, "before")
    await rule(store, tea, people.bob, **SLOW)
    [row] = await store.append_messages([words(tea, people.bob, at=NOW + SECOND)])
    assert row.until == NOW + 10 * SECOND


async def test_in_slow_mode_a_batch_is_judged_one_message_of_a_sender_after_the_other(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    cake = await gather(store, people.bob)
    await rule(store, tea, people.bob, **SLOW)
    batch = [
        words(tea, people.bob, "first"),
        words(cake, people.bob, "elsewhere"),
        words(tea, people.bob, "at once", at=NOW + SECOND),
        words(tea, people.carol, "another's"),
        words(cake, people.bob, "elsewhere again"),
        words(tea, people.bob, "in time", at=NOW + 10 * SECOND),
        words(tea, people.bob, "too soon", at=NOW + 12 * SECOND),
    ]
    results = await store.append_messages(batch)
    slow = Append.SLOW_MODE
    seqs = [each.row.seq if each.row else each.outcome for each in results]
    assert seqs == [1, 1, slow, 2, 2, 3, slow]
    assert [each.until for each in results if each.until] == [
        NOW + 10 * SECOND,
        NOW + 20 * SECOND,
    ]
    assert await store.heads([tea, cake]) == {tea: 3, cake: 2}


async def test_who_was_refused_has_not_sent(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await rule(store, tea, people.bob, **SLOW, muted_until=NOW + DAY)
    [row] = await store.append_messages([words(tea, people.bob)])
    assert row.outcome is Append.MUTED
    await rule(store, tea, people.bob, muted_until=None)
    [row] = await store.append_messages([words(tea, people.bob)])
    stored(row)


async def test_who_comes_back_is_still_muted_and_slow(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.bob, "bye")
    await rule(store, tea, people.bob, **SLOW, muted_until=NOW + SECOND)
    await store.remove_member(tea, people.bob, at=NOW)
    await store.add_member(tea, people.bob, role="MEMBER", at=NOW)
    outcomes = []
    for seconds in (0, 1, 10):
        at = NOW + seconds * SECOND
        [row] = await store.append_messages([words(tea, people.bob, "x", at=at)])
        outcomes.append(row.outcome)
    assert outcomes == [Append.MUTED, Append.SLOW_MODE, Append.STORED]
