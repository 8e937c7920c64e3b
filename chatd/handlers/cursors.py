"""Cursors of pages: a position (time, id) that clients hand back and do not look into."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chatd.handlers.refusals import wrong

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def cursor_of(at: datetime, row_id: UUID) -> str:
    """Return the cursor of a position."""
    micros = (at - _EPOCH) // _MICROSECOND
    return base64.urlsafe_b64encode(f"{micros}:{row_id}".encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Return the position of a cursor.

    Raises:
        ValidationFailed: it is not one of ours.
    """
    try:
        micros, _, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        return _EPOCH + int(micros) * _MICROSECOND, UUID(row_id)
    except (ValueError, OverflowError, binascii.Error):
        raise wrong("cursor", "is not one of ours") from None
