"""`session:heartbeat`: how far every joined session was sent on a socket.

A client that has seen less has lost something on its way and joins again with `since`. The server
has not: what it sends in order arrives in order; this is for what lies behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.model import dumps
from chatd.nurseries.seat import Seat

INTERVAL = 30.0  # seconds between two of one socket
PIECE = 100  # sockets told at once: a millisecond; the pieces are spread over the interval


class Positions:
    """Tells positions; made by `open_positions`.

    Args:
        sockets: returns all live sockets.
        occupied: waits until one of them has joined a session.
    """

    def __init__(
        self,
        sockets: Callable[[], Iterable[Socket]],
        occupied: Callable[[], Awaitable[None]],
    ) -> None:
        self._sockets = sockets
        self._occupied = occupied
        self._told: dict[str, int] = {}  # socket id -> digest

    async def run(self) -> None:
        """Tell until cancelled."""
        pieces = 1
        while True:
            await self._occupied()
            await trio.sleep(INTERVAL / pieces)
            joined = [socket for socket in self._sockets() if socket.places]
            starts = range(0, len(joined), PIECE)
            pieces = max(len(starts), 1)
            told: dict[str, int] = {}
            for start in starts:
                if start:
                    await trio.sleep(INTERVAL / pieces)
                for socket in joined[start : start + PIECE]:
                    self._tell(socket, told)
            self._told = told

    def _tell(self, socket: Socket, told: dict[str, int]) -> None:
        """Tell a socket, unless nothing has changed for it, or it has gone meanwhile."""
        positions = _positions(socket)
        if not positions:
            return
        # A number instead of the positions, of which there may be 500 a socket.
        told[socket.id] = digest = hash(frozenset(positions.items()))
        if self._told.get(socket.id) != digest:
            data = dumps({"positions": {str(k): v for k, v in positions.items()}})
            socket.push_ephemeral("session:heartbeat", data)


def _positions(socket: Socket) -> dict[UUID, int]:
    """Return up to where a socket was sent each session that it follows."""
    return {
        session_id: place.position
        for session_id, place in socket.places.items()
        if isinstance(place, Seat) and place.position is not None
    }


@asynccontextmanager
async def open_positions(
    sockets: Callable[[], Iterable[Socket]], occupied: Callable[[], Awaitable[None]]
) -> AsyncIterator[Positions]:
    """Tell for the length of the block."""
    async with trio.open_nursery() as nursery:
        positions = Positions(sockets, occupied)
        nursery.start_soon(positions.run)
        yield positions
        nursery.cancel_scope.cancel(reason="the daemon stops")
