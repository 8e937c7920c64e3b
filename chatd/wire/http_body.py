"""Request bodies: bytes behind a head in, pieces of the body out, the next request left alone.

Stricter than RFC 9112 7.1 allows: no trailers, no blanks in a chunk's line, short extensions, and
no more framing than payload once a sender had some for free. Each limit stands on one line.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from chatd.errors import PayloadTooLarge
from chatd.wire.http_refusals import BadRequest

MAX_EXTENSION_BYTES = 256  # nobody sends any; h11 takes 16 KiB of them
MAX_LINE_BYTES = 16 + 1 + MAX_EXTENSION_BYTES + 2
# One-byte chunks cost the server 1 µs and the sender 6 bytes: 3,000 are free, then a chunk pays.
FREE_FRAMING_BYTES = 16_384

_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]{0,%d})?\r\n" % MAX_EXTENSION_BYTES
)
_State = Literal["line", "data", "data_end", "last_line"]


class BodyReader:
    """The body of one request: `feed` it the connection's buffer until it is complete.

    Args:
        length: the declared length, None for a chunked body.
        limit: bytes of payload it may have.

    Raises:
        PayloadTooLarge: more is declared than the limit; nothing need be read to know.
    """

    __slots__ = ("_framing", "_left", "_limit", "_state", "is_complete", "received")

    def __init__(self, length: int | None, limit: int) -> None:
        if length is not None and length > limit:
            raise PayloadTooLarge
        self.received = 0
        self.is_complete = length == 0
        self._limit = limit
        self._left = length or 0  # of the body, or of the chunk
        self._state: _State | None = "line" if length is None else None
        self._framing = 0

    def feed(self, buffer: bytearray) -> bytes:
        """Take what belongs to the body from the front of `buffer`; b"" says: more is needed.

        Raises:
            PayloadTooLarge: a chunk begins that would pass the limit.
            BadRequest: this is not chunked coding.
        """
        if self._state is not None:
            return self._feed_chunks(buffer)
        piece = bytes(buffer[: self._left])
        del buffer[: self._left]
        self.skip(len(piece))
        return piece

    @property
    def declared_left(self) -> int:
        """How much of a body of declared length is missing; 0 for a chunked one."""
        return self._left if self._state is None else 0

    def skip(self, count: int) -> None:
        """Take note that so much of `declared_left` was read by somebody else."""
        self._left -= count
        self.received += count
        self.is_complete = self._left == 0

    def _feed_chunks(self, buffer: bytearray) -> bytes:
        pieces: list[bytes] = []
        position = 0
        while not self.is_complete:
            if self._state == "line":
                taken = self._begin_chunk(buffer, position)
            elif self._state == "data":
                piece = bytes(buffer[position : position + self._left])
                pieces.append(piece)
                taken = len(piece)
                self._left -= taken
                self.received += taken
                if self._left == 0:
                    self._state = "data_end"
            else:
                taken = self._end_line(buffer, position)
            if taken == 0:
                break
            position += taken
        del buffer[:position]  # once: a bytearray moves all that follows
        return b"".join(pieces)

    def _begin_chunk(self, buffer: bytearray, position: int) -> int:
        match = _CHUNK_LINE.match(buffer, position)
        if match is None:
            line_end = buffer.find(b"\n", position)
            if line_end != -1 or len(buffer) - position >= MAX_LINE_BYTES:
                msg = "malformed chunk"
                raise BadRequest(msg)
            return 0
        self._left = int(match[1], 16)
        if self.received + self._left > self._limit:
            raise PayloadTooLarge
        self._state = "data" if self._left else "last_line"
        taken = match.end() - position
        self._framing += taken + 2
        if self._framing > FREE_FRAMING_BYTES + self.received + self._left:
            msg = "more framing than payload"
            raise BadRequest(msg)
        return taken

    def _end_line(self, buffer: bytearray, position: int) -> int:
        ending = buffer[position : position + 2]
        if not b"\r\n".startswith(ending):
            msg = "malformed end of a chunk, or a trailer"
            raise BadRequest(msg)
        if len(ending) < 2:  # noqa: PLR2004 - CR LF
            return 0
        self.is_complete = self._state == "last_line"
        self._state = "line"
        return 2
