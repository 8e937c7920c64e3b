"""A network between two ends in memory: latency, loss, half-open connections; no task, no socket.

A chunk is what one `send_all` sends. It arrives `latency` seconds later, behind all that was sent
before it. Nothing is ever missing in between: TCP repeats what was lost, so that a lost chunk, and
all behind it, only comes later. What waits to be read is not bounded, as in Trio's own memory
streams: buffers that fill up need real sockets.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from random import Random

import trio

RETRANSMISSION_TIMEOUT = 0.2  # seconds until a lost chunk is sent again: Linux's TCP_RTO_MIN
RETRANSMISSION_LIMIT = 120.0  # seconds; the timeout doubles each time up to here (TCP_RTO_MAX)


@dataclass
class Link:
    """What the network does to the connections over it; one link may carry many.

    Args:
        loss: probability, below 1, that a chunk is lost each time it is sent.
        latency: seconds on Trio's clock from one end to the other, in each direction.
        half_open_at: a time on Trio's clock from which on nothing arrives in either direction,
            though both ends stay open; it may be set while connections live, and does not heal.
        seed: the n-th chunk of a direction of a connection has the same fate in every run.
    """

    loss: float = 0.0
    latency: float = 0.0
    half_open_at: float | None = None
    seed: int = 0
    _pipes: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.loss < 1:
            msg = f"loss is a probability below 1, not {self.loss}"
            raise ValueError(msg)
        if not 0 <= self.latency < math.inf:
            msg = f"latency is a number of seconds, not {self.latency}"
            raise ValueError(msg)

    def passes_at(self, arrival: float) -> bool:
        """Return whether something may arrive at this time on Trio's clock."""
        return self.half_open_at is None or arrival < self.half_open_at

    def dice(self) -> Random:
        """Return the chances of the next direction of a connection."""
        self._pipes += 1
        return Random(f"{self.seed} {self._pipes}")  # noqa: S311 - a test repeats

    def delay(self, dice: Random) -> float:
        """Return how long the next chunk is under way, retransmissions included."""
        delay, timeout = self.latency, RETRANSMISSION_TIMEOUT
        while dice.random() < self.loss:
            delay += timeout
            timeout = min(2 * timeout, RETRANSMISSION_LIMIT)
        return delay


class Pipe:
    """One direction of a connection: chunks with the time of their arrival, the end included."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._dice = link.dice()
        self._chunks: deque[tuple[float, bytes]] = deque()  # b"" is the end
        self._last_arrival = -math.inf
        self._is_ended = False
        self._closed_arrival = math.inf  # when it is known that nobody reads the other direction
        self._changed = trio.Event()

    def put(self, data: bytes) -> None:
        """Send a chunk, or b"" for the end; never waits."""
        arrival = trio.current_time() + self._link.delay(self._dice)
        self._last_arrival = max(self._last_arrival, arrival)  # TCP keeps the order
        self._chunks.append((self._last_arrival, data))
        self.wake()

    def close(self) -> None:
        """Send the end, and that nothing more is read."""
        self.put(b"")
        self._closed_arrival = self._last_arrival

    def wake(self) -> None:
        """Let who reads look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait(self) -> None:
        """Wait until something may be here, or until woken."""
        changed = self._changed
        due = self._chunks[0][0] if self._chunks else math.inf
        if not self._link.passes_at(due):
            due = math.inf  # it never comes
        with trio.move_on_at(due):
            await changed.wait()

    def take(self, max_bytes: int | None) -> bytes | None:
        """Return what has arrived: bytes, b"" at the end, or None for nothing."""
        if self._is_ended:
            return b""
        received = bytearray()
        while self._has_arrived():
            arrival, chunk = self._chunks[0]
            if not chunk:
                self._is_ended = not received
                break
            room = len(chunk) if max_bytes is None else max_bytes - len(received)
            if room <= 0:
                break
            received += chunk[:room]
            self._chunks.popleft()
            if chunk[room:]:
                self._chunks.appendleft((arrival, chunk[room:]))
        return bytes(received) if received or self._is_ended else None

    def is_over(self) -> bool:
        """Return whether it is known at this end that the other has closed."""
        arrival = self._closed_arrival
        return arrival <= trio.current_time() and self._link.passes_at(arrival)

    def _has_arrived(self) -> bool:
        if not self._chunks:
            return False
        arrival = self._chunks[0][0]
        return arrival <= trio.current_time() and self._link.passes_at(arrival)


class LinkStream(trio.abc.HalfCloseableStream):
    """One end of a connection over a link; like a socket with room it finishes what it begins."""

    def __init__(self, outgoing: Pipe, incoming: Pipe) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._is_ended = False  # nothing more is sent
        self._is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send a chunk; it is under way, or a cancelled call has sent nothing.

        Raises:
            trio.ClosedResourceError: this end has said that nothing follows.
            trio.BrokenResourceError: the other end has closed, and that is known here.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_ended or self._is_closed:
            raise trio.ClosedResourceError
        if self._incoming.is_over():
            raise trio.BrokenResourceError("the other end has closed")
        if data:
            self._outgoing.put(bytes(data))
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Send the end, behind what was sent; reading goes on."""
        await trio.lowlevel.checkpoint()
        if not self._is_ended:
            self._is_ended = True
            self._outgoing.put(b"")

    async def wait_send_all_might_not_block(self) -> None:
        """Return: there is always room."""
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and return them, b"" when the other end has closed.

        Raises:
            trio.ClosedResourceError: this end is closed, also while it waits.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._is_closed:
                raise trio.ClosedResourceError
            received = self._incoming.take(max_bytes)
            if received is not None:
                return received
            await self._incoming.wait()

    async def aclose(self) -> None:
        """Close this end; the other hears of it when the link lets it, behind what was sent."""
        if not self._is_closed:
            self._is_closed = True
            self._outgoing.close()
            self._incoming.wake()
        await trio.lowlevel.checkpoint()


def link_streams(link: Link | None = None) -> tuple[LinkStream, LinkStream]:
    """Return the two ends of a new connection; without a link everything arrives at once."""
    link = link or Link()
    there, back = Pipe(link), Pipe(link)
    return LinkStream(there, back), LinkStream(back, there)
