"""Links to files that lie here: signed, for one method, one file and a short time. Pure.

A link is all that its holder needs, so it says everything that the answer depends on: nothing of a
request but the link decides what is written where, or as what it is served.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Literal, NamedTuple

import orjson

from chatd.errors import Forbidden
from chatd.keys import SigningKey

_PURPOSE = b"chatd: links to files, 1"  # a key of their own: no token is a link, no link a token


class Link(NamedTuple):
    """What a link lets its holder do, until `until` (seconds of the wall clock).

    PUT: write exactly `size` bytes as `content_type`. GET: read, served as these two say. `part` is
    what of the file: itself, or its thumbnail. `owner` is for whom it was made: they share a bound.
    """

    method: Literal["PUT", "GET"]
    key: str
    until: int
    size: int
    content_type: str
    disposition: str
    owner: str
    part: Literal["", "thumbnail"] = ""


class Links:
    """Signs links with the first of these keys and takes those of all of them."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._keys = [hmac.digest(key.secret, _PURPOSE, hashlib.sha256) for key in keys]

    def sign(self, link: Link) -> str:
        """Return the text of a link, URL-safe."""
        payload = _encode(orjson.dumps(tuple(link)))
        return f"{payload}.{_encode(_mac(self._keys[0], payload))}"

    def verify(self, text: str, method: str, now: float) -> Link:
        """Return what a link says.

        Raises:
            Forbidden: it is not ours, has expired, or is for another method.
        """
        payload, _, signature = text.partition(".")
        try:
            shown = _decode(signature)
            if not any(hmac.compare_digest(_mac(key, payload), shown) for key in self._keys):
                raise ValueError
            link = Link(*orjson.loads(_decode(payload)))
        except ValueError:
            msg = "this link is not good"
            raise Forbidden(msg) from None
        if now >= link.until:
            msg = "this link has expired: ask for another"
            raise Forbidden(msg)
        if link.method != method:
            msg = f"this link is for {link.method}"
            raise Forbidden(msg)
        return link


def _mac(key: bytes, payload: str) -> bytes:
    return hmac.digest(key, payload.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Return bytes; ValueError also for text that is not the one way to write them."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError from error
    if _encode(data) != text:
        raise ValueError
    return data
