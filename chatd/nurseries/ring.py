"""Writes to many sockets in one system call: io_uring(7), of Linux 6.1 and newer.

A delivery is a send(2), and a fifth of what it costs is the way into the kernel and back and what
CPython does around it: paid once for many members instead of once for each. All else is as with
send(2): when `Ring.send` returns the kernel has taken or refused every one of them, nothing is
under way, and nobody looks at the bytes any more. Where there is no io_uring (containers often
forbid it) or it is switched off, each member is written to by itself.

The structures are those of linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

ENTRIES = 512  # sockets of one call; a power of two
RESULTS = 2 * ENTRIES  # what the kernel makes of it
DATA_BYTES = 262_144  # of all parts of one call
FEW = 12  # sockets up to which as many calls cost less

_SETUP, _ENTER = 425, 426  # numbers of system calls, the same on every architecture
_OP_SEND = 26
_SUBMIT_ALL, _SINGLE_ISSUER, _DEFER_TASKRUN = 1 << 7, 1 << 12, 1 << 13
_GETEVENTS = 1
_AT_SQES = 0x10000000
_ENTRY_WORDS, _ENTRY_FD, _ENTRY_LENGTH = 16, 1, 6  # of an io_uring_sqe, in 32-bit words
_ENTRY_ADDRESS = 2  # in 64-bit words
_RESULT_WORDS, _RESULT_VALUE = 4, 2  # of an io_uring_cqe
_PASSING = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM})
_WORD = 4
_WRAP = 0xFFFFFFFF
_OFFSETS = "head tail mask entries flags dropped array reserved"
_RESULT_OFFSETS = "head tail mask entries overflow cqes flags reserved"
_PARAMS = "sq_entries cq_entries flags cpu idle features wq_fd reserved0 reserved1 reserved2"

Part = tuple[list[int], bytes]
"""Descriptors of sockets, and what each of them is sent."""

log = structlog.get_logger("chatd.ring")


class _Offsets(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_uint32) for name in _OFFSETS.split()), ("user", ctypes.c_uint64)]


class _ResultOffsets(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in _RESULT_OFFSETS.split()),
        ("user", ctypes.c_uint64),
    ]


class _Params(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in _PARAMS.split()),
        ("sq", _Offsets),
        ("cq", _ResultOffsets),
    ]


class _Entry(ctypes.Structure):
    """What the kernel is asked; descriptor, address and length change, the rest stays."""

    _fields_ = [
        ("opcode", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("priority", ctypes.c_uint16),
        ("fd", ctypes.c_int32),
        ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("length", ctypes.c_uint32),
        ("message_flags", ctypes.c_uint32),
        ("user_data", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 3),
    ]


class Ring:
    """Sends; made by `open_ring`, and used by the one thread that has made it."""

    def __init__(self) -> None:
        """Ask the kernel for one.

        Raises:
            OSError: it has none for us.
        """
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._call.argtypes = (ctypes.c_long,) * 7
        # Flags that 6.1 has, and with it all that is used here.
        params = _Params(flags=_SUBMIT_ALL | _SINGLE_ISSUER | _DEFER_TASKRUN)
        self._descriptor = self._checked(_SETUP, ENTRIES, ctypes.addressof(params), 0, 0, 0, 0)
        try:
            self._map(params)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._sequence = [*range(ENTRIES), *range(ENTRIES)]
        self._is_open = True

    def _map(self, params: _Params) -> None:
        """Map what is shared with the kernel, and write what never changes."""
        size = max(
            params.sq.array + params.sq_entries * _WORD,
            params.cq.cqes + params.cq_entries * _RESULT_WORDS * _WORD,
        )
        words = self._mapped(size, 0)
        self._words = words.cast("I")
        self._head, self._tail = params.sq.head // _WORD, params.sq.tail // _WORD
        self._done_head, self._done_tail = params.cq.head // _WORD, params.cq.tail // _WORD
        done = words[params.cq.cqes :][: RESULTS * _RESULT_WORDS * _WORD].cast("i")
        self._values, self._slots = done[_RESULT_VALUE::_RESULT_WORDS], done[::_RESULT_WORDS]
        first = params.sq.array // _WORD
        self._words[first : first + ENTRIES] = memoryview(array("I", range(ENTRIES)))

        entries = self._mapped(ENTRIES * ctypes.sizeof(_Entry), _AT_SQES)
        self._bytes = ctypes.create_string_buffer(DATA_BYTES)
        self._address, self._data = ctypes.addressof(self._bytes), memoryview(self._bytes).cast("B")
        for slot in range(ENTRIES):
            entry = _Entry(
                opcode=_OP_SEND,
                # Never waits, so that nothing is left under way; no signal for who has gone.
                message_flags=socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL,
                user_data=slot,
            )
            entries[slot * ctypes.sizeof(_Entry) :][: ctypes.sizeof(_Entry)] = bytes(entry)
        fields, wide = entries.cast("i"), entries.cast("Q")
        self._descriptors = fields[_ENTRY_FD::_ENTRY_WORDS]
        self._lengths = fields[_ENTRY_LENGTH::_ENTRY_WORDS]
        self._addresses = wide[_ENTRY_ADDRESS :: _ENTRY_WORDS // 2]

    def _mapped(self, size: int, offset: int) -> memoryview:
        """Return memory that is unmapped with the last view of it."""
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        return memoryview(mmap.mmap(self._descriptor, size, flags=flags, offset=offset))

    def _checked(self, *arguments: int) -> int:
        result: int = self._call(*arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def send(self, parts: Sequence[Part]) -> list[int] | None:
        """Send the bytes of each part to its non-blocking sockets; never waits.

        A socket may be in one part only; all have `ENTRIES` sockets and `DATA_BYTES` bytes at most.
        Return None when all was taken whole, else for each socket, part by part, what send(2)
        returns, or the negative errno. That is shorter when not all were asked: those behind are to
        be written to one by one.
        """
        if not self._is_open:
            return []
        descriptors, lengths, addresses, end = array("i"), array("i"), array("Q"), 0
        for some, data in parts:
            start, end = end, end + len(data)
            self._data[start:end] = data
            descriptors.fromlist(some)
            lengths += array("i", [len(data)]) * len(some)
            addresses += array("Q", [self._address + start]) * len(some)
        tail = self._words[self._tail]
        first = tail % ENTRIES
        _put(self._descriptors, first, descriptors)
        _put(self._lengths, first, lengths)
        _put(self._addresses, first, addresses)
        try:
            taken = self._submit(tail, len(descriptors))
            results = self._results(first, taken)
        except BaseException:
            self._is_open = False  # the next call would take these results for its own
            raise
        return None if results == lengths.tolist() else results

    def _submit(self, tail: int, count: int) -> int:
        """Let the kernel have as many entries as it takes, and return how many that are."""
        self._words[self._tail] = (tail + count) & _WRAP
        try:
            taken = self._checked(_ENTER, self._descriptor, count, count, _GETEVENTS, 0, 0)
        except OSError as trouble:
            if trouble.errno not in _PASSING:
                self._give_up(trouble)
            taken = (self._words[self._head] - tail) & _WRAP
        if taken < count:  # the others are not to go the next time
            self._words[self._tail] = self._words[self._head]
        return taken

    def _results(self, first: int, count: int) -> list[int]:
        """Return the results of `count` entries from slot `first` on."""
        head = self._words[self._done_head]
        ready = self._wait(head, count)
        values = _taken(self._values, head % RESULTS, ready)
        slots = _taken(self._slots, head % RESULTS, ready)
        self._words[self._done_head] = (head + ready) & _WRAP
        if slots != self._sequence[first : first + count]:
            of_slots = dict(zip(slots, values, strict=True))
            values = [of_slots.get((first + each) % ENTRIES, -errno.EIO) for each in range(count)]
        return values

    def _wait(self, head: int, count: int) -> int:
        """Return how many results there are: all, or the ring is not used any more.

        They have been there since the call: this is for a kernel that would think otherwise.
        """
        while (there := (self._words[self._done_tail] - head) & _WRAP) < count:
            try:
                self._checked(_ENTER, self._descriptor, 0, count, _GETEVENTS, 0, 0)
            except InterruptedError:
                continue
            except OSError as trouble:
                self._give_up(trouble)
                break
        ready: int = min(there, count)
        return ready

    def _give_up(self, trouble: OSError) -> None:
        log.warning("io_uring is lost", error=errno.errorcode.get(trouble.errno or 0, ""))
        self._is_open = False

    def close(self) -> None:
        """Give it back to the kernel; a second time does nothing."""
        self._is_open = False
        if self._descriptor < 0:
            return
        for view in (self._values, self._slots, self._words):
            view.release()
        for view in (self._descriptors, self._lengths, self._addresses):
            view.release()
        os.close(self._descriptor)
        self._descriptor = -1


def _put(view: memoryview, start: int, values: array[int]) -> None:
    """Write values into a ring from a slot on."""
    part, room = memoryview(values), len(view) - start
    view[start : start + len(part)] = part[:room]
    if len(part) > room:
        view[: len(part) - room] = part[room:]


def _taken(view: memoryview, start: int, count: int) -> list[int]:
    """Return `count` values of a ring from a slot on."""
    values: list[int] = view[start : start + count].tolist()
    if len(values) < count:
        values += view[: count - len(values)].tolist()
    return values


@contextmanager
def open_ring(*, is_wanted: bool = True) -> Iterator[Ring | None]:
    """Have a ring for the block; None where the kernel gives none, or one that does not work."""
    ring = _tried() if is_wanted else None
    try:
        yield ring
    finally:
        if ring is not None:
            ring.close()


def _tried() -> Ring | None:
    try:
        ring = Ring()
    except (OSError, AttributeError) as trouble:  # no Linux has no such names in `mmap`
        log.info("no io_uring", error=str(trouble))
        return None
    if _works(ring):
        return ring
    log.warning("io_uring does not work here")
    ring.close()
    return None


def _works(ring: Ring) -> bool:
    """Return whether a ring does what it should: each its own bytes, each its own result."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0)
        there.settimeout(0)
        for _ in range(2):  # in the first slots, and in others
            results = ring.send([([-1], b"lost"), ([here.fileno()], b"12"), ([-1], b"")])
            if results != [-errno.EBADF, 2, -errno.EBADF]:
                return False
        try:
            return there.recv(8) == b"1212"
        except BlockingIOError:
            return False
