"""Responses: a status and headers in, bytes out, framed for the request that they answer."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import orjson

from chatd.errors import ChatError, MethodNotAllowed
from chatd.wire.http import METHODS, RequestHead
from chatd.wire.http_refusals import UpgradeRequired

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_STATUS = 599

Headers = Sequence[tuple[bytes, bytes]]

_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*")
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii"))
    for status in HTTPStatus
}
_OURS = frozenset((b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"date"))
_BODYLESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)  # RFC 9110 6.4.1


@lru_cache(maxsize=1)
def http_date(second: int) -> bytes:
    """Return a moment of the wall clock as a Date header has it (RFC 9110 5.6.7)."""
    return formatdate(second, usegmt=True).encode("ascii")


class Response:
    """One response: its `head`, then what `encode` makes of each piece of its body.

    Without a Content-Length among the headers the body is chunked, or for HTTP/1.0 ends with the
    connection. A HEAD request gets the head alone. `closes` says what the head told the client.

    Args:
        request: what it answers, None for something that was not understood.
        headers: of the application; those that belong to the connection are replaced.
        request_id: for the header X-Request-Id, unless the application sets one.
        now: seconds of the wall clock, for the header Date.
        closes: the connection will close behind it.
        edge: more header lines, whole ones. See `chatd.wire.edge`.

    Raises:
        ValueError: a status or a header that cannot be sent; a line end in it would let a value
            from outside write headers.
    """

    __slots__ = ("_chunked", "_left", "closes", "head", "is_complete")

    def __init__(
        self,
        request: RequestHead | None,
        status: int,
        headers: Headers,
        *,
        request_id: str,
        now: float,
        closes: bool,
        edge: bytes = b"",
    ) -> None:
        if not HTTPStatus.OK <= status <= MAX_STATUS:
            msg = f"no final status: {status}"
            raise ValueError(msg)
        length, closes, has_id, lines = _sort(headers, closes)
        is_bodyless = status in _BODYLESS or (request is not None and request.method == "HEAD")
        is_modern = request is None or request.http_version == "1.1"
        self.is_complete = False
        self._chunked = length is None and not is_bodyless and is_modern
        self.closes = closes or (length is None and not is_bodyless and not is_modern)
        self._left = -1 if is_bodyless else length
        if length is not None and status != HTTPStatus.NO_CONTENT:
            lines.append(b"content-length: %d\r\n" % length)
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        if self.closes:
            lines.append(b"connection: close\r\n")
        if not has_id:
            lines.append(b"x-request-id: %b\r\n" % request_id.encode("ascii"))
        block = b"".join(lines)
        # Counted too: a line end within a value can make a line that looks well.
        if block.count(b"\n") != len(lines) or _LINES.fullmatch(block) is None:
            msg = "a response header that cannot be sent"
            raise ValueError(msg)
        self.head = b"%bdate: %b\r\n%b%b\r\n" % (
            _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status,
            http_date(int(now)),
            block,
            edge,
        )

    @property
    def is_streamed(self) -> bool:
        """Whether the body has no declared length: the client should see the head at once."""
        return self._left is None

    @property
    def is_whole(self) -> bool:
        """Whether every byte of the body has been encoded, if the end was not said yet."""
        return self.is_complete or self._left == 0

    def encode(self, data: bytes, *, more: bool) -> bytes:
        """Return the bytes that carry a piece of the body, b"" if there are none.

        Raises:
            ValueError: the body is longer or shorter than its Content-Length.
        """
        if self.is_complete:
            msg = "a body behind the end of its response"
            raise ValueError(msg)
        self.is_complete = not more
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            return piece if more else piece + b"0\r\n\r\n"
        if self._left is None:
            return data
        if self._left < 0:
            return b""
        self._left -= len(data)
        if self._left < 0 or (self._left and not more):
            self.is_complete = False
            msg = "a body that is not as long as its Content-Length"
            raise ValueError(msg)
        return data


def _sort(
    headers: Headers,
    closes: bool,  # noqa: FBT001 - passed through
) -> tuple[int | None, bool, bool, list[bytes]]:
    """Return the declared length, whether to close, whether an id is set, the lines to send."""
    length: int | None = None
    has_id = False
    lines: list[bytes] = []
    for raw, value in headers:
        name = raw.lower()
        if name not in _OURS:
            lines.append(b"%b: %b\r\n" % (name, value))
            has_id = has_id or name == b"x-request-id"
        elif name == b"content-length":
            length = int(value)
        elif name == b"connection" and b"close" in value.lower():
            closes = True
    return length, closes, has_id, lines


def error_answer(error: ChatError, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body of a refusal: the same envelope as on every wire."""
    body = orjson.dumps({"error": error.to_wire(request_id)})
    headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(body)),
    ]
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(METHODS).encode("ascii")))  # RFC 9110 15.5.6
    if isinstance(error, UpgradeRequired):
        headers += [(b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after)))
    return headers, body
