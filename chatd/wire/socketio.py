"""Socket.IO protocol 5: what an Engine.IO MESSAGE carries, and binary data in several of them.

A packet is `<type>[<attachments>-][<namespace>,][<id>][JSON]`. Bytes in its JSON stand as
`{"_placeholder":true,"num":i}` and follow as so many binary messages, with nothing in between.
Input is held to the grammar and to what stock clients send; the parser of Node is laxer, and each
laxness there has had a CVE. https://github.com/socketio/socket.io-protocol
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NamedTuple

import orjson

from chatd.wire.engineio import MESSAGE, ParseError
from chatd.wire.frames import (
    OPTIONS,
    Binary,
    FrameError,
    dumps,
    dumps_javascript,
    loads_javascript,
)

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)
MAX_ATTACHMENTS = 10  # the stock client refuses more, too (CVE-2026-33151)
MAX_ID = 2**53 - 1  # the last whole number that JavaScript counts to
MAX_NAMESPACE = 256  # bytes
MAX_NAME = 256  # characters of an event's name
MAX_BYTES = 1_000_000  # of one packet's attachments; Node's maxHttpBufferSize is for each of them
# Events of the client's own emitter: a name that a stock client neither sends nor takes.
RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

# ASCII digits without leading zeros; a namespace without what separates packets and breaks logs.
_HEAD = re.compile(
    rb"([0-6])(?:(?<=[56])([1-9][0-9]?)-)?(?:(/[^,\x00-\x1f\x7f]*)(?:,|\Z))?(0|[1-9][0-9]{0,15})?"
)
_NAMESPACE = re.compile(r"/[^,\x00-\x1f\x7f]*")


class Packet(NamedTuple):
    """One packet. A binary one is an EVENT or an ACK with `Binary` in its data."""

    type: int
    namespace: str
    data: Any
    id: int | None
    is_binary: bool = False


class _Pending(NamedTuple):
    """A packet whose attachments are awaited, and where they go: container, key, number."""

    packet: Packet
    awaited: int
    slots: list[tuple[Any, Any, int]]
    attachments: list[Binary]


class Decoder:
    """The receiving half of one Socket.IO connection.

    Args:
        max_bytes: attachments of one packet, together.
    """

    __slots__ = ("_max_bytes", "_pending")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pending: _Pending | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether attachments are awaited: nothing else may come now."""
        return self._pending is not None

    def feed(self, data: bytes | Binary) -> Packet | None:
        """Take the data of one MESSAGE and return its packet, None while attachments are awaited.

        A placeholder may stand twice, as for Node: both get the same attachment.

        Raises:
            ParseError: the peer broke the protocol; the connection is to be closed.
        """
        if isinstance(data, Binary):
            return self._attach(data)
        if self._pending is not None:
            self._pending = None
            raise ParseError("text while attachments are awaited")
        packet, count = _decode(data)
        if not count:
            return packet
        self._pending = _Pending(packet, count, _slots(packet.data, count), [])
        return None

    def _attach(self, data: Binary) -> Packet | None:
        pending, self._pending = self._pending, None
        if pending is None:
            raise ParseError("a binary message that no packet announced")
        attachments = pending.attachments
        attachments.append(data)
        if sum(map(len, attachments)) > self._max_bytes:
            raise ParseError(f"attachments of more than {self._max_bytes} bytes")
        if len(attachments) < pending.awaited:
            self._pending = pending
            return None
        for container, key, num in pending.slots:
            container[key] = attachments[num]
        return pending.packet


def decode_event(text: bytes) -> Packet | None:
    """Return the packet of an event that announces no attachments, None of anything else.

    Raises:
        ParseError: it is not the protocol.
    """
    return _decode(text)[0] if text[:1] == b"2" else None


def _decode(text: bytes) -> tuple[Packet, int]:
    head = _HEAD.match(text)
    if head is None:
        raise ParseError("an unknown type of packet")
    type_, announced, raw_namespace, digits = head.groups()
    kind = type_[0] - 48  # the digit
    namespace = "/" if raw_namespace is None else _decode_namespace(raw_namespace)
    id_ = None if digits is None else int(digits)
    if id_ is not None and id_ > MAX_ID:
        raise ParseError(f"an id beyond {MAX_ID}")
    count = 0
    if kind in {BINARY_EVENT, BINARY_ACK}:
        count = int(announced or 0)
        if not 1 <= count <= MAX_ATTACHMENTS:
            raise ParseError(f"a binary packet has 1 to {MAX_ATTACHMENTS} attachments")
        kind -= BINARY_EVENT - EVENT
    end = head.end()
    has_data = end < len(text)
    data = _decode_json(text[end:]) if has_data else None
    if kind == EVENT:
        _check_event(data)
    else:
        _check_other(kind, id_, data, has_data=has_data)
    return Packet(kind, namespace, data, id_, count > 0), count


def _decode_namespace(raw: bytes) -> str:
    if len(raw) > MAX_NAMESPACE:
        raise ParseError(f"a namespace of more than {MAX_NAMESPACE} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ParseError("a namespace that is not UTF-8") from None


def _decode_json(raw: bytes) -> Any:
    try:
        return loads_javascript(raw)
    except FrameError as refusal:
        raise ParseError(str(refusal)) from None


def _check_event(data: Any) -> None:
    if not isinstance(data, list) or not data or not isinstance(data[0], str):
        raise ParseError("an event is an array that begins with its name")
    if trouble := _trouble_of(data[0]):
        raise ParseError(trouble)


def _trouble_of(name: str) -> str | None:
    if name in RESERVED:
        return "the name of the event is reserved"
    if len(name) > MAX_NAME:
        return f"a name of more than {MAX_NAME} characters"
    if not name.isascii():
        try:
            name.encode()  # logs and metrics take UTF-8 only
        except UnicodeEncodeError:
            return "a name with a lone surrogate"
    return None


def _check_other(kind: int, id_: int | None, data: Any, *, has_data: bool) -> None:
    if kind == ACK:
        is_fit = isinstance(data, list) and id_ is not None
    elif kind == CONNECT:
        is_fit = id_ is None and (isinstance(data, dict) or not has_data)
    else:  # CONNECT_ERROR is the server's to send
        is_fit = kind == DISCONNECT and id_ is None and not has_data
    if not is_fit:
        raise ParseError(f"not what a packet of type {kind} holds")


def _slots(data: list[Any], count: int) -> list[tuple[Any, Any, int]]:
    """Return where attachments go: known ahead of them, so a mismatch is refused at once."""
    slots: list[tuple[Any, Any, int]] = []
    containers: list[Any] = [data]
    for container in containers:  # grows while it is walked
        is_list = isinstance(container, list)
        for key, value in enumerate(container) if is_list else container.items():
            if isinstance(value, dict) and value.get("_placeholder") is True:
                num = value.get("num")
                if type(num) is not int or not 0 <= num < count:
                    raise ParseError("a placeholder without attachment")
                slots.append((container, key, num))
            elif isinstance(value, list | dict):
                containers.append(value)
    if len({num for _, _, num in slots}) != count:
        raise ParseError("an attachment without placeholder")
    return slots


def encode_event(name: str, data: bytes) -> bytes:
    """Return the packet of an event; `data` is JSON, the name one that needs no escapes."""
    return b'42["%b",%b]' % (name.encode(), data)


def encode_durable(name: str, data: bytes, offset: str) -> bytes:
    """Return the packet of an event that clients remember: they come back with its offset."""
    return b'42["%b",%b,"%b"]' % (name.encode(), data, offset.encode())


def encode_ack(id_: int, data: bytes) -> bytes:
    """Return the packet that answers a client's id; `data` is JSON."""
    return b"43%d[%b]" % (id_, data)


def encode(
    type_: int, namespace: str, data: Any = None, id_: int | None = None
) -> list[bytes | Binary]:
    """Return any packet and then its attachments: to be queued together, nothing in between.

    Bytes anywhere in the dicts, lists and tuples of an EVENT or an ACK become attachments.

    Args:
        data: None is no data, as of a DISCONNECT.

    Raises:
        ValueError: a stock client would not take it: NaN, too many attachments, a reserved name, a
            placeholder that is none, a namespace with a comma.
        TypeError: JSON has no such value.
    """
    if namespace != "/":
        _check_namespace(namespace)
    _check_outgoing(type_, data, id_)
    body, attachments = (b"", []) if data is None else _encode_json(data)
    head = b"%b%d" % (MESSAGE, type_)
    if attachments:
        _check_attachments(type_, body, len(attachments))
        head = b"%b%d%d-" % (MESSAGE, type_ + BINARY_EVENT - EVENT, len(attachments))
    if namespace != "/":
        head += namespace.encode() + b","
    if id_ is not None:
        head += b"%d" % id_
    return [head + body, *attachments]


def _check_namespace(namespace: str) -> None:
    if not _NAMESPACE.fullmatch(namespace) or len(namespace.encode()) > MAX_NAMESPACE:
        raise ValueError(f"no namespace: {namespace!r}")


def _check_outgoing(type_: int, data: Any, id_: int | None) -> None:
    trouble = None
    if type_ == EVENT:
        is_event = isinstance(data, list | tuple) and data and isinstance(data[0], str)
        trouble = _trouble_of(data[0]) if is_event else "an event is an array with a name"
    elif type_ == ACK:
        if not isinstance(data, list | tuple) or id_ is None:
            trouble = "an ack is an array and has an id"
    elif type_ not in {CONNECT, DISCONNECT, CONNECT_ERROR} or id_ is not None:
        trouble = "the type is unknown, or has no id; a binary one follows from the data"
    elif type_ == DISCONNECT and data is not None:
        trouble = "a goodbye has no data"
    if id_ is not None and not 0 <= id_ <= MAX_ID:
        trouble = f"an id is 0 to {MAX_ID}"
    if trouble:
        raise ValueError(trouble)


def _check_attachments(type_: int, body: bytes, count: int) -> None:
    if type_ not in {EVENT, ACK}:
        raise ValueError("only an event and an ack have attachments")
    if count > MAX_ATTACHMENTS:
        raise ValueError(f"{count} attachments, {MAX_ATTACHMENTS} are taken")
    if body.count(b'"_placeholder":true') != count:  # a key: in a text its quotes are escaped
        raise ValueError("a placeholder of the application's own beside attachments")


def _encode_json(data: Any) -> tuple[bytes, list[Binary]]:
    attachments: list[Binary] = []
    try:
        return dumps(data, partial(_replace, attachments)), attachments
    except orjson.JSONEncodeError:
        attachments = []  # some are in the other list already
        return dumps_javascript(data, partial(_replace, attachments)), attachments


def _replace(attachments: list[Binary], value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        return orjson.loads(orjson.dumps(value, option=OPTIONS))  # a UUID, a time; or a TypeError
    attachments.append(Binary(value))
    return {"_placeholder": True, "num": len(attachments) - 1}
