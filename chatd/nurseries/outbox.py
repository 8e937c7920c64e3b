"""The frames that wait for one client.

A push writes to the kernel at once, from whatever task has the bytes (7 µs against
54 with a writer task a member). Only what the kernel refuses is queued, and only then a writer
lives in the connection's nursery until the queue is empty. Streams without a file descriptor
(TLS, memory) always take the queue. A client that polls has no stream between its requests: its
outbox is *held* and its queue is taken by the next request.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable

import trio

from chatd.errors import CloseCode

_write = os.write
STREAM_BYTES = 65_536  # at once into a stream: what a slow link takes within write_timeout
MAX_IOV = 64  # buffers in one writev: fewer than any kernel's IOV_MAX, 64 frames a system call


class Outbox:
    """What one connection still has to send, in order, bounded; held until it is attached.

    Args:
        start_writer: called when bytes wait: run `drain` in the connection's nursery, or while the
            outbox is held let somebody `take` them.
        cut: called once when the client is too slow or gone.
        max_bytes, max_frames: full for a durable frame cuts with SLOW; from half full on,
            ephemeral frames are dropped.
        write_timeout: seconds for the kernel to take more.
    """

    __slots__ = (
        "_counts",
        "_cut",
        "_descriptor",
        "_frames",
        "_is_open",
        "_is_torn",
        "_latest",
        "_less",
        "_max_bytes",
        "_max_frames",
        "_queue",
        "_size",
        "_spare",
        "_start_writer",
        "_stream",
        "_write_timeout",
        "direct",
        "dropped",
    )

    def __init__(
        self,
        *,
        start_writer: Callable[[], None],
        cut: Callable[[CloseCode], None],
        max_bytes: int,
        max_frames: int,
        write_timeout: float,
    ) -> None:
        self._stream: trio.abc.SendStream | None = None
        self._descriptor = -1
        self.direct = -1  # the descriptor while nothing is queued: the kernel may be asked at once
        self._is_open = True
        self._start_writer = start_writer
        self._cut = cut
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._write_timeout = write_timeout
        self._is_torn = False  # a write of a stream was cancelled half way: nothing may follow
        # Lists, because an empty deque has 760 bytes and almost every queue is empty.
        self._queue: list[bytes | memoryview] = []
        self._counts: list[int] = []  # frames of each buffer of the queue
        self._latest: dict[Hashable, bytes] | None = None  # what waits and may be replaced
        self._frames = 0
        self._size = 0
        self._spare = 0  # bytes above the bound, for as long as an answer takes to leave
        self._less: trio.Event | None = None
        self.dropped = 0

    def attach(
        self,
        stream: trio.abc.SendStream,
        descriptor: int | None,
        convert: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """Send into a stream from now on, first what was held.

        Args:
            stream: where bytes go when `descriptor` is None.
            descriptor: a non-blocking socket's file descriptor, valid until `close()`.
            convert: turns what was held into what this stream carries; it counts as before, or an
                answer of many frames would fill the outbox.
        """
        self._stream = stream
        self._descriptor = -1 if descriptor is None else descriptor
        if self._queue and convert is not None:
            data = convert(b"".join(self._queue))
            self._queue[:], self._counts[:] = [data], [self._frames]
            self._size = len(data)
            self._spare = max(self._spare, self._size - self._max_bytes)
        self.direct = self._descriptor if self._is_open and not self._queue else -1
        if self._queue:
            self._start_writer()

    @property
    def is_held(self) -> bool:
        """Whether what waits is for somebody to `take`."""
        return self._stream is None

    def take(self) -> list[bytes | memoryview]:
        """Return all that waits, oldest first, and forget it."""
        queue = self._queue[:]
        self._forget(len(queue))
        return queue

    def push(self, data: bytes, frames: int = 1) -> None:
        """Send durable bytes of `frames` frames, now or as soon as the client takes them."""
        if self.direct >= 0:
            try:
                sent = _write(self.direct, data)
            except BlockingIOError:
                sent = -errno.EAGAIN
            except OSError:
                sent = -errno.EIO
            if sent < len(data):
                self.was_written(sent, data, frames)
        elif self._is_open:
            self._enqueue(data, frames)

    def was_written(self, result: int, data: bytes, frames: int = 1) -> None:
        """Go on behind a write of durable bytes to `direct`, whoever has made it.

        Args:
            result: bytes that the kernel took, or its negative errno.
        """
        if result < 0 and result != -errno.EAGAIN:
            self._fail(CloseCode.NORMAL)
        elif result < len(data):
            self._enqueue(memoryview(data)[result:] if result > 0 else data, frames)

    def push_answer(self, data: bytes) -> None:
        """Send what the client has asked for, however long: it leaves the outbox its bound.

        500 missed messages are up to 32 MB, and a client that is cut for them never comes back.
        So one answer may stand above the bound: before the next, the caller waits for `has_less`.
        """
        self._spare += len(data)
        self.push(data)
        self._spare = min(self._spare, self._size)

    @property
    def is_over(self) -> bool:
        """Whether an answer holds more than the bound: the next request waits for `has_less`."""
        return self._size > self._max_bytes

    async def has_less(self) -> None:
        """Wait while an answer holds more than the bound, at most until the client is cut."""
        while self._size > self._max_bytes:
            if self._less is None:
                self._less = trio.Event()
            await self._less.wait()

    def push_ephemeral(self, data: bytes) -> bool:
        """Send bytes that a slow client can do without; return whether they were taken."""
        if self._frames * 2 >= self._max_frames or self._size * 2 >= self._max_bytes:
            self.dropped += 1
            return False
        self.push(data)
        return True

    def push_latest(self, key: Hashable, data: bytes) -> bool:
        """Send ephemeral bytes in place of those of this key that wait; return whether taken."""
        if self._replace(key, data):
            return True
        if not self.push_ephemeral(data):
            return False
        if self._queue and self._queue[-1] is data:
            self._latest = self._latest or {}
            self._latest[key] = data
        return True

    def _replace(self, key: Hashable, data: bytes) -> bool:
        """Put bytes in the place of the earlier ones, if those wait whole and there is room."""
        earlier = None if self._latest is None else self._latest.get(key)
        if self._latest is None or earlier is None:
            return False
        if len(data) > len(earlier) and self._size * 2 >= self._max_bytes:
            return False
        start = MAX_IOV if self._is_torn else 0  # a stream is taking what stands before
        for index in range(start, len(self._queue)):
            if self._queue[index] is earlier:
                self._queue[index] = self._latest[key] = data
                self._size += len(data) - len(earlier)
                return True
        return False

    def _enqueue(self, data: bytes | memoryview, frames: int) -> None:
        self.direct = -1
        limit = self._max_bytes + self._spare
        if self._size + len(data) > limit or self._frames + frames > self._max_frames:
            self._fail(CloseCode.SLOW)
            return
        is_first = not self._queue
        self._queue.append(data)
        self._counts.append(frames)
        self._frames += frames
        self._size += len(data)
        if is_first:
            self._start_writer()

    def _fail(self, code: CloseCode) -> None:
        self.close()
        self._cut(code)

    async def drain(self) -> None:
        """Write until nothing waits; the connection's nursery runs this when asked to.

        Cuts the connection when the client takes nothing for `write_timeout`.
        """
        while self._queue and self._is_open:
            with trio.move_on_after(self._write_timeout) as write_scope:
                try:
                    await self._write_some()
                except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                    self._fail(CloseCode.NORMAL)
                    return
            if write_scope.cancelled_caught:
                self._fail(CloseCode.SLOW)
                return
        if self._is_open:
            self.direct = self._descriptor

    async def _write_some(self) -> None:
        if self._descriptor < 0:
            assert self._stream is not None  # noqa: S101 - nobody drains what is held
            # Cut before the first byte: nothing is torn, and the goodbye follows what waits.
            await trio.lowlevel.checkpoint_if_cancelled()
            piece = b"".join(self._queue[:MAX_IOV])[:STREAM_BYTES]
            self._is_torn = True
            await self._stream.send_all(piece)
            self._is_torn = False
            if self._is_open:  # not closed meanwhile, with all that waited
                self._advance(len(piece))
            return
        await trio.lowlevel.wait_writable(self._descriptor)
        try:
            sent = os.writev(self._descriptor, self._queue[:MAX_IOV])
        except BlockingIOError:
            return
        self._advance(sent)

    def _advance(self, sent: int) -> None:
        """Forget what has left; the first buffer may have left in part."""
        whole = 0
        while whole < len(self._queue) and sent >= len(self._queue[whole]):
            sent -= len(self._queue[whole])
            whole += 1
        self._forget(whole)
        if sent:
            self._queue[0] = memoryview(self._queue[0])[sent:]
            self._lighten(sent)

    def _forget(self, count: int) -> None:
        self._frames -= sum(self._counts[:count])
        self._lighten(sum(map(len, self._queue[:count])))
        del self._queue[:count], self._counts[:count]
        if not self._queue:
            self._latest = None

    def _lighten(self, sent: int) -> None:
        self._size -= sent
        self._spare = min(self._spare, self._size)
        if self._less is not None and self._size <= self._max_bytes:
            self._less.set()
            self._less = None

    def close(self) -> None:
        """Take no more and forget what waits; call before the descriptor is closed."""
        self._is_open, self.direct = False, -1
        self._queue.clear()
        self._counts.clear()
        self._latest = None
        self._frames = 0
        self._lighten(self._size)

    @property
    def is_open(self) -> bool:
        """Whether frames are still taken and can still leave."""
        return self._is_open and not self._is_torn

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._size
