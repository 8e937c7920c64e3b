"""Who has sent something: one epoll(7) for the sockets of all clients, and one task that asks it.

Trio arms a socket anew for every wait and wakes the task that waits: 6.4 µs a message. Here a
socket is registered once, and its reader is called: 1.4 µs when what has come is handled within
the call. Nothing is lost in between: a socket is reported for as long as there is anything to read.
"""

from __future__ import annotations

import select
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio

AT_ONCE = 64  # sockets of one look
STEP = 0.01  # seconds between two checkpoints, and one look more


class Reader(Protocol):
    """Who reads a socket."""

    def readable(self, now: float) -> None:
        """There are bytes, or the end; never waits, never raises.

        Called again and again until they are read, or the poller is told to `forget` the socket.
        `now` is on Trio's clock.
        """


class Poller:
    """Calls the readers of sockets; made by `open_poller`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._readers: dict[int, Reader] = {}

    def watch(self, descriptor: int, reader: Reader) -> None:
        """Call a reader from now on whenever there is something to read.

        Raises:
            OSError: the system has no room for it.
        """
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = reader

    def forget(self, descriptor: int) -> None:
        """Do not call its reader any more; ahead of the descriptor's close."""
        del self._readers[descriptor]
        self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Call readers until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            # By time, not by a count: when others make the scheduler's passes long, each pass has
            # all that has come meanwhile, and nobody's pong waits for the next.
            until = time.perf_counter() + STEP
            while self._look() == AT_ONCE and time.perf_counter() < until:
                continue

    def _look(self) -> int:
        """Call the readers of some sockets, and return of how many; the kernel takes turns."""
        now, found = trio.current_time(), self._epoll.poll(0, AT_ONCE)
        for descriptor, _ in found:
            reader = self._readers.get(descriptor)
            if reader is not None:  # else one that was called before it has closed this one
                reader.readable(now)
        return len(found)


@asynccontextmanager
async def open_poller() -> AsyncIterator[Poller]:
    """Run a poller for the length of the block."""
    with select.epoll() as epoll:
        async with trio.open_nursery() as nursery:
            poller = Poller(epoll)
            nursery.start_soon(poller.run)
            yield poller
            nursery.cancel_scope.cancel(reason="the daemon stops")
