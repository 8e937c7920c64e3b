"""The plain WebSocket wire, `/ws` (protocol.md section 1): JSON objects in text frames.

A request is `{"event", "id"?, "data"?}`, an answer `{"id", "ok", "data" | "error"}`, a push
`{"event", "data"}`. Bytes that come in as `data` are JSON already, encoded once for everybody.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from chatd.wire.frames import FrameError, loads, loads_javascript, text_frame

MAX_ID = 2**53 - 1
_MEMBERS = frozenset(("event", "id", "data"))


class Request(NamedTuple):
    """One call of a client; without an id it wants no answer, but gets its errors."""

    event: str
    id: int | str | None
    data: Any
    unknown: tuple[str, ...] = ()  # members that no request has: it is refused with their names


def decode(payload: bytes | bytearray) -> Request:
    """Return the request that a text frame carries.

    A text in its data may have half an emoji, and does not encode to UTF-8 then: validate it.

    Raises:
        FrameError: it carries something else.
    """
    try:
        value = loads(payload)
    except FrameError:
        value = _loads_half(payload)
    if not isinstance(value, dict):
        msg = "a request is an object"
        raise FrameError(msg)
    event, id_ = value.get("event"), value.get("id")
    if not isinstance(event, str):
        msg = "a request names an event"
        raise FrameError(msg)
    if not (
        id_ is None
        or (isinstance(id_, int) and not isinstance(id_, bool) and 0 <= id_ <= MAX_ID)
        or (isinstance(id_, str) and len(id_) <= 64)  # noqa: PLR2004 - room for a UUID and a prefix
    ):
        msg = "an id is a whole number or a short string"
        raise FrameError(msg)
    unknown = () if value.keys() <= _MEMBERS else tuple(sorted(value.keys() - _MEMBERS))
    return Request(event, id_, value.get("data", {}), unknown)


def _loads_half(payload: bytes | bytearray) -> Any:
    """Return what `loads` refuses for half an emoji in its data.

    Event, id and the names of members go into answers, logs and metrics: they take UTF-8 only.
    """
    value = loads_javascript(payload)
    if isinstance(value, dict):
        for text in (*value, value.get("event"), value.get("id")):
            if isinstance(text, str) and not _is_utf8(text):
                msg = "half an emoji outside of the data"
                raise FrameError(msg)
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_answer(id_: int | str | None, data: bytes) -> bytes:
    """Return the frame that answers a request."""
    return text_frame(b'{"id":%b,"ok":true,"data":%b}' % (orjson.dumps(id_), data))


def encode_error(id_: int | str | None, error: dict[str, Any]) -> bytes:
    """Return the frame that refuses a request."""
    return text_frame(b'{"id":%b,"ok":false,"error":%b}' % (orjson.dumps(id_), orjson.dumps(error)))


def encode_event(name: str, data: bytes) -> bytes:
    """Return the frame of a push, the same for every receiver."""
    return text_frame(b'{"event":"%b","data":%b}' % (name.encode(), data))
