from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.ids import uuid7
from chatd.rows import RecoveryRow
from chatd.store import pool as pool_module
from chatd.store import recovery
from chatd.store.pool import Pool, Transaction
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather, say, sign_up

# Those that wait for a lock of somebody else in this test's database.
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def state_of(
    user_id: UUID, name: str = "a", state: bytes = b"{}", expires_at: datetime = NOW + DAY
) -> RecoveryRow:
    """Return what a connection of a user needs to come back; `name` makes its pid."""
    return RecoveryRow(name.rjust(24, "_"), user_id, state, expires_at)


async def lock_waited_for(pool: Pool) -> None:
    """Return when a statement waits for a lock."""
    while await pool.fetch(WAITING) == [(0,)]:
        continue


async def test_a_state_comes_back_as_it_was_and_once(store: Store, people: People) -> None:
    row = state_of(people.alice, state=bytes(range(256)) * 40)
    await store.save_recoveries([row], NOW)
    assert await store.take_recovery(row.pid, row.user_id, NOW) == row
    assert await store.take_recovery(row.pid, row.user_id, NOW) is None


async def test_a_state_is_taken_by_its_own_pid_only(store: Store, people: People) -> None:
    mine, other = state_of(people.alice, "a"), state_of(people.alice, "b")
    await store.save_recoveries([mine], NOW)
    assert await store.take_recovery(other.pid, other.user_id, NOW) is None
    assert await store.take_recovery(mine.pid, mine.user_id, NOW) == mine


async def test_a_state_is_taken_by_its_own_user_only(store: Store, people: People) -> None:
    row = state_of(people.alice)
    await store.save_recoveries([row], NOW)
    assert await store.take_recovery(row.pid, people.bob, NOW) is None
    assert await store.take_recovery(row.pid, people.alice, NOW) == row


@pytest.mark.parametrize("pid", ["", "a\0b", "\ud800", "é" * 24, "x" * 100_000])
async def test_a_pid_that_was_never_given_finds_nothing(
    store: Store, people: People, pid: str
) -> None:
    assert await store.take_recovery(pid, people.alice, NOW) is None


async def test_of_many_that_take_at_once_one_gets_it(store: Store, people: People) -> None:
    for number in range(10):
        row = state_of(people.alice, str(number))
        await store.save_recoveries([row], NOW)
        taken: list[RecoveryRow | None] = []

        async def take(pid: str, into: list[RecoveryRow | None]) -> None:
            into.append(await store.take_recovery(pid, people.alice, NOW))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(take, row.pid, taken)
        assert [each for each in taken if each is not None] == [row]
        assert len(taken) == 4


async def test_a_state_is_there_until_it_expires_and_not_then(store: Store, people: People) -> None:
    rows = [state_of(people.alice, name, expires_at=NOW + DAY) for name in ("a", "b")]
    await store.save_recoveries(rows, NOW)
    assert await store.take_recovery(rows[0].pid, rows[0].user_id, NOW + DAY) is None
    assert await store.take_recovery(rows[0].pid, rows[0].user_id, NOW + DAY - SECOND) == rows[0]
    assert await store.take_recovery(rows[1].pid, rows[1].user_id, NOW + 2 * DAY) is None


async def test_a_save_deletes_what_has_expired_and_nothing_else(
    store: Store, people: People
) -> None:
    old = state_of(people.alice, "old", expires_at=NOW + DAY)
    young = state_of(people.alice, "young", expires_at=NOW + DAY + SECOND)
    late = state_of(people.bob, "late", expires_at=NOW)
    await store.save_recoveries([old, young], NOW)
    await store.save_recoveries([late], NOW + DAY)
    assert await store.take_recovery(old.pid, old.user_id, NOW) is None
    assert await store.take_recovery(late.pid, late.user_id, NOW - DAY) is None
    assert await store.take_recovery(young.pid, young.user_id, NOW) == young


async def test_an_expired_state_is_replaced_by_a_new_one(store: Store, people: People) -> None:
    old = state_of(people.alice, expires_at=NOW)
    await store.save_recoveries([old], NOW - DAY)
    new = state_of(people.alice, state=b"new")
    await store.save_recoveries([new], NOW)
    assert await store.take_recovery(new.pid, new.user_id, NOW) == new


async def test_a_pid_that_is_there_is_replaced(store: Store, people: People) -> None:
    await store.save_recoveries([state_of(people.alice, state=b"old")], NOW)
    new = state_of(people.bob, state=b"new", expires_at=NOW + 2 * DAY)
    await store.save_recoveries([new], NOW)
    assert await store.take_recovery(new.pid, new.user_id, NOW) == new
    assert await store.take_recovery(new.pid, new.user_id, NOW) is None


async def test_of_a_pid_given_twice_the_last_counts(store: Store, people: People) -> None:
    first, last = state_of(people.alice, state=b"1"), state_of(people.alice, state=b"2")
    await store.save_recoveries([first, last], NOW)
    assert await store.take_recovery(last.pid, last.user_id, NOW) == last


async def test_saving_nothing_is_fine(store: Store) -> None:
    await store.save_recoveries([], NOW)


async def test_twelve_hundred_are_saved_at_once(store: Store, people: People) -> None:
    everyone = [people.alice, people.bob, people.carol, people.dave]
    rows = [
        state_of(everyone[number % 4], str(number), b"%04d" % number * 1_000)
        for number in range(1_200)
    ]
    await store.save_recoveries(rows, NOW)
    for row in [*rows[::100], rows[-1]]:
        assert await store.take_recovery(row.pid, row.user_id, NOW) == row


async def test_who_is_gone_keeps_nobody_else_from_being_saved(store: Store, people: People) -> None:
    gone = state_of(NOBODY, "gone")
    rows = [state_of(people.alice, "a"), gone, state_of(people.bob, "b")]
    await store.save_recoveries(rows, NOW)
    assert [await store.take_recovery(row.pid, row.user_id, NOW) for row in rows] == [
        rows[0],
        None,
        rows[2],
    ]


async def test_the_states_of_a_deleted_user_go_with_the_user(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    rows = [state_of(alice, "a"), state_of(bob, "b")]
    await store.save_recoveries(rows, NOW)
    await pool.fetch("DELETE FROM users WHERE id = %(id)s", {"id": alice})
    found = [await store.take_recovery(row.pid, row.user_id, NOW) for row in rows]
    assert found == [None, rows[1]]


async def test_who_is_deleted_during_a_save_keeps_nobody_else_from_being_saved(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    rows = [state_of(alice, "a"), state_of(bob, "b")]
    is_deleted = trio.Event()

    async def delete(transaction: Transaction) -> None:
        await transaction.fetch("DELETE FROM users WHERE id = %(id)s", {"id": alice})
        is_deleted.set()
        await lock_waited_for(pool)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.transact, delete)
        await is_deleted.wait()
        await store.save_recoveries(rows, NOW)
    found = [await store.take_recovery(row.pid, row.user_id, NOW) for row in rows]
    assert found == [None, rows[1]]


@pytest.mark.parametrize("ending", ["commits", "fails"])
async def test_the_second_taker_waits_for_what_becomes_of_the_first(
    pool: Pool, ending: str
) -> None:
    store = PostgresStore(pool)
    row = state_of(await sign_up(store, "Alice"))
    await store.save_recoveries([row], NOW)
    is_taken = trio.Event()

    async def take(transaction: Transaction) -> None:
        assert await transaction.fetch("DELETE FROM socket_recoveries RETURNING pid")
        is_taken.set()
        await lock_waited_for(pool)
        if ending == "fails":
            raise RuntimeError

    async def first() -> None:
        try:
            await pool.transact(take)
        except RuntimeError:
            assert ending == "fails"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await is_taken.wait()
        found = await store.take_recovery(row.pid, row.user_id, NOW)
    assert found == (row if ending == "fails" else None)


async def test_two_nodes_that_save_the_same_pids_in_opposite_orders_do_not_deadlock(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "TRIES", 1)  # a deadlock is raised, not tried again
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    rows = [state_of(alice, str(number)) for number in range(300)]
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(store.save_recoveries, rows, NOW)
            nursery.start_soon(store.save_recoveries, rows[::-1], NOW)
    assert await pool.fetch("SELECT count(*) FROM socket_recoveries") == [(300,)]


def test_a_piece_has_a_bounded_number_of_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PIECE_ROWS", 3)
    monkeypatch.setattr(recovery, "PIECE_BYTES", 10)
    sizes = [1, 1, 1, 1, 9, 1, 50, 5, 5, 0]
    rows = [state_of(NOBODY, str(nth), b"x" * size) for nth, size in enumerate(sizes)]
    pieces = list(recovery._pieces(rows))
    assert [[len(row.state) for row in piece] for piece in pieces] == [
        [1, 1, 1],
        [1, 9],
        [1],
        [50],
        [5, 5, 0],
    ]
    assert [row for piece in pieces for row in piece] == rows


async def test_memberships_are_the_heads_of_the_sessions_a_user_is_in_now(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.bob, people.alice)
    left = await gather(store, people.alice, people.bob)
    square = await gather(store, people.bob, kind="PUBLIC")
    await gather(store, people.alice, name="not asked for")
    await say(store, tea, people.alice, "one", "two")
    await store.remove_member(left, people.alice, at=NOW)
    asked = [tea, cake, left, square, NOBODY, tea]
    assert await store.memberships(people.alice, asked) == {tea: 2, cake: 0}
    assert await store.memberships(people.alice, []) == {}
    assert await store.memberships(NOBODY, asked) == {}


async def test_who_came_back_to_a_session_is_a_member_again(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await store.remove_member(tea, people.bob, at=NOW)
    assert await store.memberships(people.bob, [tea]) == {}
    await store.add_member(tea, people.bob, role="MEMBER", at=NOW)
    assert await store.memberships(people.bob, [tea]) == {tea: 2}


async def test_a_user_in_many_sessions_is_told_of_all_that_were_asked_for(
    store: Store, people: People
) -> None:
    sessions = [await gather(store, people.alice, people.bob) for _ in range(60)]
    asked = [*sessions[:50], uuid7()]
    assert await store.memberships(people.bob, asked) == dict.fromkeys(sessions[:50], 0)
