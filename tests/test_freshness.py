"""What a replica must have replayed: marks that are dropped when it has, and not before."""

from __future__ import annotations

from math import inf
from uuid import UUID

import pytest

from chatd import freshness as freshness_module
from chatd.freshness import EVERYBODY, MAX_BATCHES, Freshness
from chatd.ids import uuid7

TEA, COFFEE = uuid7(), uuid7()
ANNA, BOB = uuid7(), uuid7()


@pytest.fixture
def freshness() -> Freshness:
    return Freshness()


def test_nothing_is_marked_at_first_and_nothing_is_known_of_the_replica(
    freshness: Freshness,
) -> None:
    assert freshness.head(TEA) == 0
    assert not freshness.is_writer(ANNA)
    assert freshness.lag(5.0) == inf


def test_the_head_of_a_session_is_the_highest_that_was_seen(freshness: Freshness) -> None:
    freshness.saw(TEA, 7)
    freshness.close(1.0)
    freshness.saw(TEA, 9)
    freshness.saw(TEA, 8)
    freshness.saw(COFFEE, 1)
    assert (freshness.head(TEA), freshness.head(COFFEE)) == (9, 1)
    assert freshness.is_marked(TEA)


def test_a_mark_is_dropped_when_the_position_after_it_is_replayed_and_not_before(
    freshness: Freshness,
) -> None:
    freshness.wrote(ANNA)
    freshness.saw(TEA, 7)
    freshness.close(1.0)
    freshness.covered(100)
    freshness.wrote(BOB)
    freshness.saw(COFFEE, 3)
    freshness.replayed(99)
    assert freshness.is_writer(ANNA)
    assert freshness.head(TEA) == 7
    freshness.replayed(100)
    assert not freshness.is_writer(ANNA)
    assert not freshness.is_marked(TEA)
    assert freshness.is_writer(BOB)  # the position was asked for before this
    assert freshness.is_marked(COFFEE)


def test_marks_whose_position_was_never_learnt_wait_for_the_next_one(freshness: Freshness) -> None:
    freshness.wrote(ANNA)
    freshness.close(1.0)  # and the primary did not answer
    freshness.wrote(BOB)
    freshness.replayed(10**9)
    assert freshness.is_writer(ANNA)
    freshness.close(2.0)
    freshness.covered(100)
    freshness.replayed(100)
    assert not freshness.is_writer(ANNA)
    assert not freshness.is_writer(BOB)


def test_the_lag_is_counted_from_what_the_primary_was_when_the_replica_shows_it(
    freshness: Freshness,
) -> None:
    for at, position in ((1.0, 100), (2.0, 200), (3.0, 300)):
        freshness.close(at)
        freshness.covered(position)
    freshness.replayed(250)
    assert freshness.lag(3.5) == 1.5
    assert freshness.lag(9.0) == 7.0
    freshness.replayed(300)
    assert freshness.lag(9.0) == 6.0


def test_after_a_failover_that_turned_the_log_back_marks_are_dropped_all_the_same(
    freshness: Freshness,
) -> None:
    freshness.wrote(ANNA)
    freshness.close(1.0)
    freshness.covered(1000)
    freshness.close(2.0)
    freshness.covered(500)  # another primary
    freshness.replayed(600)
    assert not freshness.is_writer(ANNA)
    assert freshness.lag(2.0) == 0


def test_a_replica_that_never_answers_costs_bounded_memory_and_no_mark(
    freshness: Freshness,
) -> None:
    for number in range(MAX_BATCHES * 2):
        freshness.saw(TEA, number + 1)
        freshness.saw(UUID(int=number), 1)
        freshness.wrote(ANNA if number == 0 else BOB)
        freshness.close(float(number))
        freshness.covered(number)
    assert len(freshness._closed) == MAX_BATCHES
    assert freshness.head(TEA) == MAX_BATCHES * 2
    assert all(freshness.is_marked(UUID(int=number)) for number in range(MAX_BATCHES * 2))
    assert freshness.is_writer(ANNA)
    freshness.replayed(MAX_BATCHES * 2 - 2)  # not the last, and the last batch holds many
    assert freshness.is_marked(TEA)
    freshness.replayed(MAX_BATCHES * 2 - 1)
    assert not freshness.is_marked(TEA)


@pytest.mark.parametrize("kind", ["sessions", "users", "closed sessions"])
def test_more_marks_than_are_remembered_mark_everything_until_they_are_replayed(
    freshness: Freshness, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(freshness_module, "MAX_MARKS", 100)
    if kind == "closed sessions":
        for number in range(MAX_BATCHES):
            freshness.close(float(number))
    for _ in range(101):
        if kind == "users":
            freshness.wrote(uuid7())
        else:
            freshness.saw(uuid7(), 1)
        if kind == "closed sessions":
            freshness.close(99.0)
    assert len(freshness._open.heads) + len(freshness._open.writers) <= 100
    assert freshness.head(TEA) == inf
    assert freshness.is_writer(ANNA)
    freshness.close(100.0)
    freshness.covered(1)
    freshness.replayed(1)
    assert freshness.head(TEA) == 0
    assert not freshness.is_writer(ANNA)


def test_writers_are_taken_once_and_heard_elsewhere_without_being_passed_on(
    freshness: Freshness,
) -> None:
    other = Freshness()
    freshness.wrote(ANNA)
    freshness.wrote(ANNA)
    taken = freshness.take_writers()
    assert taken == [ANNA]
    assert freshness.take_writers() == []
    assert freshness.is_writer(ANNA)
    other.heard_writers(taken)
    assert other.is_writer(ANNA)
    assert other.take_writers() == []


def test_too_many_writers_are_everybody_for_the_other_daemons(
    freshness: Freshness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness_module, "MAX_MARKS", 10)
    for _ in range(11):
        freshness.wrote(uuid7())
    assert freshness.take_writers() == [EVERYBODY]
    other = Freshness()
    other.heard_writers([EVERYBODY])
    assert other.is_writer(ANNA)
    assert other.head(TEA) == inf
