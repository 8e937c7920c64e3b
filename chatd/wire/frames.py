"""What every WebSocket wire shares: frame headers (RFC 6455 5.2) and strict JSON."""

from __future__ import annotations

from typing import Any

import orjson

MAX_DEPTH = 32  # arrays and objects within each other (protocol.md section 7)
_FIN_TEXT = 0x81
_FIN_CLOSE = 0x88
_FIN_PING = 0x89


class FrameError(Exception):
    """A frame that is not the protocol: the connection closes, it is no refusal of an operation."""


def text_frame(payload: bytes) -> bytes:
    """Return one unmasked, final text frame: the same bytes for every member of a room."""
    return _frame(_FIN_TEXT, payload)


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
        return bytes((head, 126)) + size.to_bytes(2, "big") + payload
    return bytes((head, 127)) + size.to_bytes(8, "big") + payload


def loads(payload: bytes | bytearray | memoryview | str) -> Any:
    """Return a JSON value; UTF-8, no NaN, at most 32 deep.

    Raises:
        FrameError: it is not such a value.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as refusal:
        raise FrameError(str(refusal)) from None
    # Counting brackets is cheaper than walking; only a suspect is walked.
    if isinstance(payload, str):
        brackets = payload.count("[") + payload.count("{")
    else:
        raw = bytes(payload)
        brackets = raw.count(b"[") + raw.count(b"{")
    if brackets > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        msg = f"nested deeper than {MAX_DEPTH}"
        raise FrameError(msg)
    return value


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
