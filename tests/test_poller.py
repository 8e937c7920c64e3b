"""Who has sent something: readers are called while there is anything to read, and no longer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.nurseries.poller import AT_ONCE, STEP, Poller, open_poller


class Ear:
    """Reads a byte each time it is called, and writes down when."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.heard: list[bytes] = []
        self.times: list[float] = []
        self.silences: list[Ear] = []  # who is forgotten when this one is called

    def readable(self, now: float) -> None:
        self.heard.append(self.near.recv(1))
        self.times.append(now)
        for other in self.silences:
            self.poller.forget(other.near.fileno())
        self.silences.clear()


@contextmanager
def listening(poller: Poller, count: int) -> Iterator[list[Ear]]:
    """Have readers of as many sockets."""
    ears = [Ear(poller) for _ in range(count)]
    try:
        for ear in ears:
            poller.watch(ear.near.fileno(), ear)
        yield ears
    finally:
        for ear in ears:
            ear.near.close()
            ear.far.close()


async def test_a_reader_is_called_until_everything_is_read(autojump_clock: MockClock) -> None:
    async with open_poller() as poller:
        with listening(poller, 2) as (one, other):
            await trio.sleep(5)
            one.far.send(b"tea")
            await wait_all_tasks_blocked(0.01)
            assert one.heard == [b"t", b"e", b"a"]
            assert one.times == [5.0] * 3
            assert other.heard == []


async def test_the_end_of_a_peer_is_something_to_read(autojump_clock: MockClock) -> None:
    del autojump_clock
    async with open_poller() as poller:
        with listening(poller, 1) as (ear,):
            ear.far.close()
            with trio.move_on_after(1):
                while not ear.heard:
                    await trio.lowlevel.checkpoint()
            poller.forget(ear.near.fileno())
            assert set(ear.heard) == {b""}


async def test_who_is_forgotten_is_not_called_though_it_was_found_readable(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    async with open_poller() as poller:
        with listening(poller, 2) as (one, other):
            one.silences, other.silences = [other], [one]
            one.far.send(b"1")
            other.far.send(b"2")
            await wait_all_tasks_blocked(0.01)
            assert sorted([*one.heard, *other.heard]) in ([b"1"], [b"2"])


class Clock:
    """A time of day that passes by a step with each look at it."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def perf_counter(self) -> float:
        self.now += self.step
        return self.now


async def turns_of(crowd: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many of a crowd had been called at each turn of somebody else, to the last."""
    monkeypatch.setattr("chatd.nurseries.poller.time", clock)
    async with open_poller() as poller:
        with listening(poller, crowd) as ears:
            for ear in ears:
                ear.far.send(b"x")
            called = [0]
            while called[-1] < crowd:
                await trio.lowlevel.checkpoint()
                called.append(sum(len(ear.heard) for ear in ears))
            return called


async def test_what_has_come_is_read_in_one_pass_of_the_scheduler(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock
    called = await turns_of(5 * AT_ONCE + 1, Clock(STEP / 100), monkeypatch)
    assert set(called) == {0, 5 * AT_ONCE + 1}


async def test_a_crowd_that_takes_long_leaves_others_a_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock
    called = await turns_of(5 * AT_ONCE, Clock(STEP * 2), monkeypatch)
    steps = [after - before for before, after in pairwise(called)]
    assert max(steps) <= 2 * AT_ONCE  # last of one pass of the scheduler, first of the next
