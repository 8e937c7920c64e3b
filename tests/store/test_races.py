"""Several nodes on one database: each has a pool of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from chatd.rows import Append, AppendRow, NewMessage
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import DAY, NOW, contents, gather, sign_up, words


@pytest.fixture
async def nodes(database_url: str, deadline: None) -> AsyncIterator[list[PostgresStore]]:
    async with open_pool(database_url, size=3) as one, open_pool(database_url, size=3) as other:
        yield [PostgresStore(one), PostgresStore(other)]


async def test_nodes_that_write_to_the_same_sessions_leave_no_hole_and_no_deadlock(
    nodes: list[PostgresStore],
) -> None:
    store = nodes[0]
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    sessions = [await gather(store, alice, bob) for _ in range(4)]
    results: list[AppendRow] = []

    async def write(node: PostgresStore, task: int) -> None:
        for number in range(15):
            batch = [
                words(session, (alice, bob)[task % 2], f"{task}.{number}")
                for session in sessions[:: 1 if task % 2 else -1]  # in opposite orders
            ]
            results.extend(await node.append_messages(batch))

    async with trio.open_nursery() as nursery:
        for task in range(3):
            for node in nodes:
                nursery.start_soon(write, node, task)
    assert {result.outcome for result in results} == {Append.STORED}
    for session in sessions:
        page = await store.history(session, alice, limit=200)
        assert page is not None
        assert [row.seq for row in page.messages] == list(range(1, 91))
        assert page.seq == 90


async def test_members_and_messages_take_turns_at_the_same_seq(nodes: list[PostgresStore]) -> None:
    store, other = nodes
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice)

    async def come_and_go() -> None:
        for _ in range(10):
            await other.add_member(tea, bob, role="MEMBER", at=NOW)
            await other.update_session(tea, name="Coffee")
            await other.remove_member(tea, bob, at=NOW + DAY)

    async def write() -> None:
        for _ in range(20):
            await store.append_messages([words(tea, alice), words(tea, bob)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_and_go)
        nursery.start_soon(write)
    page = await store.changes_since(tea, 0, 500)
    assert page.session is not None
    taken = [row.changed_seq for row in page.messages]
    assert len(taken) == len(set(taken)) >= 20
    # Thirty changes of members and name, and one for each message: nothing took a seq in vain.
    assert page.seq == len(taken) + 30


@pytest.mark.parametrize("sessions", ["the same", "two"])
async def test_a_message_sent_to_two_nodes_at_once_is_stored_once(
    nodes: list[PostgresStore], sessions: str
) -> None:
    store = nodes[0]
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    cake = tea if sessions == "the same" else await gather(store, alice)
    for number in range(20):
        results: list[AppendRow] = []

        async def send(node: PostgresStore, message: NewMessage, into: list[AppendRow]) -> None:
            into.extend(await node.append_messages([message]))

        async with trio.open_nursery() as nursery:
            for node, session in zip(nodes, (tea, cake), strict=True):
                message = words(session, alice, "once", key=f"k{number}")
                nursery.start_soon(send, node, message, results)
        assert {result.outcome for result in results} == {Append.STORED, Append.DUPLICATE}
        assert results[0].row == results[1].row
    heads = await store.heads([tea, cake])
    assert sum(heads.values()) == 20


async def test_a_reader_by_changed_seq_never_misses_a_message(nodes: list[PostgresStore]) -> None:
    store, other = nodes
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    seen: list[str] = []

    async def write(task: int) -> None:
        for number in range(30):
            await store.append_messages([words(tea, alice, f"{task}.{number}")])

    async def read() -> None:
        cursor = 0
        while cursor < 90:
            page = await other.changes_since(tea, cursor, 7)
            seen.extend(contents(page.messages))
            cursor = page.seq

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for task in range(3):
            nursery.start_soon(write, task)
    assert len(seen) == len(set(seen)) == 90


async def test_the_marker_of_two_devices_ends_at_the_furthest(nodes: list[PostgresStore]) -> None:
    store, other = nodes
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    tea = await gather(store, alice, bob)
    await store.append_messages([words(tea, bob) for _ in range(40)])
    async with trio.open_nursery() as nursery:
        for seq in range(1, 41):
            node = store if seq % 2 else other
            nursery.start_soon(node.mark_read, tea, alice, seq)
    position = await store.mark_read(tea, alice, 0)
    assert position is not None
    assert (position.last_read_seq, position.unread_count) == (40, 0)
