"""URLs to which a secret may be sent. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_safe_url(url: str) -> bool:
    """Return whether what is sent there cannot be read on its way: https, or our own machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    is_text = url.isascii() and url.isprintable() and " " not in url
    is_plain = is_text and not (parts.username or parts.password or parts.fragment)
    is_private = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    return is_plain and is_private and bool(host)
