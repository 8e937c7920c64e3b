"""A raw connection: bytes go out exactly as given, WebSocket frames are read without judgement.

A client library would refuse to send what the tests have to send, and costs twenty times as much
for a reader of which fifty are needed.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 1.3
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
READ_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Frame:
    """What the server sent."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The close code; 1005 stands for a close frame without one."""
        assert self.opcode == CLOSE, self
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """Return one frame, as wrong as asked; the mask is zero, which masks nothing.

    Args:
        length: what the header declares, when that is not what follows; always as 64 bits.
    """
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit, mask = (0x80, bytes(4)) if masked else (0, b"")
    size = len(payload) if length is None else length
    if length is not None or size > 0xFFFF:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    elif size > 125:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | size))
    return head + mask + payload


def handshake(token: str | None = None, *headers: str, path: str = "/ws") -> bytes:
    """Return the head that asks for a WebSocket."""
    login = [] if token is None else [f"Authorization: Bearer {token}"]
    lines = [
        *(f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade"),
        *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY.decode()}"),
        *(*login, *headers, "", ""),
    ]
    return "\r\n".join(lines).encode("latin-1")


class Wire:
    """One TCP connection to the daemon."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()
        self._one_at_a_time = trio.Lock()  # who sends

    async def send(self, data: bytes) -> None:
        """Send bytes; raises `trio.BrokenResourceError` when the server has hung up."""
        async with self._one_at_a_time:
            await self.stream.send_all(data)

    async def _fill(self) -> bool:
        try:
            data = await self.stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:  # a reset: after a 1009 the rest was not read
            data = b""
        self._buffer += data
        return bool(data)

    async def status(self) -> int | None:
        """Read one response head and its body; return the status, None when there was none."""
        head = await self.head()
        if head is None:
            return None
        lines = head.split(b"\r\n")
        lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(self._buffer) < length and await self._fill():
            pass
        del self._buffer[:length]
        return int(lines[0].split(b" ")[1])

    async def head(self) -> bytes | None:
        """Read one response head; None when the connection ended before."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not await self._fill():
                return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    async def upgrade(self, token: str | None = None, *headers: str) -> None:
        """Ask for a WebSocket and get it."""
        await self.send(handshake(token, *headers))
        head = await self.head()
        assert head is not None
        assert head.startswith(b"HTTP/1.1 101 "), head

    async def frames(self) -> list[Frame] | None:
        """Wait for bytes and return the frames that they complete; None at the end."""
        while True:
            found = self._take_frames()
            if found:
                return found
            if not await self._fill():
                return None

    def _take_frames(self) -> list[Frame]:
        found, start, buffer = [], 0, self._buffer
        while len(buffer) >= start + 2:
            size, body = buffer[start + 1] & 0x7F, start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                if len(buffer) < body + width:
                    break
                size = int.from_bytes(buffer[body : body + width], "big")
                body += width
            if len(buffer) < body + size:
                break
            found.append(Frame(buffer[start] & 0x0F, bytes(buffer[body : body + size])))
            start = body + size
        if start:
            del buffer[:start]
        return found

    async def until_closed(self) -> tuple[list[Frame], int | None]:
        """Read to the end; return the frames before the close frame, and its code."""
        before: list[Frame] = []
        code = None
        while (found := await self.frames()) is not None:
            for one in found:
                if one.opcode == CLOSE:
                    code = one.code
                else:
                    before.append(one)
        return before, code


@asynccontextmanager
async def open_wire(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """Connect to the daemon for the length of the block, then drop the connection.

    Args:
        port: of the loopback address.
        receive_buffer: bytes that the kernel takes for a client which does not read.
    """
    ours = trio.socket.socket()
    with ours:
        if receive_buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await ours.connect(("127.0.0.1", port))
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = trio.SocketStream(ours)
        try:
            yield Wire(stream)
        finally:
            await trio.aclose_forcefully(stream)
