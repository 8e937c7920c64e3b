"""What is unread: exact counts, markers that move forward, and back by hand."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.contract.reading import UnreadQuestion
from chatd.ids import uuid7
from chatd.rows import Mentions, PositionRow, UnreadPage, UnreadRow
from chatd.store import migrate as migrate_module
from chatd.store.migrate import migrate, migrations
from chatd.store.pool import Pool, Transaction, open_pool
from chatd.store.postgres import PostgresStore
from tests.databases import PostgresServer
from tests.store.conftest import People
from tests.store.kit import NOBODY, NOW, gather, say, sign_up, stored, words
from tests.store.test_migrate import FIRST_DATA

NEVER_LARGE = 1000


async def counted(store: Store, session_id: UUID, user_id: UUID) -> PositionRow:
    """Return where a member stands; whoever tells it tells the same."""
    states = await store.first_states([user_id], 100)
    [position] = [p for p in states[user_id][1] if p.session_id == session_id]
    lines = await store.list_sessions(user_id, before=None, limit=100)
    [line] = [line for line in lines if line.session.id == session_id]
    page = await store.join_page(session_id, user_id, since=None, replay=0, limit=1)
    assert page is not None
    question = UnreadQuestion(session_id, user_id)
    told = await store.unread_states([question], large=NEVER_LARGE)
    for told_elsewhere in (line, page, told.counts[session_id, user_id]):
        assert told_elsewhere.unread_count == position.unread_count
        assert told_elsewhere.mention_count == position.mention_count
        assert told_elsewhere.last_read_seq == position.last_read_seq
    return position


async def unread(store: Store, session_id: UUID, user_id: UUID) -> int:
    return (await counted(store, session_id, user_id)).unread_count


async def is_marked(store: Store, user_id: UUID) -> bool:
    [line] = await store.list_sessions(user_id, before=None, limit=2)
    return line.marked_unread


async def test_a_deleted_message_is_unread_no_more_wherever_the_marker_stands(
    store: Store, people: People
) -> None:
    alice, bob, carol, _ = people.alice, people.bob, people.carol, people.dave
    tea = await gather(store, alice, bob, carol)
    rows = await say(store, tea, alice, "one", "two", "three", "four")
    await store.mark_read(tea, carol, 2)
    for place, hers, his in ((0, 3, 2), (3, 2, 1), (2, 1, 0)):
        await store.delete_message(rows[place].id, alice, role="OWNER", at=NOW)
        assert await unread(store, tea, bob) == hers
        assert await unread(store, tea, carol) == his
    assert await unread(store, tea, alice) == 0


async def test_own_messages_are_never_unread_also_behind_a_marker_that_was_set_back(
    store: Store, people: People
) -> None:
    alice, bob = people.alice, people.bob
    tea = await gather(store, alice, bob)
    await say(store, tea, alice, "one")
    [own] = await say(store, tea, bob, "two")
    await say(store, tea, alice, "three")
    assert await unread(store, tea, bob) == 1
    row = await store.mark_unread(tea, bob, 1)
    assert row is not None
    assert (row.unread_count, row.last_read_seq, row.member_count) == (2, 0, 2)
    assert (row.is_moved, row.is_changed) == (True, True)
    assert await unread(store, tea, bob) == 2
    await store.delete_message(own.id, bob, role="MEMBER", at=NOW)
    assert await unread(store, tea, bob) == 2
    row = await store.mark_read(tea, bob, 1)
    assert row is not None
    assert row.unread_count == await unread(store, tea, bob) == 1
    await say(store, tea, bob, "four")
    assert await unread(store, tea, bob) == 0


async def test_the_message_at_the_seq_is_the_first_unread_one(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.alice, "1", "2", "3", "4")
    await store.mark_read(tea, people.bob, 4)
    for seq, first, count in ((3, 3, 2), (2, 2, 3), (9, 2, 3), (0, 1, 4)):
        row = await store.mark_unread(tea, people.bob, seq)
        assert row is not None
        assert (row.last_read_seq, row.unread_count) == (first - 1, count)
        assert await counted(store, tea, people.bob) == PositionRow(*row[:6])
    assert await store.mark_unread(tea, people.carol, 1) is None
    assert await store.mark_unread(NOBODY, people.bob, 1) is None


async def test_who_marks_unread_finds_the_mark_until_they_read_or_write(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.alice, "1", "2")
    assert not await is_marked(store, people.bob)
    await store.mark_unread(tea, people.bob, 9)
    assert await is_marked(store, people.bob)
    assert not await is_marked(store, people.alice)
    again = await store.mark_unread(tea, people.bob, 9)
    assert again is not None
    assert not again.is_changed
    row = await store.mark_read(tea, people.bob, 0)  # also one that moves nothing
    assert row is not None
    assert (row.is_moved, row.is_changed) == (False, True)
    assert not await is_marked(store, people.bob)
    row = await store.mark_read(tea, people.bob, 0)
    assert row is not None
    assert not row.is_changed
    await store.mark_unread(tea, people.bob, 1)
    await say(store, tea, people.bob, "3")
    assert not await is_marked(store, people.bob)


async def test_who_joins_or_returns_begins_at_the_head(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said, *_] = await say(store, tea, people.alice, "1", "2", "3")
    await store.delete_message(said.id, people.alice, role="OWNER", at=NOW)
    await store.mark_unread(tea, people.bob, 1)
    await say(store, tea, people.alice, "4")
    await store.remove_member(tea, people.bob, at=NOW)
    await say(store, tea, people.alice, "5")
    for user_id in (people.bob, people.carol):
        await store.add_member(tea, user_id, role="MEMBER", at=NOW)
        assert await unread(store, tea, user_id) == 0
    assert not await is_marked(store, people.bob)
    await say(store, tea, people.alice, "6")
    assert await unread(store, tea, people.bob) == 1


async def test_a_mark_does_not_outlast_leaving(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    [said] = await say(store, tea, people.alice, "1")
    await store.mark_read(tea, people.bob, said.seq)
    await store.mark_unread(tea, people.bob, said.seq + 1)  # the marker stays where it is
    assert await is_marked(store, people.bob)
    await store.remove_member(tea, people.bob, at=NOW)
    await store.add_member(tea, people.bob, role="MEMBER", at=NOW)
    assert not await is_marked(store, people.bob)


async def test_one_read_tells_all_members_and_the_last_message_of_each_session(
    store: Store, people: People
) -> None:
    alice, bob, carol = people.alice, people.bob, people.carol
    tea, cake = await gather(store, alice, bob), await gather(store, alice, bob, carol)
    empty = await gather(store, alice)
    *_, last = await say(store, tea, alice, "1", "2")
    [cakes] = await say(store, cake, bob, "1")
    questions = [
        UnreadQuestion(tea, bob),
        UnreadQuestion(cake, alice),
        UnreadQuestion(cake, bob, is_large_too=True),
        UnreadQuestion(tea, carol),  # no member
        UnreadQuestion(empty, alice),
        UnreadQuestion(NOBODY, alice),
    ]
    page = await store.unread_states(questions, large=3)
    assert page.last_messages == {tea: last, cake: cakes}
    counts = [
        UnreadRow(tea, bob, 2, 0, 0),
        UnreadRow(cake, alice, 1, 0, 0),
        UnreadRow(cake, bob, 0, 0, 1),
        UnreadRow(empty, alice, 0, 0, 0),
    ]
    assert page.counts == {(row.session_id, row.user_id): row for row in counts}
    large = await store.unread_states(questions, large=2)
    assert set(large.counts) == {(tea, bob), (cake, bob), (empty, alice)}
    assert await store.unread_states([], large=2) == UnreadPage({}, {})


BOB_AND_A_TOMBSTONE: tuple[LiteralString, ...] = (
    """
    INSERT INTO users (id, email, name, created_at)
    VALUES (%(bob)s, 'bob@example.org', 'Bob', %(at)s)
    """,
    """
    INSERT INTO session_users (session_id, user_id, role, joined_at)
    VALUES (%(tea)s, %(bob)s, 'MEMBER', %(at)s)
    """,
    "UPDATE messages SET deleted_at = %(at)s WHERE session_id = %(tea)s AND seq = 1",
)


async def test_an_upgrade_counts_what_was_deleted_before_it(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "before_read_state"
    postgres_server.execute(f"CREATE DATABASE {name}")
    url = postgres_server.conninfo(name)
    number = next(step.number for step in migrations() if "read_state" in step.name)
    with trio.fail_after(20):
        with monkeypatch.context() as older:
            steps = tuple(step for step in migrations() if step.number < number)
            older.setattr(migrate_module, "migrations", lambda: steps)
            await migrate(url)
        async with open_pool(url, size=1) as pool:
            alice, bob, tea = uuid7(), uuid7(), uuid7()
            for statement in (*FIRST_DATA, *BOB_AND_A_TOMBSTONE):
                await pool.fetch(statement, {"alice": alice, "bob": bob, "tea": tea, "at": NOW})
        await migrate(url)
        async with open_pool(url, size=1) as pool:
            assert await unread(PostgresStore(pool), tea, bob) == 1
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_session_that_was_left_between_the_two_reads_of_a_first_state_is_left_out(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea, cake = await gather(store, alice, bob), await gather(store, alice, bob)
    for session_id in (tea, cake):
        [row] = await say(store, session_id, alice, "gone")
        await store.delete_message(row.id, alice, role="OWNER", at=NOW)
    count_exactly = PostgresStore._count_exactly

    async def leave_first(self: PostgresStore, *args: object) -> None:
        await store.remove_member(tea, bob, at=NOW)
        await count_exactly(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(PostgresStore, "_count_exactly", leave_first)
    states = await store.first_states([bob], 10)
    assert states[bob][1] == [PositionRow(cake, 2, 0, 0, 0, 2)]


_MENTION = """
    WITH named AS (
        INSERT INTO mentions (message_id, user_id, session_id, ordinal)
        SELECT id, %(user_id)s, session_id, ordinal FROM messages WHERE id = %(message_id)s
    )
    UPDATE session_users SET mention_count = mention_count + 1
    WHERE session_id = %(session_id)s AND user_id = %(user_id)s
"""


async def test_a_marker_leaves_exactly_the_mentions_above_it(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea, cake = await gather(store, alice, bob), await gather(store, alice, bob)
    for session_id in (tea, cake):
        for row in await say(store, session_id, alice, "1", "2", "3"):
            params = {"message_id": row.id, "session_id": session_id, "user_id": bob}
            await pool.fetch(_MENTION, params, writes=True)
    assert (await counted(store, tea, bob)).mention_count == 3
    for seq, left in ((1, 2), (9, 0)):
        read = await store.mark_read(tea, bob, seq)
        assert read is not None
        assert read.mention_count == left == (await counted(store, tea, bob)).mention_count
    marked = await store.mark_unread(tea, bob, 2)
    assert marked is not None
    assert marked.mention_count == (await counted(store, tea, bob)).mention_count == 2
    large = await store.unread_states(
        [UnreadQuestion(tea, alice), UnreadQuestion(tea, bob)], large=1
    )
    assert set(large.counts) == {(tea, bob)}  # mentioned
    assert (await counted(store, cake, bob)).mention_count == 3
    await store.remove_member(tea, bob, at=NOW)
    await store.add_member(tea, bob, role="MEMBER", at=NOW)
    assert (await counted(store, tea, bob)).mention_count == 0


async def test_a_mention_that_commits_while_its_reader_reads_is_not_forgotten(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    _, named = await say(store, tea, alice, "1", "2")
    params = {"message_id": named.id, "session_id": tea, "user_id": bob}
    reads = trio.Event()

    async def read() -> None:
        row = await store.mark_read(tea, bob, 1)
        assert row is not None
        assert row.mention_count == 1

    async def mention(transaction: Transaction) -> None:
        await transaction.fetch(_MENTION, params)
        nursery.start_soon(read)
        while not await pool.fetch(_WAITERS):  # noqa: ASYNC110 - PostgreSQL tells nobody
            await trio.sleep(0.01)
        reads.set()

    async with trio.open_nursery() as nursery:
        await pool.transact(mention)
        assert reads.is_set()
    assert (await counted(store, tea, bob)).mention_count == 1


_WAITERS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'move_marker'"


async def _move(transaction: Transaction, session_id: UUID, user_id: UUID, seq: int) -> None:
    """Move a marker to a `seq`, forward or back, in a transaction of the test's."""
    params = {"session_id": session_id, "user_id": user_id, "seq": seq}
    for statement in (
        "SELECT FROM move_marker(%(session_id)s, %(user_id)s, %(seq)s, false)",
        "SELECT FROM move_marker(%(session_id)s, %(user_id)s, %(seq)s + 1, true)",
    ):
        await transaction.fetch(statement, params)


@pytest.mark.parametrize("seq", [0, 2])
@pytest.mark.parametrize("how", ["edit", "delete", "erase"])
async def test_a_marker_that_moves_while_mentions_change_leaves_exactly_those_above_it(
    pool: Pool, how: str, seq: int
) -> None:
    store = PostgresStore(pool)
    alice, bob, carol = [await sign_up(store, name) for name in ("Alice", "Bob", "Carol")]
    tea = await gather(store, alice, bob, carol)
    second: Mentions = () if how == "edit" else "ALL"
    said: list[tuple[UUID, Mentions]] = [(alice, (bob,)), (alice, second), (carol, (bob,))]
    rows = []
    for sender, mentions in said:
        message = words(tea, sender)._replace(mentions=mentions)
        [result] = await store.append_messages([message])
        rows.append(stored(result))
    await store.mark_read(tea, bob, 0 if seq else 9)
    message_id = rows[1].id

    async def change() -> None:
        if how == "edit":
            edited = await store.edit_message(
                message_id, alice, role="OWNER", content="new", version=None, at=NOW, mentions="ALL"
            )
            assert edited is not None
            assert sorted(edited.told) == sorted([bob, carol])
        elif how == "delete":
            await store.delete_message(message_id, alice, role="OWNER", at=NOW)
        else:
            await store.erase_messages(
                tea, alice, deletes_messages=True, above=0, span=9, limit=9, at=NOW
            )

    async def move(transaction: Transaction) -> None:
        await _move(transaction, tea, bob, seq)
        nursery.start_soon(change)
        while not await pool.fetch(_LOCKED):  # noqa: ASYNC110 - PostgreSQL tells nobody
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        await pool.transact(move)
    left = {"edit": (1, 3), "delete": (1, 2), "erase": (1, 1)}[how][seq == 0]
    assert (await counted(store, tea, bob)).mention_count == left


_LOCKED = """
    SELECT FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
