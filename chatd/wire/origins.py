"""Which pages may talk to this server: browsers send Origin, and CORS does not guard WebSockets."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from chatd.wire.http import RequestHead


def is_origin_allowed(origin: str, host: str, allowed: Collection[str]) -> bool:
    """Return whether a page of this origin may connect: our own, or one that is listed.

    Args:
        origin: the header Origin, compared exactly.
        host: the header Host of the same request.
    """
    if origin in allowed:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # such as "http://["
        return False


def is_own_page(head: RequestHead, allowed: Collection[str]) -> bool:
    """Return whether the page behind a request may connect; programs send no Origin."""
    origin = head.header(b"origin")
    host = (head.header(b"host") or b"").decode("ascii")
    return origin is None or is_origin_allowed(origin.decode("ascii"), host, allowed)
