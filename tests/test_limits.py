"""Rate limits: a burst at once, then a steady rate, a key at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd import limits
from chatd.errors import RateLimited
from chatd.limits import LocalLimiter as Limiter
from chatd.limits import Meter, Rate, budget_of, rate_of


def passes(limiter: Limiter, rate: Rate, now: float, key: str = "anna") -> bool:
    try:
        limiter.check("user", (key,), rate, now)
    except RateLimited:
        return False
    return True


def test_a_burst_passes_at_once_and_one_more_does_not() -> None:
    limiter, rate = Limiter(is_on=True), Rate(5, 20)
    assert [passes(limiter, rate, 100.0) for _ in range(21)] == [True] * 20 + [False]


def test_after_the_burst_calls_pass_at_the_rate() -> None:
    limiter, rate = Limiter(is_on=True), Rate(2, 3)
    for _ in range(3):
        limiter.check("user", ("anna",), rate, 0.0)
    assert not passes(limiter, rate, 0.49)
    assert passes(limiter, rate, 0.5)
    assert not passes(limiter, rate, 0.99)
    assert passes(limiter, rate, 1.0)


def test_after_silence_there_is_a_whole_burst_again_and_no_more() -> None:
    limiter, rate = Limiter(is_on=True), Rate(1, 5)
    for _ in range(5):
        limiter.check("user", ("anna",), rate, 0.0)
    assert [passes(limiter, rate, 1000.0) for _ in range(6)] == [True] * 5 + [False]


def test_the_refusal_tells_when_the_same_call_passes() -> None:
    limiter, rate = Limiter(is_on=True), Rate(0.5, 1)
    limiter.check("user", ("anna",), rate, 10.0)
    with pytest.raises(RateLimited) as refusal:
        limiter.check("user", ("anna",), rate, 10.5)
    wait = refusal.value.retry_after or 0
    assert wait == pytest.approx(1.5)
    assert not passes(limiter, rate, 10.5 + wait - 0.001)
    assert passes(limiter, rate, 10.5 + wait)


def test_a_refused_call_costs_nothing() -> None:
    limiter, rate = Limiter(is_on=True), Rate(1, 1)
    limiter.check("user", ("anna",), rate, 0.0)
    for _ in range(100):
        assert not passes(limiter, rate, 0.5)
    assert passes(limiter, rate, 1.0)


def test_a_call_that_is_given_back_was_none() -> None:
    limiter, rate = Limiter(is_on=True), Rate(1 / 3600, 2)
    limiter.give_back("user", ("anna",), rate)  # nobody knows of it
    assert [passes(limiter, rate, 9.0) for _ in range(3)] == [True, True, False]
    limiter.give_back("user", ("anna",), rate)
    assert [passes(limiter, rate, 9.0) for _ in range(2)] == [True, False]


def test_keys_are_counted_alone() -> None:
    limiter, rate = Limiter(is_on=True), Rate(1, 1)
    assert passes(limiter, rate, 0.0, "anna")
    assert passes(limiter, rate, 0.0, "bert")
    assert not passes(limiter, rate, 0.0, "anna")


def test_a_limiter_that_is_off_refuses_nobody() -> None:
    limiter = Limiter(is_on=False)
    assert all(passes(limiter, Rate(1, 1), 0.0) for _ in range(100))


def test_the_keys_that_were_seen_last_are_the_ones_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 2)
    limiter, rate = Limiter(is_on=True), Rate(1, 1)
    for key in ("anna", "bert", "carol"):
        assert passes(limiter, rate, 0.0, key)
    assert not passes(limiter, rate, 0.0, "bert")
    assert not passes(limiter, rate, 0.0, "carol")
    assert passes(limiter, rate, 0.0, "anna")  # forgotten: it was the oldest


@given(
    st.lists(st.floats(0, 2), min_size=1, max_size=100),
    st.floats(0.1, 50),
    st.integers(1, 20),
)
def test_no_stretch_of_time_holds_more_calls_than_burst_and_rate_allow(
    pauses: list[float], per_second: float, burst: int
) -> None:
    limiter, rate, now = Limiter(is_on=True), Rate(per_second, burst), 0.0
    passed: list[float] = []
    for pause in pauses:
        now += pause
        if passes(limiter, rate, now):
            passed.append(now)
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            allowed = burst + (passed[last] - start) * per_second + 1e-6
            assert last - first + 1 <= allowed


def test_a_flood_in_one_table_makes_nothing_forgotten_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_KEYS", 2)
    limiter, rate = Limiter(is_on=True), Rate(1, 1)
    limiter.check("account", ("anna",), rate, 0.0)
    for number in range(100):
        limiter.check("address", (number,), rate, 0.0)
    with pytest.raises(RateLimited):
        limiter.check("account", ("anna",), rate, 0.0)


def test_the_debt_tells_what_is_left_of_the_burst() -> None:
    limiter, rate = Limiter(is_on=True), Rate(2, 4)
    left = [budget_of(rate, limiter.check("user", ("anna",), rate, 0.0)) for _ in range(4)]
    assert [each.remaining for each in left] == [3, 2, 1, 0]
    assert (left[0].limit, left[0].reset, left[-1].reset) == (4, 1, 2)
    later = budget_of(rate, limiter.check("user", ("anna",), rate, 1.0))
    assert later.remaining == 1


@given(st.floats(0.1, 50), st.integers(1, 20))
def test_what_the_budget_says_remains_passes_and_no_call_more(
    per_second: float, burst: int
) -> None:
    limiter, rate = Limiter(is_on=True), Rate(per_second, burst)
    remaining = budget_of(rate, limiter.check("user", ("anna",), rate, 5.0)).remaining
    assert [passes(limiter, rate, 5.0) for _ in range(remaining + 1)] == [True] * remaining + [
        False
    ]


def test_a_meter_counts_as_a_limiter_does() -> None:
    meter, limiter, rate = Meter(), Limiter(is_on=True), Rate(2, 3)
    for now in (1.0, 1.0, 1.1, 1.1, 1.6, 1.7, 9.0, 9.0, 9.0, 9.0):
        assert (meter.wait(rate, now) == 0) == passes(limiter, rate, now)


def test_a_rate_is_written_as_people_say_it() -> None:
    assert rate_of("10/s burst 50") == Rate(10, 50)
    assert rate_of("3/min burst 5") == Rate(3 / 60, 5)
    assert rate_of("3/h burst 5") == Rate(3 / 3600, 5)
    with pytest.raises(ValueError, match="often"):
        rate_of("often")


def test_a_meter_counts_several_calls_as_so_many() -> None:
    meter, rate = Meter(), Rate(per_second=10, burst=5)
    assert meter.wait(rate, 100.0, 3) == 0
    assert meter.wait(rate, 100.0, 3) == pytest.approx(0.1)
    assert meter.wait(rate, 100.0, 2) == 0
    assert meter.wait(rate, 100.0, 6) > 0
    assert meter.wait(rate, 200.0, 6) > 0, "more than a burst never passes"
