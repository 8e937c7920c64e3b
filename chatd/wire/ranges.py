"""Ranges and validators of a download (RFC 9110 13 and 14): what of a file is sent. Sans-I/O."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from chatd.wire.http import RequestHead

MAX_DIGITS: Final = 15  # as of a Content-Length: more is beyond any file
_RANGE: Final = re.compile(rb"bytes=[\t ]*([0-9]*)-([0-9]*)[\t ]*", re.IGNORECASE)


class Span(NamedTuple):
    """Bytes of a file: from `start` on, `length` of them."""

    start: int
    length: int


class Unsatisfiable(NamedTuple):
    """Nothing of the file is in the range: 416."""


def span_of(value: bytes, size: int) -> Span | Unsatisfiable | None:
    """Return what one Range header asks of a file; None: it is ignored, all of it is sent.

    Several ranges are ignored as well (RFC 9110 14.2 allows it): they are a way to ask for a file
    a thousand times at once.
    """
    match = _RANGE.fullmatch(value)
    if match is None:
        return None
    first, last = match.groups()
    if len(first) > MAX_DIGITS or len(last) > MAX_DIGITS or not (first or last):
        return None
    if not first:  # the last so many
        length = min(int(last), size)
        return Span(size - length, length) if length else Unsatisfiable()
    start = int(first)
    if last and int(last) < start:
        return None  # no range at all (14.1.1)
    if start >= size:
        return Unsatisfiable()
    end = size - 1 if not last else min(int(last), size - 1)
    return Span(start, end - start + 1)


def requested(head: RequestHead, size: int, etag: bytes) -> Span | Unsatisfiable | None:
    """Return what a request asks of a file; None: all of it.

    A range behind an `If-Range` counts for this very file only, compared strongly (13.1.5); a date
    never matches, for files here have none.
    """
    values = head.values(b"range")
    if head.method != "GET" or len(values) != 1:
        return None
    conditions = head.values(b"if-range")
    if conditions and conditions != [etag]:
        return None
    return span_of(values[0], size)


def is_known(head: RequestHead, etag: bytes) -> bool:
    """Return whether the client has this version: If-None-Match, the weak comparison (13.1.2)."""
    tags = b",".join(head.values(b"if-none-match")).split(b",")
    known = [tag.strip().removeprefix(b"W/") for tag in tags]
    return b"*" in known or etag.removeprefix(b"W/") in known
