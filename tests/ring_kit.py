"""What tests of the ring share: lines to send on, and what stands for a ring that is not there."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from chatd.nurseries.ring import Part, Ring, open_ring


class OneByOne:
    """What a ring stands for."""

    def send(self, parts: Sequence[Part]) -> list[int]:
        return [_result(each, data) for descriptors, data in parts for each in descriptors]


def _result(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except OSError as trouble:
        return -(trouble.errno or errno.EIO)


@contextmanager
def ring_or_like() -> Iterator[Ring | OneByOne]:
    """Have a ring for the block; where the kernel gives none, what sends one by one."""
    with open_ring() as opened:
        yield opened or OneByOne()


class Line:
    """A pair of sockets, and what has come at the far end."""

    def __init__(self, stack: ExitStack) -> None:
        self.near, self.far = socket.socketpair()
        for end in (self.near, self.far):
            stack.enter_context(end)
            end.settimeout(0)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    @property
    def descriptor(self) -> int:
        return self.near.fileno()

    def read(self) -> bytes:
        data = b""
        while True:
            try:
                piece = self.far.recv(1 << 20)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def fill(self) -> None:
        """Leave no room in the kernel."""
        while True:
            try:
                self.near.send(b"." * 512)
            except BlockingIOError:
                return
