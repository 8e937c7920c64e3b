"""The command that ends the caller's account (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from chatd.model import Shape


class UserErase(Shape):
    """End the caller's account; what they wrote stays without a name, or is deleted.

    An account without a password gives none: its login is not older than five minutes.
    """

    messages: Literal["KEEP_ANONYMOUS", "DELETE"]
    password: Annotated[str, StringConstraints(max_length=256)] | None = None
