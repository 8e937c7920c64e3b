"""Frames in, messages out: RFC 6455 by `websockets`' sans-I/O protocol, with our limits.

The library counts bytes; fragments are counted here, because 1.8 million empty ones cost memory
too. Compression is never negotiated.
"""

from __future__ import annotations

import logging
from typing import cast

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode
from websockets.frames import CloseCode as WireCode
from websockets.protocol import Protocol, Side, State

from chatd.errors import CloseCode
from chatd.wire.frames import Binary, close_frame

_quiet = logging.getLogger("chatd.websocket")  # the library logs every close; we log them ourselves
_quiet.setLevel(logging.CRITICAL)


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
        "_controls",
        "_fragments",
        "_is_binary",
        "_max_fragments",
        "_protocol",
        "_replies",
        "_takes_binary",
    )

    def __init__(self, *, max_size: int, max_fragments: int, takes_binary: bool = False) -> None:
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=max_size, logger=_quiet)
        self._max_fragments = max_fragments
        self._fragments: list[bytes | bytearray] | None = None
        self._is_binary = False  # what the fragments are of
        self._takes_binary = takes_binary
        self._replies = b""
        self._controls = 0

    def allow(self, max_size: int) -> None:
        """Take messages up to this size from now on: who has logged in may say more."""
        self._protocol.max_message_size = max_size

    def feed(self, data: bytes) -> list[bytes | bytearray]:
        """Take bytes of the peer and return the messages that they complete, in order.

        Raises:
            WebSocketEnd: nothing more can be read.
        """
        protocol = self._protocol
        protocol.receive_data(data)
        messages: list[bytes | bytearray] = []
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
        return messages

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
