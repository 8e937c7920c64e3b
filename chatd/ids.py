"""Ids: UUIDv7 (RFC 9562 5.7), made by the daemon: a message has its id before it is stored.

Twelve of the random bits tell the time more exactly (RFC 9562 6.2, method 3): of messages that were
stored in one millisecond the ids have the order in which they were made, and so have their pages.

Random ids of connections come from the kernel's generator, as those of `secrets` do.
"""

from __future__ import annotations

import base64
import os
import time
from uuid import UUID

_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62
_RAND_B = (1 << 62) - 1


def uuid7() -> UUID:
    """Return a new id: 48 bits of milliseconds, 12 of parts of 244 ns, then 62 random bits."""
    random = int.from_bytes(os.urandom(8), "big")
    millis, nanos = divmod(time.time_ns(), 1_000_000)
    part = (nanos << 12) // 1_000_000 << 64
    return UUID(int=(millis << 80) | _VERSION | part | _VARIANT | (random & _RAND_B))


def random_text(size: int) -> str:
    """Return random bytes as URL-safe text; a size that 3 divides gives no padding."""
    return base64.urlsafe_b64encode(os.urandom(size)).decode("ascii")


def random_hex(size: int) -> str:
    """Return random bytes as lower-case hex; a fifth of what `secrets.token_hex` takes."""
    return os.urandom(size).hex()
