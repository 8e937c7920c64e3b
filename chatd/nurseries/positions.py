"""`session:heartbeat`: how far every joined session was sent on a socket.

A client that has seen less has lost something on its way and joins again with `since`. The server
has not: what it sends in order arrives in order; this is for what lies behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.model import dumps
from chatd.nurseries.seat import Seat

INTERVAL = 30.0  # seconds between two of one socket
SLICES = 3  # of the sockets, one after the other within the interval: never all at once
CHUNK = 100  # sockets between two checkpoints: a millisecond in which nobody else runs


class Positions:
    """Tells positions; made by `open_positions`.

    Args:
        sockets: returns all live sockets.
    """

    def __init__(self, sockets: Callable[[], Iterable[Socket]]) -> None:
        self._sockets = sockets
        self._told: list[dict[str, int]] = [{} for _ in range(SLICES)]  # socket id -> digest

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            for number in range(SLICES):
                await trio.sleep(INTERVAL / SLICES)
                await self._tell(number)

    async def _tell(self, number: int) -> None:
        """Tell the sockets of one slice, but those for which nothing has changed."""
        before, told = self._told[number], {}
        joined = [
            socket
            for socket in self._sockets()
            if socket.places and hash(socket.id) % SLICES == number
        ]
        for count, socket in enumerate(joined, 1):
            positions = _positions(socket)
            if positions:
                # A number instead of the positions, of which there may be 500 a socket.
                told[socket.id] = digest = hash(frozenset(positions.items()))
                if before.get(socket.id) != digest:
                    data = dumps({"positions": {str(k): v for k, v in positions.items()}})
                    socket.push_ephemeral("session:heartbeat", data)
            if count % CHUNK == 0:
                await trio.lowlevel.checkpoint()
        self._told[number] = told


def _positions(socket: Socket) -> dict[UUID, int]:
    """Return up to where a socket was sent each session that it follows."""
    return {
        session_id: place.position
        for session_id, place in socket.places.items()
        if isinstance(place, Seat) and place.position is not None
    }


@asynccontextmanager
async def open_positions(sockets: Callable[[], Iterable[Socket]]) -> AsyncIterator[Positions]:
    """Tell for the length of the block."""
    async with trio.open_nursery() as nursery:
        positions = Positions(sockets)
        nursery.start_soon(positions.run)
        yield positions
        nursery.cancel_scope.cancel(reason="the daemon stops")
