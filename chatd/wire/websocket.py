"""Frames in, messages out: RFC 6455 by `websockets`' sans-I/O protocol, with our limits.

The library counts bytes; fragments are counted here, because 1.8 million empty ones cost memory
too. Compression is never negotiated.

Almost every client only ever sends whole messages, one in a frame, and pongs. Those are read here,
3 µs a message against 15; with the first frame that is anything else the library begins, and has
the connection from there on. Most connections never need its objects: 3 KiB each.
"""

from __future__ import annotations

import logging
from typing import cast

from websockets import frames
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.frames import CloseCode as WireCode
from websockets.protocol import Protocol, Side, State

from chatd.errors import CloseCode
from chatd.wire.frames import Binary, close_frame

_quiet = logging.getLogger("chatd.websocket")  # the library logs every close; we log them ourselves
_quiet.setLevel(logging.CRITICAL)
_unmask = frames.apply_mask  # type: ignore[attr-defined]  # in C where the library has it so

_TEXT, _BINARY, _PONG = 0x81, 0x82, 0x8A  # first bytes of frames that are final, without extensions
_MASKED = 0x80  # bit of the second byte; the others are the length, or where it stands
_IN_TWO = 126  # as a length: it stands in the next two bytes; 127, in the next eight
_KINDS = frozenset((_TEXT, _BINARY, _PONG))
_TEXT_KINDS = frozenset((_TEXT, _PONG))


class WebSocketEnd(Exception):
    """The WebSocket is over: the peer closed it, or sent what the protocol does not allow.

    Attributes:
        code: what to log and count.
        goodbye: bytes to send before closing: the echo of a close frame, or ours.
        messages: what was said ahead of the end in the same bytes.
    """

    def __init__(self, code: CloseCode, goodbye: bytes, messages: list[bytes | bytearray]) -> None:
        self.code = code
        self.goodbye = goodbye
        self.messages = messages
        super().__init__(code.reason)


class WebSocketReader:
    """The receiving half of one WebSocket connection of the server's side.

    Args:
        max_size: bytes of one message, all fragments together.
        max_fragments: fragments of one message.
        takes_binary: whether binary messages are taken, as `Binary`, or end the connection (1003).
    """

    __slots__ = (
        "_awaited",
        "_controls",
        "_fragments",
        "_is_binary",
        "_kinds",
        "_max_fragments",
        "_max_size",
        "_part",
        "_protocol",
        "_replies",
        "_takes_binary",
    )

    def __init__(self, *, max_size: int, max_fragments: int, takes_binary: bool = False) -> None:
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._takes_binary = takes_binary
        self._kinds = _KINDS if takes_binary else _TEXT_KINDS
        self._part: bytearray | None = None  # of a frame that is not whole yet
        self._awaited = 0  # bytes of it that are to come first
        self._protocol: Protocol | None = None  # from the first frame on that is not read here
        self._fragments: list[bytes | bytearray] | None = None
        self._is_binary = False  # what the fragments are of
        self._replies = b""
        self._controls = 0

    def allow(self, max_size: int) -> None:
        """Take messages up to this size from now on: who has logged in may say more."""
        self._max_size = max_size
        if self._protocol is not None:
            self._protocol.max_message_size = max_size

    def feed(self, data: bytes) -> list[bytes | bytearray]:
        """Take bytes of the peer and return the messages that they complete, in order.

        Raises:
            WebSocketEnd: nothing more can be read.
        """
        messages: list[bytes | bytearray] = []
        if self._protocol is None:
            if self._part is not None:
                self._part += data
                if len(self._part) < self._awaited:
                    return messages
                data, self._part = bytes(self._part), None
            rest = self._take_whole(data, messages)
            if rest is None:
                return messages
            self._protocol = Protocol(
                Side.SERVER, state=State.OPEN, max_size=self._max_size, logger=_quiet
            )
            data = rest
        self._take_any(self._protocol, data, messages)
        return messages

    def whole_text(self, data: bytes) -> bytes | bytearray | None:
        """Return the message if these bytes are one whole text frame, else None.

        The reader is as before, and `feed` would give the same.
        """
        size = len(data) - 6
        if size < 0 or data[0] != _TEXT or self._part is not None or self._protocol is not None:
            return None
        told = data[1] - _MASKED
        if told == _IN_TWO:
            size -= 2
            told = int.from_bytes(data[2:4], "big")
        elif told > _IN_TWO:
            return None
        if told != size or size > self._max_size:
            return None
        return _unmask(data[-size:], data[-size - 4 : -size]) if size else b""

    def _take_whole(self, data: bytes, messages: list[bytes | bytearray]) -> bytes | None:
        """Take whole messages and pongs; return what follows when it is something else."""
        at, end = 0, len(data)
        while end - at > 1:
            kind, size, start = data[at], data[at + 1] - _MASKED, at + 6
            if kind not in self._kinds or size < 0 or (kind == _PONG and size >= _IN_TWO):
                return data[at:]
            if size >= _IN_TWO:
                start += 2 if size == _IN_TWO else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start - 4], "big")
            if size > self._max_size:
                return data[at:]
            stop = start + size
            if end < stop:
                self._keep(data[at:], stop - at)
                return None
            if kind != _PONG:
                payload = _unmask(data[start:stop], data[start - 4 : start])
                messages.append(payload if kind == _TEXT else Binary(payload))
            else:
                self._controls += 1
            at = stop
        if at < end:
            self._keep(data[at:], 0)
        return None

    def _keep(self, part: bytes, awaited: int) -> None:
        """Hold the beginning of a frame; a peer that trickles costs no join for each byte."""
        self._part = bytearray(part)
        self._awaited = awaited

    def _take_any(self, protocol: Protocol, data: bytes, messages: list[bytes | bytearray]) -> None:
        protocol.receive_data(data)
        for frame in cast("list[Frame]", protocol.events_received()):
            opcode = frame.opcode
            if opcode is Opcode.TEXT and frame.fin:
                messages.append(cast("bytes", frame.data))
            elif opcode is Opcode.BINARY and not self._takes_binary:
                raise _refusal(CloseCode.UNSUPPORTED_DATA, messages)
            elif opcode is Opcode.BINARY and frame.fin:
                messages.append(Binary(frame.data))
            elif opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
                self._add_fragment(frame, messages)
            else:
                self._controls += 1
        writes = protocol.data_to_send()
        if writes:
            self._replies = b"".join(writes)
        if protocol.parser_exc is not None and protocol.close_rcvd is not None:
            # RFC 6455 5.4: a close may stand between fragments; `websockets` calls that an error.
            raise WebSocketEnd(CloseCode.NORMAL, _echo_of(protocol.close_rcvd), messages)
        if protocol.parser_exc is not None:
            raise _refusal(_code_of(protocol.parser_exc), messages)
        if protocol.close_rcvd is not None:
            raise WebSocketEnd(CloseCode.NORMAL, self.replies(), messages)

    def _add_fragment(self, frame: Frame, messages: list[bytes | bytearray]) -> None:
        if self._fragments is None:
            self._fragments = []
            self._is_binary = frame.opcode is Opcode.BINARY
        self._fragments.append(cast("bytes", frame.data))
        if len(self._fragments) > self._max_fragments:
            raise _refusal(CloseCode.TOO_BIG, messages)
        if frame.fin:
            message = b"".join(self._fragments)
            messages.append(Binary(message) if self._is_binary else message)
            self._fragments = None

    def replies(self) -> bytes:
        """Return the pongs that are due, once."""
        replies, self._replies = self._replies, b""
        return replies

    def controls(self) -> int:
        """Return how many pings and pongs have come since the last call."""
        controls, self._controls = self._controls, 0
        return controls


def _refusal(code: CloseCode, messages: list[bytes | bytearray]) -> WebSocketEnd:
    return WebSocketEnd(code, close_frame(code.code, code.reason), messages)


def _echo_of(close: Close) -> bytes:
    if close.code == WireCode.NO_STATUS_RCVD:
        return b"\x88\x00"  # RFC 6455 5.5.1: who sends no code gets none
    return close_frame(close.code, close.reason)


def _code_of(trouble: Exception) -> CloseCode:
    if isinstance(trouble, PayloadTooBig):
        return CloseCode.TOO_BIG
    if isinstance(trouble, UnicodeDecodeError):
        return CloseCode.INVALID_DATA
    if isinstance(trouble, ProtocolError):
        return CloseCode.PROTOCOL_ERROR
    return CloseCode.INTERNAL
