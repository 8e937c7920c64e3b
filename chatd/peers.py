"""What one daemon knows of the others: who they are by their tags, and how to reach them."""

from __future__ import annotations

from typing import Protocol

TAG_CHARS = 6  # of a daemon's tag, ahead of every id that others are to recognise as its own


class Peers(Protocol):
    """The other daemons of a cluster, and this one's own tag."""

    tag: str
    """What stands ahead of this daemon's Engine.IO session ids; URL-safe, `TAG_CHARS` long."""

    def url_of(self, tag: str) -> str | None:
        """Return where another living daemon is reached; None when there is no way to it."""

    def sign(self, text: bytes) -> bytes:
        """Return what proves to another daemon that this cluster has said a text."""

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        """Return whether a daemon of this cluster has signed a text."""
