"""A worker's end of what it and its supervisor say to each other: single bytes on a socket pair."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

READY = b"+"  # the worker accepts connections
READ_ONLY, WRITABLE = b"r", b"w"  # the disk of the embedded PostgreSQL is nearly full, or not


class SupervisorLink:
    """What a worker knows of its supervisor."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(channel))
        self._is_writable = True

    def is_writable(self) -> bool:
        """Return whether the database may be written, as the supervisor last said."""
        return self._is_writable

    def tell_ready(self, _port: int) -> None:
        """Tell that connections are accepted."""
        with suppress(OSError):  # it has ended, see `run`; and one byte always has room
            self._channel.send(READY)

    async def run(self) -> None:
        """Hear what the supervisor says, to its end.

        That end is no news: the kernel has sent us SIGTERM with it.
        """
        async with self._stream:
            with suppress(trio.BrokenResourceError):
                while data := await self._stream.receive_some(64):
                    self._is_writable = data[-1:] == WRITABLE
