"""Statements taken apart, and their plans on a connection."""

from __future__ import annotations

import pytest
import trio

from chatd.errors import StoreBug, StoreUnavailable
from chatd.store import driver
from chatd.store.pool import Pool, Transaction
from chatd.store.prepared import text_of

PLANS = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'chatd%%'"


def test_a_parameter_that_stands_twice_has_one_place_and_a_percent_sign_is_doubled() -> None:
    text = text_of("SELECT %(b)s, %(a)s::int, %(b)s LIKE '%%x' WHERE %(raw)b")
    assert text.sql == b"SELECT $1, $2::int, $1 LIKE '%x' WHERE $3"
    assert text.values({"a": 1, "b": 2, "raw": b"", "more": 4}) == [2, 1, b""]


async def test_a_statement_is_prepared_once_for_each_types_of_its_parameters(pool: Pool) -> None:
    async def work(transaction: Transaction) -> list[int]:
        counts = []
        for value in (1, 2, 70_000, None, "x", "y", 3):
            await transaction.fetch("SELECT %(value)s::text", {"value": value})
            [(count,)] = await transaction.fetch(PLANS)
            counts.append(count)
        return counts

    # A number of two bytes, one of four, and what PostgreSQL is left to find out: NULL, a text.
    assert await pool.transact(work) == [2, 2, 3, 4, 4, 4, 4]


async def test_plans_are_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "MAX_PLANS", 3)

    async def work(transaction: Transaction) -> list[tuple[int, int]]:
        story = []
        for value in (1, "x", None, 1, "x", None):
            [(told,)] = await transaction.fetch("SELECT %(value)s::text IS NULL", {"value": value})
            [(count,)] = await transaction.fetch(PLANS)
            story.append((told, count))
        return story

    story = await pool.transact(work)
    assert [told for told, _ in story] == [False, False, True] * 2
    assert max(count for _, count in story) == 3


async def test_a_statement_that_was_refused_or_cancelled_is_prepared_anew(pool: Pool) -> None:
    for _ in range(2):
        with pytest.raises(StoreBug):
            await pool.fetch("SELECT nothing")
    await pool.fetch("CREATE TABLE locked (value int)", writes=True)

    async def hold(transaction: Transaction) -> None:
        await transaction.fetch("LOCK TABLE locked")
        with trio.move_on_after(0.2):  # PREPARE waits for the lock, too
            await pool.fetch("SELECT value FROM locked")

    await pool.transact(hold)
    assert await pool.fetch("SELECT value FROM locked") == []
    await pool.fetch("DROP TABLE locked", writes=True)
    with pytest.raises((StoreBug, StoreUnavailable)):
        await pool.fetch("SELECT value FROM locked")
    assert await pool.fetch("SELECT 1") == [(1,)]
