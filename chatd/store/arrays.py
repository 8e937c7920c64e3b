"""Arrays as parameters, in PostgreSQL's binary form.

psycopg finds out what a list holds by looking at its elements; these lists say it. The seven of
`append_messages` take 10 µs instead of 39 for one message, and 88 instead of 137 for fifty.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import trio_asyncio  # noqa: F401 - before psycopg, see driver.py

from psycopg.abc import AdaptContext  # isort: skip
from psycopg.adapt import Dumper  # isort: skip
from psycopg.pq import Format  # isort: skip

UUID_OID, UUID_ARRAY_OID = 2950, 2951
TEXT_OID, TEXT_ARRAY_OID = 25, 1009
TIMESTAMPTZ_OID, TIMESTAMPTZ_ARRAY_OID = 1184, 1185

# array_send() in src/backend/utils/adt/arrayfuncs.c: dimensions, whether there are NULLs, the
# type of the elements, then length and lower bound of the one dimension; each element has a length.
_HEADER = struct.Struct("!5i").pack
_LENGTH = struct.Struct("!i").pack
_EMPTY = struct.Struct("!3i").pack
_NULL = _LENGTH(-1)
_SIXTEEN = _LENGTH(16)
_MICROS = struct.Struct("!iq").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # timestamps are microseconds since then
_MICROSECOND = timedelta(microseconds=1)


class Uuids(list[UUID | None]):
    """A uuid[]."""


class Texts(list[str | None]):
    """A text[]."""


class Times(list[datetime]):
    """A timestamptz[]."""


class _Uuids(Dumper):
    format, oid = Format.BINARY, UUID_ARRAY_OID

    def dump(self, obj: Uuids) -> bytes:
        # No call an element: `UUID.bytes` alone takes longer than this line.
        items = [_NULL if item is None else _SIXTEEN + item.int.to_bytes(16, "big") for item in obj]
        return _array(UUID_OID, items)


class _Texts(Dumper):
    format, oid = Format.BINARY, TEXT_ARRAY_OID

    def dump(self, obj: Texts) -> bytes:
        return _array(TEXT_OID, [_NULL if item is None else _text(item) for item in obj])


class _Times(Dumper):
    format, oid = Format.BINARY, TIMESTAMPTZ_ARRAY_OID

    def dump(self, obj: Times) -> bytes:
        return _array(
            TIMESTAMPTZ_OID, [_MICROS(8, (item - _EPOCH) // _MICROSECOND) for item in obj]
        )


def register(context: AdaptContext) -> None:
    """Teach a connection these lists."""
    adapters = context.adapters
    adapters.register_dumper(Uuids, _Uuids)
    adapters.register_dumper(Texts, _Texts)
    adapters.register_dumper(Times, _Times)


def _array(oid: int, items: list[bytes]) -> bytes:
    """Return an array of elements that have their lengths ahead."""
    if not items:
        return _EMPTY(0, 0, oid)
    return _HEADER(1, 1, oid, len(items), 1) + b"".join(items)


def _text(item: str) -> bytes:
    data = item.encode()
    return _LENGTH(len(data)) + data
