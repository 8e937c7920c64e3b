"""The socket under a stream, for what is written and read so often that Trio's own way shows."""

from __future__ import annotations

import socket

import trio


def plain_socket(stream: trio.abc.Stream) -> socket.socket | None:
    """Return the non-blocking socket under a TCP stream, for as long as the stream lives."""
    if not isinstance(stream, trio.SocketStream):
        return None
    plain: socket.socket = stream.socket._sock  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    return plain
