"""Ids: UUIDv7 (RFC 9562 5.7), made by the daemon: a message has its id before it is stored.

Twelve of the random bits tell the time more exactly (RFC 9562 6.2, method 3): of messages that were
stored in one millisecond the ids have the order in which they were made, and so have their pages.

That a user is a bot stands in the id, which is a UUIDv8 of the same layout: so it is known wherever
the user is named, in every message, without a look at the account.

Random ids of connections come from the kernel's generator, as those of `secrets` do.
"""

from __future__ import annotations

import base64
import os
import time
from uuid import UUID

_VERSION = 0x7 << 76
_BOT_VERSION = 0x8  # RFC 9562 5.8: what the bits mean is ours
_VARIANT = 0x2 << 62
_RAND_B = (1 << 62) - 1


def uuid7() -> UUID:
    """Return a new id: 48 bits of milliseconds, 12 of parts of 244 ns, then 62 random bits."""
    random = int.from_bytes(os.urandom(8), "big")
    millis, nanos = divmod(time.time_ns(), 1_000_000)
    part = (nanos << 12) // 1_000_000 << 64
    return UUID(int=(millis << 80) | _VERSION | part | _VARIANT | (random & _RAND_B))


def bot_id() -> UUID:
    """Return a new id of a bot; ordered among the others by its time."""
    ordinary = uuid7().int
    return UUID(int=(ordinary & ~(0xF << 76)) | (_BOT_VERSION << 76))


def is_bot(user_id: UUID) -> bool:
    """Tell whether an id is a bot's."""
    return (user_id.int >> 76) & 0xF == _BOT_VERSION


def random_text(size: int) -> str:
    """Return random bytes as URL-safe text; a size that 3 divides gives no padding."""
    return base64.urlsafe_b64encode(os.urandom(size)).decode("ascii")


def random_hex(size: int) -> str:
    """Return random bytes as lower-case hex; a fifth of what `secrets.token_hex` takes."""
    return os.urandom(size).hex()


def random_number(size: int) -> int:
    """Return random bytes as a number."""
    return int.from_bytes(os.urandom(size), "big")
