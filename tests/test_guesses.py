"""Delays after wrong guesses, without a server; the clock is a number."""

from __future__ import annotations

import pytest

from chatd import guesses as module
from chatd.errors import RateLimited
from chatd.guesses import FORGET_AFTER, MAX_DELAY, SHARED_FREE, Guesses
from chatd.ids import uuid7

ANN = ("password", "ann@example.org")
HERE, THERE = "192.0.2.1", "192.0.2.2"
DEVICE = uuid7()
SOON = 0.001


class Attacker:
    """Guesses, and counts what was let through."""

    def __init__(self, guesses: Guesses) -> None:
        self.guesses = guesses
        self.now = 0.0

    def wait_of(self, address: str = HERE, *, device: bool = False) -> float:
        """Guess wrong; return the wait that was asked for, 0 when the guess was let through."""
        try:
            with self.guesses.begin(
                ANN, address=address, device=DEVICE if device else None, now=self.now
            ) as guess:
                guess.settle(self.now, fits=False)
        except RateLimited as refusal:
            return refusal.retry_after or -1
        return 0

    def succeed(self, address: str = HERE) -> None:
        with self.guesses.begin(ANN, address=address, device=None, now=self.now) as guess:
            guess.settle(self.now, fits=True)


@pytest.fixture
def attacker() -> Attacker:
    return Attacker(Guesses(is_on=True))


def test_the_delay_doubles_from_a_second_to_a_quarter_of_an_hour_and_no_further(
    attacker: Attacker,
) -> None:
    delays = []
    for _ in range(14):
        assert attacker.wait_of() == 0
        delay = attacker.wait_of()
        delays.append(delay)
        attacker.now += delay - SOON
        assert attacker.wait_of() == pytest.approx(SOON)  # not before
        attacker.now += SOON
    assert delays == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *[MAX_DELAY] * 4])


def test_a_refused_guess_makes_the_delay_no_longer(attacker: Attacker) -> None:
    attacker.wait_of()
    for _ in range(100):
        assert attacker.wait_of() == 1
    attacker.now = 1
    assert attacker.wait_of() == 0


def test_one_address_does_not_delay_another(attacker: Attacker) -> None:
    for _ in range(20):
        attacker.now += attacker.wait_of() or attacker.wait_of()
    assert attacker.wait_of() == 0
    assert attacker.wait_of() == MAX_DELAY
    assert attacker.wait_of(THERE) == 0


def test_many_addresses_are_delayed_together(attacker: Attacker) -> None:
    through = 0
    for number in range(1000):
        through += attacker.wait_of(f"198.51.100.{number}") == 0
    assert through == SHARED_FREE + 1
    for _ in range(30):  # each time from somewhere else, as soon as it is let through
        delay = attacker.wait_of("203.0.113.1")
        attacker.now += delay
        assert attacker.wait_of(f"203.0.113.{attacker.now}") == 0
    assert attacker.wait_of("203.0.113.1") == MAX_DELAY


def test_a_known_device_is_let_through_while_everybody_else_is_delayed_and_has_its_own_delay(
    attacker: Attacker,
) -> None:
    for number in range(50):
        attacker.wait_of(f"198.51.100.{number}")
    assert attacker.wait_of(THERE) > 0
    assert attacker.wait_of(THERE, device=True) == 0
    assert attacker.wait_of(THERE, device=True) == 1
    attacker.now += 1
    assert attacker.wait_of(HERE, device=True) == 0  # it is the device, wherever it is
    assert attacker.wait_of(THERE, device=True) == 2


def test_the_right_password_ends_the_delay(attacker: Attacker) -> None:
    for number in range(20):
        attacker.now += attacker.wait_of()
        attacker.now += attacker.wait_of(f"198.51.100.{number}")
    attacker.now += MAX_DELAY
    attacker.succeed()
    assert attacker.wait_of() == 0
    assert attacker.wait_of() == 1
    assert attacker.wait_of(THERE) == 0


def test_a_day_without_a_wrong_guess_is_a_fresh_start_and_less_is_not(attacker: Attacker) -> None:
    for _ in range(9):
        attacker.now += attacker.wait_of() or attacker.wait_of()
    last = attacker.now
    attacker.wait_of()
    attacker.now = last + FORGET_AFTER - SOON
    attacker.wait_of()
    assert attacker.wait_of() > 1
    attacker.now += FORGET_AFTER
    attacker.wait_of()
    assert attacker.wait_of() == 1


def test_many_at_once_do_not_take_the_place_of_one() -> None:
    guesses = Guesses(is_on=True)
    with guesses.begin(ANN, address=HERE, device=None, now=0) as first:
        first.settle(0, fits=False)
    with guesses.begin(ANN, address=HERE, device=None, now=1):
        with pytest.raises(RateLimited) as refused:
            guesses.begin(ANN, address=HERE, device=None, now=1)
        assert refused.value.retry_after == 2
    with guesses.begin(ANN, address=HERE, device=None, now=1):  # the one before was cancelled
        pass


def test_what_is_remembered_is_bounded_and_the_least_recent_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_TRAILS", 3)
    attacker = Attacker(Guesses(is_on=True))
    attacker.wait_of("a")
    attacker.wait_of("b")
    attacker.wait_of("c")
    assert attacker.wait_of("a") == 1  # used again: b is the oldest now
    attacker.now += 0.5
    with attacker.guesses.begin(("other",), address="d", device=None, now=0.5):
        pass
    assert attacker.wait_of("a") == 0.5
    assert attacker.wait_of("b") == 0


def test_nothing_is_delayed_where_rates_are_off() -> None:
    attacker = Attacker(Guesses(is_on=False))
    assert [attacker.wait_of() for _ in range(50)] == [0] * 50
