"""One call for many sockets: the same bytes, results and ends as one send(2) each.

Where the kernel gives no io_uring the tests run with what stands for it there: one by one.
"""

from __future__ import annotations

import errno
import itertools
import random
import resource
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from chatd.nurseries.ring import DATA_BYTES, ENTRIES, Ring, open_ring
from tests.ring_kit import Line, OneByOne, ring_or_like


@pytest.fixture
def ring() -> Iterator[Ring | OneByOne]:
    with ring_or_like() as opened:
        yield opened


@pytest.fixture
def lines() -> Iterator[Callable[[int], list[Line]]]:
    with ExitStack() as stack:
        yield lambda count: [Line(stack) for _ in range(count)]


def send(ring: Ring | OneByOne, lines: Sequence[Line], data: bytes) -> list[int]:
    """Send the same to all, and return the results."""
    results = ring.send([([line.descriptor for line in lines], data)])
    return [len(data)] * len(lines) if results is None else results


# What is sent


def test_every_socket_gets_its_bytes_whatever_slot_it_has(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    chance = random.Random(1)  # noqa: S311 - a test repeats
    crowd = lines(300)
    for number in range(40):
        cuts = sorted(chance.choices(range(len(crowd) + 1), k=4))
        parts = [crowd[start:end] for start, end in itertools.pairwise(cuts)]
        words = [f"{number} {part}".encode() * chance.randint(1, 20) for part in range(len(parts))]
        asked = [[line.descriptor for line in part] for part in parts]
        results = ring.send(list(zip(asked, words, strict=True)))
        lengths = [len(word) for part, word in zip(parts, words, strict=True) for _ in part]
        assert results in (None, lengths)
        for part, word in zip(parts, words, strict=True):
            assert all(line.read() == word for line in part)
        assert not any(line.read() for line in crowd)


def test_nobody_and_as_much_as_goes(ring: Ring, lines: Callable[[int], list[Line]]) -> None:
    assert not ring.send([])
    assert not ring.send([([], b"x")])
    crowd = lines(ENTRIES)
    crowd[-1].near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * DATA_BYTES)
    data = random.Random(1).randbytes(DATA_BYTES)  # noqa: S311 - a test repeats
    assert send(ring, crowd[-1:], data) == [DATA_BYTES]
    assert crowd[-1].read() == data
    assert send(ring, crowd, b"x") == [1] * ENTRIES
    assert all(line.read() == b"x" for line in crowd)


def test_what_a_result_says_is_what_has_arrived(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    chance = random.Random(2)  # noqa: S311 - a test repeats
    seen = set()
    for _ in range(60):
        crowd = lines(chance.randint(1, 40))
        for line in crowd:
            match chance.randrange(4):
                case 0:
                    line.fill()
                case 1:
                    line.far.close()
        data = chance.randbytes(chance.choice([1, 500, 30_000]))
        results = send(ring, crowd, data)
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
                seen.add("whole" if result == len(data) else "in part")
    assert seen == {"whole", "in part"}


def test_a_descriptor_that_is_none_fails_alone(
    ring: Ring, lines: Callable[[int], list[Line]]
) -> None:
    first, last = lines(2)
    parts = [([first.descriptor, 1 << 20], b"abc"), ([last.descriptor], b"de")]
    assert ring.send(parts) == [3, -errno.EBADF, 2]
    assert (first.read(), last.read()) == (b"abc", b"de")


# Where there is none


def test_a_ring_that_the_kernel_refuses_asks_nobody(
    ring: Ring | OneByOne, lines: Callable[[int], list[Line]]
) -> None:
    """The kernel takes it from the thread only that has made it."""
    line = lines(1)[0]
    results: list[list[int]] = []
    other = threading.Thread(target=lambda: results.append(send(ring, [line], b"abc")))
    other.start()
    other.join()
    if isinstance(ring, Ring):
        assert results == [[]]
        assert send(ring, [line], b"abc") == []  # it is not tried again
        assert line.read() == b""
    else:
        assert line.read() == b"abc"


def test_a_kernel_that_has_no_room_just_now_is_asked_again(
    ring: Ring, lines: Callable[[int], list[Line]], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines(1)[0]
    if isinstance(ring, Ring):
        monkeypatch.setattr(ring, "_checked", _refuse)
        assert send(ring, [line], b"abc") == []
        monkeypatch.undo()
    assert send(ring, [line], b"de") == [2]
    assert line.read() == b"de"


def _refuse(*_arguments: int) -> int:
    raise BlockingIOError(errno.EAGAIN, "no room")


def test_results_that_nobody_took_are_not_taken_for_those_of_the_next_call(
    ring: Ring, lines: Callable[[int], list[Line]], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = lines(1)[0]
    if isinstance(ring, Ring):
        monkeypatch.setattr(ring, "_results", _fail)
        with pytest.raises(MemoryError):
            send(ring, [line], b"abc")
        monkeypatch.undo()
        line.far.close()
        assert send(ring, [line], b"de") == []


def _fail(*_arguments: int) -> list[int]:
    raise MemoryError


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
