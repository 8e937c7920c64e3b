"""One call for a room: the same bytes, results and ends as one send(2) a member.

Where the kernel gives no io_uring the tests run with what stands for it there: one by one.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4

import pytest
import trio

from chatd.context import RoomEvent
from chatd.errors import CloseCode
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.piece import Piece
from chatd.nurseries.ring import DATA_BYTES, ENTRIES, FEW, Ring, open_ring
from chatd.nurseries.seat import Run, Trail

SESSION = uuid4()


class OneByOne:
    """What a ring stands for."""

    def send(self, descriptors: Sequence[int], data: bytes) -> list[int]:
        return [_result(descriptor, data) for descriptor in descriptors]


def _result(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except OSError as trouble:
        return -(trouble.errno or errno.EIO)


@pytest.fixture
def ring() -> Iterator[Ring | OneByOne]:
    with open_ring() as opened:
        yield opened or OneByOne()


class Line:
    """A pair of sockets, and what has come at the far end."""

    def __init__(self, stack: ExitStack) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            stack.enter_context(end)
            end.settimeout(0)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    @property
    def descriptor(self) -> int:
        return self.near.fileno()

    def read(self) -> bytes:
        data = b""
        while True:
            try:
                piece = self.far.recv(1 << 20)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def fill(self) -> None:
        """Leave no room in the kernel."""
        while True:
            try:
                self.near.send(b"." * 512)
            except BlockingIOError:
                return


@pytest.fixture
def lines() -> Iterator[Callable[[int], list[Line]]]:
    with ExitStack() as stack:
        yield lambda count: [Line(stack) for _ in range(count)]


# What is sent


def test_every_socket_gets_the_bytes_whatever_slot_it_has(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    chance = random.Random(1)  # noqa: S311 - a test repeats
    crowd = lines(300)
    for number in range(40):
        some = crowd[: chance.randint(1, len(crowd))]
        data = str(number).encode() * chance.randint(1, 20)
        assert ring.send([line.descriptor for line in some], data) == [len(data)] * len(some)
        assert {line.read() for line in some} == {data}
        assert not any(line.read() for line in crowd[len(some) :])


def test_more_sockets_than_slots(ring: Ring, lines: Callable[[int], list[Line]]) -> None:
    line = lines(1)[0]
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    count = 2 * ENTRIES + 3
    assert ring.send([line.descriptor] * count, b"x") == [1] * count
    assert line.read() == b"x" * count


def test_nobody_and_as_much_as_goes(ring: Ring, lines: Callable[[int], list[Line]]) -> None:
    assert ring.send([], b"x") == []
    line = lines(1)[0]
    line.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * DATA_BYTES)
    data = random.Random(1).randbytes(DATA_BYTES)  # noqa: S311 - a test repeats
    assert ring.send([line.descriptor], data) == [DATA_BYTES]
    assert line.read() == data


def test_what_a_result_says_is_what_has_arrived(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    chance = random.Random(2)  # noqa: S311 - a test repeats
    for _ in range(60):
        crowd = lines(chance.randint(1, 40))
        for line in crowd:
            match chance.randrange(4):
                case 0:
                    line.fill()
                case 1:
                    line.far.close()
        data = chance.randbytes(chance.choice([1, 500, 30_000]))
        results = ring.send([line.descriptor for line in crowd], data)
        assert len(results) == len(crowd)
        for line, result in zip(crowd, results, strict=True):
            if line.far.fileno() < 0:
                assert result == -errno.EPIPE
            elif result < 0:
                assert result == -errno.EAGAIN
                assert line.read().strip(b".") == b""
            else:
                assert result > 0
                assert line.read().lstrip(b".").endswith(data[:result])
        assert (
            len(data) < 30_000
            or any(0 < result < len(data) for result in results)
            or all(result < 0 for result in results)
        )


def test_a_descriptor_that_is_none_fails_alone(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    first, last = lines(2)
    assert ring.send([first.descriptor, 1 << 20, last.descriptor], b"abc") == [3, -errno.EBADF, 3]
    assert (first.read(), last.read()) == (b"abc", b"abc")


# Where there is none


def test_a_ring_that_the_kernel_refuses_asks_nobody(
    ring: Ring | OneByOne, lines: Callable[[int], list[Line]]
) -> None:
    """The kernel takes it from the thread only that has made it."""
    line = lines(1)[0]
    results: list[list[int]] = []
    other = threading.Thread(target=lambda: results.append(ring.send([line.descriptor], b"abc")))
    other.start()
    other.join()
    if isinstance(ring, Ring):
        assert results == [[]]
        assert ring.send([line.descriptor], b"abc") == []  # it is not tried again
        assert line.read() == b""
    else:
        assert line.read() == b"abc"


def test_no_ring_when_the_kernel_gives_none_or_nobody_wants_it() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with open_ring() as ring:
            assert ring is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    with open_ring(is_wanted=False) as ring:
        assert ring is None


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_of_a_ring() -> None:
    with open_ring():
        before = open_files()
    for _ in range(20):
        with open_ring():
            assert open_files() == before
    assert open_files() <= before


# A piece on its way to a room


class Wire:
    """Says which wire it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def event(self, name: str, data: bytes) -> bytes:
        raise NotImplementedError

    def durable(self, event: RoomEvent) -> bytes:
        return f"{self._name}{event.seq};".encode() * 40


class Member:
    """A receiver over a line of its own."""

    def __init__(self, line: Line, wire: Wire, nursery: trio.Nursery) -> None:
        self.line = line
        self.wire = wire
        self.trail: Trail | None = Trail()
        self.user_id = UUID(int=0)
        self.cuts: list[CloseCode] = []
        self.outbox = Outbox(
            start_writer=lambda: nursery.start_soon(self.outbox.drain),
            cut=self.cuts.append,
            max_bytes=2000,
            max_frames=1000,
            write_timeout=10.0,
        )
        stream = cast("trio.SocketStream", None)  # the descriptor is what is written to
        self.outbox.attach(stream, line.descriptor)

    def drop_place(self, session_id: UUID) -> None:
        raise NotImplementedError


@asynccontextmanager
async def open_crowd(names: str) -> AsyncIterator[list[Member]]:
    """Have one member a letter, which is its wire."""
    wires = {name: Wire(name) for name in names}
    with ExitStack() as stack, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            members = [Member(Line(stack), wires[name], nursery) for name in names]
            yield members
            for member in members:
                member.outbox.close()
            nursery.cancel_scope.cancel()


def piece(ring: Ring | None, *seqs: int) -> Piece:
    return Piece(SESSION, [RoomEvent(SESSION, seq, "message:new", b"") for seq in seqs], ring)


def told(name: str, *seqs: int) -> bytes:
    return b"".join(f"{name}{seq};".encode() * 40 for seq in seqs)


@pytest.fixture(params=["in one call", "one by one"])
def means(request: pytest.FixtureRequest, ring: Ring | OneByOne) -> Ring | None:
    return cast("Ring", ring) if request.param == "in one call" else None


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 30])
async def test_members_of_several_wires_get_each_their_own(means: Ring | None, count: int) -> None:
    async with open_crowd("ab" * count + "b" * count) as members:
        assert piece(means, 1, 2).give(members) == 6 * count
        assert piece(means, 3).give(members) == 3 * count
        for member in members:
            assert member.line.read() == told(str(member.wire._name), 1, 2, 3)
            assert member.trail == [Run(SESSION, 1, 2), Run(SESSION, 3, 3)]
            assert not member.cuts


async def test_who_is_slow_gone_or_closed_changes_nothing_for_the_others(
    means: Ring | None,
) -> None:
    async with open_crowd("a" * 20) as members:
        slow, gone, closed, *others = members
        slow.line.fill()
        gone.line.far.close()
        closed.outbox.close()
        for seq in range(1, 4):
            piece(means, seq).give(members)
        assert gone.cuts == [CloseCode.NORMAL]
        assert closed.line.read() == b""
        assert all(member.line.read() == told("a", 1, 2, 3) for member in others)
        assert slow.outbox.waiting_bytes
        heard = b""
        while not heard.endswith(told("a", 3)):
            heard += slow.line.read()
            await trio.lowlevel.checkpoint()
        assert heard.lstrip(b".") == told("a", 1, 2, 3)
        piece(means, 4).give(members)  # at once again
        assert slow.line.read() == told("a", 4)
        slow.line.fill()
        for seq in range(5, 25):
            piece(means, seq).give(members)
            for member in others:
                member.line.read()
        assert slow.cuts == [CloseCode.SLOW]
        assert not any(member.cuts for member in others)


async def test_a_piece_that_the_kernel_takes_in_part_goes_on_where_it_stopped(
    means: Ring | None,
) -> None:
    async with open_crowd("a" * 10) as members:
        seqs = range(1, 300)
        for member in members:
            member.outbox._max_bytes = 1 << 20
        assert len(told("a", *seqs)) < DATA_BYTES
        piece(means, *seqs).give(members)
        assert all(member.outbox.waiting_bytes for member in members)
        for member in members:
            heard = b""
            while len(heard) < len(told("a", *seqs)):
                heard += member.line.read()
                await trio.lowlevel.checkpoint()
            assert heard == told("a", *seqs)


async def test_a_piece_too_long_for_one_call(means: Ring | None) -> None:
    async with open_crowd("a" * 10) as members:
        for member in members:
            member.outbox._max_bytes = 1 << 20
        seqs = range(1, 500)
        assert len(told("a", *seqs)) > DATA_BYTES
        piece(means, *seqs).give(members)
        for member in members:
            heard = b""
            while len(heard) < len(told("a", *seqs)):
                heard += member.line.read()
                await trio.lowlevel.checkpoint()
            assert heard == told("a", *seqs)


async def test_a_ring_that_is_lost_is_done_without(means: Ring | None) -> None:
    async with open_crowd("a" * 20) as members:
        if isinstance(means, Ring):
            means.close()
        piece(means, 1).give(members)
        assert all(member.line.read() == told("a", 1) for member in members)
