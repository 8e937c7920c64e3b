"""The bytes of one HTTP connection: a buffer in, deadlines on every wait, a polite end."""

from __future__ import annotations

import math
import os

import trio

from chatd.addresses import Proxies
from chatd.config import Settings
from chatd.errors import ChatError
from chatd.wire.edge import origin_in
from chatd.wire.http import RequestHead, check_partial, parse_head
from chatd.wire.http_refusals import RequestTimeout

SPACE_BYTES = 262_144  # of a large body: 60 µs in which nobody else runs
RECEIVE_BYTES = 65_536  # one read takes what a fast sender has in flight
WRITE_BYTES = 65_536  # one write deadline is for this much, or big answers need fast readers
# Behind a refusal: closing with unread bytes sends a reset, and a reset can overtake the answer.
LINGER_SECONDS = 0.5
LINGER_BYTES = 65_536
_HANDSHAKE = b"\r\nUpgrade: websocket\r\n"  # as clients write it; others are not mistaken for it


class PeerGone(ConnectionError):
    """The client is gone, or reads too slowly: nothing can be said to it any more."""


class HttpStream:
    """One connection while it speaks HTTP.

    Its owner reads within `scope`, which is cancelled when a silent client is let go: one scope
    with a deadline that moves costs 6 µs a request, a new one each time 13. `buffer` holds what
    came and was not used yet: the rest of a body, or pipelined requests.
    The first head's deadline counts from here on.
    """

    __slots__ = (
        "_first_deadline",
        "_is_idle",
        "_socket",
        "buffer",
        "connection_id",
        "has_asked",
        "is_draining",
        "is_ended",
        "peer",
        "proxies",
        "refused_origin",
        "scope",
        "settings",
        "stream",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        peer: str,
        connection_id: str,
        settings: Settings,
        proxies: Proxies | None = None,
    ) -> None:
        self.stream = stream
        self.proxies = proxies  # set when the peer is one of them
        # Only bare TCP can be written to past the stream: TLS has to see every byte.
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self.peer = peer
        self.connection_id = connection_id
        self.settings = settings
        self.buffer = bytearray()
        self.refused_origin: bytes | None = None  # of a head that is no request
        self.is_ended = False
        self.has_asked = False  # a whole head has come
        self.is_draining = False
        self._is_idle = False
        self.scope = trio.CancelScope()
        self._first_deadline: float | None = trio.current_time() + settings.head_timeout

    def drain(self) -> None:
        """Close now if nothing is asked, otherwise behind the answer that is under way."""
        self.is_draining = True
        if self._is_idle:
            self.scope.cancel()

    async def read_head(self) -> RequestHead | None:
        """Wait for the next request; None when none comes: silence, the client's end, a drain.

        Raises:
            ChatError: what came is refused.
            PeerGone: the client left within a head.
        """
        deadline, self._first_deadline = self._first_deadline, None
        settings = self.settings
        if deadline is not None and self.buffer:
            pass  # it came with the connection: no deadline is set for what has arrived
        elif not self.buffer:
            silence = deadline or trio.current_time() + settings.idle_timeout
            if self.is_draining:
                return None
            self._is_idle = True
            self.scope.deadline = silence
            if not await self.fill():
                return None
            self.scope.deadline = math.inf
            self._is_idle = False
        else:
            await trio.lowlevel.checkpoint()  # pipelined: others have their turn in between
        end = self.buffer.find(b"\r\n\r\n")
        if end == -1:
            end = await self._rest_of_head(deadline or trio.current_time() + settings.head_timeout)
        self.has_asked = True
        raw = bytes(self.buffer[: end + 2])
        del self.buffer[: end + 4]
        try:
            return parse_head(raw, settings.head_bytes)
        except ChatError:
            self.refused_origin = origin_in(raw)
            raise

    async def _rest_of_head(self, deadline: float) -> int:
        checked = 0
        # The deadline is for the whole head: one byte now and then does not move it.
        with trio.move_on_at(deadline):
            while True:
                check_partial(self.buffer, checked, self.settings.head_bytes)
                checked = len(self.buffer)
                if not await self.fill():
                    raise PeerGone
                end = self.buffer.find(b"\r\n\r\n", max(checked - 3, 0))
                if end != -1:
                    return end
        msg = "the request head did not arrive in time"
        raise RequestTimeout(msg)

    def begin(self) -> bool:
        """Read what came with the connection; return whether it is a handshake of a WebSocket.

        Then its answer, or its refusal, waits for no byte: `scope` has nothing to watch over.
        """
        if self._socket is None or self.is_draining:
            return False
        try:
            self.buffer += os.read(self._socket.fileno(), RECEIVE_BYTES)
        except OSError:  # nothing yet; a reset is met again by `fill`
            return False
        end = self.buffer.find(b"\r\n\r\n")
        return end != -1 and self.buffer.find(_HANDSHAKE, 0, end + 2) != -1

    async def fill(self) -> bool:
        """Wait for bytes and put them behind the buffer; False when the client has ended."""
        try:
            data = await self.stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:  # a reset or a failed TLS handshake ends it as well
            data = b""
        if not data:
            self.is_ended = True
            return False
        self.buffer += data
        return True

    async def fill_space(self, space: memoryview) -> int:
        """Wait for bytes and put them into `space`, past the buffer; 0 when the client has ended.

        The buffer is empty, or they would be out of order.
        """
        try:
            if isinstance(self.stream, trio.SocketStream):
                count = await self.stream.socket.recv_into(space[:SPACE_BYTES])
            else:
                data = await self.stream.receive_some(min(len(space), RECEIVE_BYTES))
                count = len(data)
                space[:count] = data
        except (trio.BrokenResourceError, OSError):  # as in `fill`
            count = 0
        self.is_ended = not count
        return count

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Hand bytes to the kernel; each 64 KiB has the write timeout.

        The last bytes of an answer go without a pass of the scheduler when the kernel takes them
        at once, 20 µs less: the next read is a checkpoint.

        Raises:
            PeerGone: the client is gone or did not read; the stream is broken.
        """
        if is_last and self._socket is not None:
            data = _write_now(self._socket, data)
            if not data:
                return
        if len(data) <= WRITE_BYTES:
            await self._write(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), WRITE_BYTES):
                await self._write(view[start : start + WRITE_BYTES])

    async def _write(self, data: bytes | memoryview) -> None:
        with trio.move_on_after(self.settings.write_timeout) as write_scope:
            try:
                await self.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as failure:
                raise PeerGone from failure
        if write_scope.cancelled_caught:
            msg = "the client reads too slowly"
            raise PeerGone(msg)

    async def linger(self) -> None:
        """End our side, then read and forget for a moment, so that the last answer arrives."""
        with trio.move_on_after(LINGER_SECONDS):
            try:
                if isinstance(self.stream, trio.abc.HalfCloseableStream):
                    await self.stream.send_eof()
                left = LINGER_BYTES
                while left > 0 and (data := await self.stream.receive_some(RECEIVE_BYTES)):
                    left -= len(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # reset by the client: nobody is there to read the answer


def _write_now(socket: trio.socket.SocketType, data: bytes) -> bytes:
    """Write what the kernel takes without waiting; return the rest."""
    try:
        sent = os.write(socket.fileno(), data)
    except BlockingIOError:
        return data
    except OSError as failure:
        raise PeerGone from failure
    return data[sent:]
