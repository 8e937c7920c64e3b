"""Engine.IO protocol 4: packets on a WebSocket and in polling bodies, and the screen of requests.

A packet is a digit and its data. On a WebSocket one message is one packet, and a binary message is
a MESSAGE without the digit. A polling body is packets joined by 0x1e, where a binary one is `b` and
base64. What waits for a poll is kept with 0x1e *ahead* of each packet, so that joined bytes are a
body behind one separator, and no recipient costs an encoding.
https://github.com/socketio/engine.io-protocol
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import orjson

from chatd.wire.frames import Binary, binary_frame, text_frame

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PROBE = b"probe"  # data of the PING and the PONG on a WebSocket that takes over from polling
MAX_PACKETS = 1000  # of one body; stock clients join what waits, hundreds are honest
PROTOCOL = "4"
TRANSPORTS = frozenset({"polling", "websocket"})

_KINDS = frozenset({OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP})
_BASE64 = b"b"
_SEPARATOR = b"\x1e"


class ParseError(Exception):
    """The peer broke Engine.IO or Socket.IO: its connection closes with "parse error"."""


class Packet(NamedTuple):
    """One packet; `data` is without the digit, and `Binary` only in a MESSAGE."""

    kind: bytes
    data: bytes | Binary


def decode_message(message: bytes | bytearray) -> Packet:
    """Return the packet that one WebSocket message carries.

    A text that starts with `b` is a binary message of a client that cannot send one (`b64=1`).

    Raises:
        ParseError: it carries none, or its text is not UTF-8.
    """
    if isinstance(message, Binary):
        return Packet(MESSAGE, message)
    text = bytes(message)
    _check_utf8(text)
    return _decode(text)


def decode_text(message: bytes | bytearray) -> bytes | None:
    """Return the data of a MESSAGE that a text of a WebSocket carries; None when it is another.

    Raises:
        ParseError: it is not UTF-8.
    """
    if message[:1] != MESSAGE:
        return None
    text = bytes(message)
    _check_utf8(text)
    return text[1:]


def decode_payload(body: bytes) -> list[Packet]:
    """Return the packets of one polling body, at least one and at most `MAX_PACKETS`.

    Raises:
        ParseError: any of it is no packet; then none of it counts.
    """
    _check_utf8(body)
    if body.count(_SEPARATOR) >= MAX_PACKETS:  # ahead of splitting: a megabyte may hold a million
        raise ParseError(f"more than {MAX_PACKETS} packets")
    return [_decode(packet) for packet in body.split(_SEPARATOR)]


def _check_utf8(text: bytes) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError:
        raise ParseError("the text is not UTF-8") from None


def _decode(text: bytes) -> Packet:
    kind = text[:1]
    if kind in _KINDS:
        return Packet(kind, text[1:])
    if kind != _BASE64:
        msg = "an unknown kind of packet" if kind else "an empty packet"
        raise ParseError(msg)
    try:
        data = Binary(binascii.a2b_base64(text[1:], strict_mode=True))
    except binascii.Error:
        raise ParseError("a binary message is not base64") from None
    if len(text) - 1 != (len(data) + 2) // 3 * 4:  # strict as it is, it takes `=` behind a whole
        raise ParseError("a binary message with too much padding")
    return Packet(MESSAGE, data)


framed = text_frame
"""Return a text packet, such as `4hello`, as the frame of a WebSocket."""


def queued(packet: bytes) -> bytes:
    """Return a text packet as it waits for a poll."""
    return _SEPARATOR + packet


def queued_binary(data: bytes) -> bytes:
    """Return a binary message as it waits for a poll: base64 without a digit."""
    return b"\x1eb" + binascii.b2a_base64(data, newline=False)


def to_queue(packets: Sequence[bytes]) -> bytes:
    """Return packets, text with its digit or `Binary`, as they wait for a poll."""
    return b"".join(
        [
            queued_binary(packet) if isinstance(packet, Binary) else queued(packet)
            for packet in packets
        ]
    )


def to_stream(packets: Sequence[bytes], *, b64: bool) -> bytes:
    """Return packets, text with its digit or `Binary`, as frames of a WebSocket."""
    if len(packets) == 1 and type(packets[0]) is bytes:
        return text_frame(packets[0])
    frames = []
    for packet in packets:
        if not isinstance(packet, Binary):
            frames.append(text_frame(packet))
        elif b64:  # as it would stand in a poll, without the separator
            frames.append(text_frame(queued_binary(packet)[1:]))
        else:
            frames.append(binary_frame(packet))
    return b"".join(frames)


def payload(queue: Sequence[bytes | memoryview]) -> bytes:
    """Return what waited for a poll as its body; of nothing it is empty, which no client takes."""
    return b"".join(queue)[1:]


def to_frames(queue_bytes: bytes, *, b64: bool) -> bytes:
    """Return what waited for a poll as frames of the WebSocket that took over.

    Args:
        queue_bytes: whole packets in the form of `queued` and `queued_binary`, joined.
        b64: the client cannot take binary frames; they stay base64 in text frames.
    """
    packets = queue_bytes.split(_SEPARATOR)[1:]
    return b"".join(
        binary_frame(binascii.a2b_base64(packet[1:]))
        if packet.startswith(_BASE64) and not b64
        else text_frame(packet)
        for packet in packets
    )


def handshake(
    sid: str,
    upgrades: Sequence[str],
    ping_interval: float,
    ping_timeout: float,
    max_payload: int,
) -> bytes:
    """Return the OPEN packet: seconds come in, the wire has milliseconds; keys in Node's order."""
    rest = _handshake_rest(tuple(upgrades), ping_interval, ping_timeout, max_payload)
    return b'%b{"sid":%b,%b' % (OPEN, orjson.dumps(sid), rest)


@lru_cache(maxsize=8)
def _handshake_rest(
    upgrades: tuple[str, ...], ping_interval: float, ping_timeout: float, max_payload: int
) -> bytes:
    """Return what all OPEN packets of a server have in common."""
    return orjson.dumps(
        {
            "upgrades": upgrades,
            "pingInterval": round(ping_interval * 1000),
            "pingTimeout": round(ping_timeout * 1000),
            "maxPayload": max_payload,
        }
    )[1:]


class Refusal(Enum):
    """Why a request is refused: the code and the words of Node's server, which clients show."""

    TRANSPORT_UNKNOWN = 0, 400, "Transport unknown"
    SESSION_UNKNOWN = 1, 400, "Session ID unknown"
    BAD_HANDSHAKE_METHOD = 2, 400, "Bad handshake method"
    BAD_REQUEST = 3, 400, "Bad request"
    FORBIDDEN = 4, 403, "Forbidden"
    UNSUPPORTED_VERSION = 5, 400, "Unsupported protocol version"

    def __init__(self, code: int, status: int, message: str) -> None:
        self.code = code
        self.status = status
        self.message = message


class EngineRefusal(Exception):
    """A request that gets no session, or not this one.

    Args:
        refusal: which of Node's refusals; its code and HTTP status.
        message: other words than Node's, as a hook that forbids may choose.
    """

    def __init__(self, refusal: Refusal, message: str | None = None) -> None:
        self.refusal = refusal
        self.code = refusal.code
        self.status = refusal.status
        self.message = message or refusal.message
        super().__init__(self.message)

    def body(self) -> bytes:
        """Return the JSON that answers over HTTP; a refused WebSocket gets the bare message."""
        return orjson.dumps({"code": self.code, "message": self.message})


class Handshake(NamedTuple):
    """A request that wants a new session."""

    transport: str
    b64: bool


class Existing(NamedTuple):
    """A request that names a session. Look up `sid` first, then `check`: the order of Node."""

    transport: str
    b64: bool
    sid: str
    method: str
    version: str | None
    is_upgrade: bool

    def check(self, current: str) -> None:
        """Hold the request against the transport that its session has now.

        An upgrade passes also when the session is on a WebSocket already: that one is the
        engine's to accept and close.

        Raises:
            EngineRefusal: it is not one that this session takes.
        """
        if self.version != PROTOCOL:
            raise EngineRefusal(Refusal.BAD_REQUEST)
        if self.is_upgrade:
            is_fit = self.transport == "websocket" and self.method == "GET"
        else:
            is_fit = self.transport == current == "polling" and self.method in {"GET", "POST"}
        if not is_fit:
            raise EngineRefusal(Refusal.BAD_REQUEST)


def screen(method: str, query: Mapping[str, str], *, is_upgrade: bool) -> Handshake | Existing:
    """Return what a request wants, after Node's checks that need no session, in Node's order.

    A WebSocket without `EIO` is refused here, ahead of the 101; Node says so behind it.

    Args:
        method: in capitals.
        query: its parameters; of a repeated one whichever the caller takes.
        is_upgrade: the request asks for a WebSocket.

    Raises:
        EngineRefusal: it wants nothing that there is.
    """
    transport = query.get("transport", "")
    if transport not in TRANSPORTS:
        raise EngineRefusal(Refusal.TRANSPORT_UNKNOWN)
    b64 = bool(query.get("b64"))
    sid = query.get("sid")
    if sid:
        return Existing(transport, b64, sid, method, query.get("EIO"), is_upgrade)
    if method != "GET":
        raise EngineRefusal(Refusal.BAD_HANDSHAKE_METHOD)
    if (transport == "websocket") != is_upgrade:
        raise EngineRefusal(Refusal.BAD_REQUEST)
    if query.get("EIO") != PROTOCOL:
        raise EngineRefusal(Refusal.UNSUPPORTED_VERSION)
    return Handshake(transport, b64)
