"""The text of API tokens: a prefix that scanners find, 256 random bits, a checksum. Pure.

The checksum (CRC-32, as in GitHub's tokens) tells a slip of the pen, and a text that only looks
like a token, without a question to the store. It is no secret.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Iterable
from typing import Literal, get_args

Scope = Literal["read", "write", "manage"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "chatd_pat_"
_BODY = re.compile(r"([0-9a-f]{64})([0-9a-f]{8})")  # a double click takes all of it


def ordered_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return scopes as they are kept: each once, in their order."""
    wanted = set(scopes)
    return tuple(scope for scope in SCOPES if scope in wanted)


def new_api_token() -> str:
    """Return a new token."""
    body = secrets.token_hex(32)
    return f"{PREFIX}{body}{_checksum(body)}"


def is_api_token(token: str) -> bool:
    """Tell whether a text that begins with `PREFIX` is whole."""
    match = _BODY.fullmatch(token, len(PREFIX))
    return match is not None and _checksum(match[1]) == match[2]


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
