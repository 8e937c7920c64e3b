"""WebSocket frames as cheap as Python can handle them (RFC 6455 section 5.2)."""

from __future__ import annotations

from collections.abc import Iterator

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NO_MASK = b"\0\0\0\0"  # a key of zeros leaves the payload as it is; the server cannot tell
MARK_WITHIN = 64  # bytes at the start of a payload that name its event


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a client's frame around a payload."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8)
    return head + NO_MASK + payload


class FrameCounter:
    """Counts a server's frames that carry a mark, and cuts out the few that do not.

    A delivery costs the length in its head and one scan of `MARK_WITHIN` bytes; its payload is
    never copied. `deliveries` and `delivered_bytes` are totals.
    """

    __slots__ = ("_mark", "_rest", "delivered_bytes", "deliveries")

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._rest = b""
        self.deliveries = 0
        self.delivered_bytes = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Count what is complete; return (opcode, payload) of frames that are not deliveries."""
        if self._rest:
            data = self._rest + data
        others: list[tuple[int, bytes]] = []
        mark, position = self._mark, 0
        for opcode, start, end in _frames(data):
            if opcode == TEXT and data.find(mark, start, min(end, start + MARK_WITHIN)) >= 0:
                self.deliveries += 1
                self.delivered_bytes += end - position
            else:
                others.append((opcode, data[start:end]))
            position = end
        self._rest = data[position:]
        return others


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, start and end of the payload of each complete frame."""
    position, size = 0, len(data)
    while size - position >= 2:
        length = data[position + 1]
        start = position + 2
        if length > 125:
            start += 2 if length == 126 else 8
            if start > size:
                return
            length = int.from_bytes(data[position + 2 : start])
        end = start + length
        if end > size:
            return
        yield data[position] & 0x0F, start, end
        position = end
