"""What a browser is told with each file of the web client: its type, how long it keeps, its policy.

Pure. Sources: Content Security Policy Level 3 (script hashes: section 2.3.1), RFC 9111 (caching).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import mimetypes
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

_INLINE = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_FOREVER = b"public, max-age=31536000, immutable"  # Next.js names them by what is in them
_REVALIDATE = b"no-cache"
_SMALLEST_ZIPPED = 512  # bytes; below it the header costs what gzip saves
_TEXT = ("text/", "application/javascript", "application/json", "application/manifest+json")
_TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True, slots=True)
class SiteFile:
    """One file, ready to be sent: in memory, the whole site has 2 MB."""

    plain: bytes
    zipped: bytes | None  # None where it is not smaller
    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def site_file(name: str, data: bytes, connect: Collection[str] = ()) -> SiteFile:
    """Return a file of the site as it is sent.

    Args:
        name: its path in the export, such as `chat/index.html`.
        connect: origins beside its own that the pages may ask and show pictures of.
    """
    suffix = PurePosixPath(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    is_text = kind.startswith(_TEXT) or kind == "image/svg+xml"
    headers = [
        (b"content-type", (kind + ("; charset=utf-8" if is_text else "")).encode("ascii")),
        (b"cache-control", _FOREVER if name.startswith("_next/static/") else _REVALIDATE),
        (b"vary", b"Accept-Encoding"),
    ]
    if suffix == ".html":
        headers.append((b"content-security-policy", page_policy(data, connect).encode("ascii")))
    zipped = gzip.compress(data, mtime=0) if is_text and len(data) > _SMALLEST_ZIPPED else None
    if zipped is not None and len(zipped) >= len(data):
        zipped = None
    # Weak: both codings share it (RFC 9110 8.8.1).
    etag = b'W/"%b"' % hashlib.sha256(data).hexdigest()[:32].encode("ascii")
    return SiteFile(data, zipped, etag, tuple(headers))


def page_policy(page: bytes, connect: Collection[str] = ()) -> str:
    """Return the strict Content-Security-Policy of a page: its inline scripts by their hash."""
    hashes = {
        base64.b64encode(hashlib.sha256(script).digest()).decode("ascii")
        for script in _INLINE.findall(page)
        if script.strip()
    }
    scripts = "".join(f" 'sha256-{each}'" for each in sorted(hashes))
    others = "".join(f" {each}" for each in sorted(connect))
    return (
        f"default-src 'none'; script-src 'self'{scripts}; style-src 'self'; "
        f"img-src 'self' data: blob:{others}; font-src 'self'; connect-src 'self'{others}; "
        "manifest-src 'self'; media-src 'self' blob:; worker-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )


def paths_of(name: str) -> tuple[str, ...]:
    """Return the paths at which a file of the export is found: `chat/index.html` is `/chat/`."""
    path = f"/{name}"
    if path.endswith("/index.html"):
        folder = path.removesuffix("index.html")
        return (folder,) if folder == "/" else (folder, folder.rstrip("/"))
    return (path,)
