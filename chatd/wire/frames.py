"""What every WebSocket wire shares: frame headers (RFC 6455 5.2) and strict JSON (RFC 8259)."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Never

import orjson

OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS  # how an object is laid out is its owner's to say
MAX_DEPTH = 32  # arrays and objects within each other (protocol.md section 7)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_TWICE = "a key stands twice in an object"  # one parser takes the first, another the last
_FIN_TEXT = 0x81
_FIN_BINARY = 0x82
_FIN_CLOSE = 0x88
_FIN_PING = 0x89
_MIDDLE = struct.Struct("!BBH").pack  # head, 126, length: most events are such


class FrameError(Exception):
    """A frame that is not the protocol: the connection closes, it is no refusal of an operation."""


class Binary(bytes):
    """A binary message; everything else on these wires is text as UTF-8 bytes."""

    __slots__ = ()


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame: the same bytes for every member of a room."""
    return _frame(_FIN_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """Return one unmasked, final binary frame: the same bytes for every member of a room."""
    return _frame(_FIN_BINARY, payload)


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a control frame holds at most 125 bytes (RFC 6455 5.5)."""
    return _frame(_FIN_CLOSE, code.to_bytes(2, "big") + reason.encode()[:123])


def ping_frame(payload: bytes = b"") -> bytes:
    """Return a ping; the peer answers with the same payload (RFC 6455 5.5.2)."""
    return _frame(_FIN_PING, payload)


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - RFC 6455 5.2
        return bytes((head, size)) + payload
    if size < 65536:  # noqa: PLR2004 - RFC 6455 5.2
        return _MIDDLE(head, 126, size) + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def loads(payload: bytes | bytearray | memoryview | str) -> Any:
    """Return a JSON value; UTF-8, no NaN, no key twice in an object, at most 32 deep.

    Raises:
        FrameError: it is not such a value.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as refusal:
        raise FrameError(str(refusal)) from None
    # Counting is cheaper than walking; only a suspect is walked.
    raw = payload.encode() if isinstance(payload, str) else bytes(payload)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    colons = raw.count(b":")
    if colons and colons != (keys := _count_keys(value)) and _count_colons(raw) != keys:
        raise FrameError(_TWICE)
    return value


def loads_javascript(payload: bytes | bytearray) -> Any:
    r"""Return a JSON value as `loads` does, also one with lone surrogates in its texts.

    `JSON.stringify` writes half an emoji as `"\ud83d"` and orjson refuses it; half an emoji shall
    cost its sender an error and not the connection. Only what has such escapes is read again, by
    the standard library. A text out of here may not encode to UTF-8: validate it.

    Raises:
        FrameError: it is not such a value.
    """
    try:
        return loads(payload)
    except FrameError:
        if b"\\u" not in payload:
            raise
    try:
        value = _JAVASCRIPT.decode(payload.decode())  # of bytes it would guess the encoding
    except (ValueError, RecursionError) as refusal:
        raise FrameError(str(refusal)) from None
    _check_depth(value)
    return value


def _parse_int(text: str) -> int | float:
    # As orjson: whole numbers of 64 bits are exact, others are what JavaScript makes of them.
    if len(text) <= 20 and -(2**63) <= (number := int(text)) < 2**64:  # noqa: PLR2004 - len(2**64)
        return number
    return _parse_float(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        msg = "a number is infinite"
        raise ValueError(msg)
    return number


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(_TWICE)
    return found


def _refuse_constant(name: str) -> Never:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


_JAVASCRIPT = json.JSONDecoder(
    parse_int=_parse_int,
    parse_float=_parse_float,
    parse_constant=_refuse_constant,
    object_pairs_hook=_refuse_twins,
)


def dumps(value: Any, default: Callable[[Any], Any]) -> bytes:
    """Return a value as JSON, what `default` makes of each part that JSON does not know.

    Raises:
        orjson.JSONEncodeError: it cannot; `dumps_javascript` may.
        ValueError: NaN or infinity is in it.
    """
    body = orjson.dumps(value, default=default, option=OPTIONS)
    if b"null" in body and _has_nan(value):  # as which orjson writes it
        msg = "JSON has no NaN and no infinity"
        raise ValueError(msg)
    return body


def dumps_javascript(value: Any, default: Callable[[Any], Any]) -> bytes:
    """Return a value as JSON in ASCII, lone surrogates as the escapes that JavaScript writes.

    Slow, for what `dumps` refuses: whole numbers beyond 64 bits and keys that are numbers, too.

    Raises:
        ValueError: NaN, infinity, or too deep.
        TypeError: JSON has no such value.
    """
    try:
        text = json.dumps(value, default=default, allow_nan=False, separators=(",", ":"))
    except RecursionError:
        msg = "nested too deep"
        raise ValueError(msg) from None
    return text.encode("ascii")


def _has_nan(value: Any) -> bool:
    level = [value]
    for node in level:  # grows while it is walked
        if isinstance(node, dict):
            level.extend(node.values())
        elif isinstance(node, list | tuple):
            level.extend(node)
        elif isinstance(node, float) and not math.isfinite(node):
            return True
    return False


def _count_keys(value: Any) -> int:
    """Return how many keys all objects of a value have: as many as its text has, without twins."""
    keys, level = 0, [value]
    for node in level:  # grows while it is walked
        kind = type(node)  # exactly these come out of a parser
        if kind is dict:
            keys += len(node)
            level.extend(node.values())
        elif kind is list:
            level.extend(node)
    return keys


def _count_colons(raw: bytes) -> int:
    """Return how many colons of a JSON text stand behind keys and not within texts."""
    if b"\\" in raw:
        return _STRING.sub(b"", raw).count(b":")
    return b"".join(raw.split(b'"')[::2]).count(b":")  # a third of the time


def _check_depth(value: Any) -> None:
    if _depth(value) > MAX_DEPTH:
        msg = f"nested deeper than {MAX_DEPTH}"
        raise FrameError(msg)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, list | dict)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if depth > MAX_DEPTH + 1:
            break
    return depth
