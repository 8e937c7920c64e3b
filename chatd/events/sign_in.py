"""Commands of sign-in with an OpenID Connect issuer (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from chatd.model import Shape

# A path of our own: `//host` and `/\host` are other servers for a browser, and so is what it
# makes of control characters.
NextPath = Annotated[
    str,
    Field(max_length=512, pattern=r"^/([\x21-\x2e\x30-\x5b\x5d-\x7e][\x21-\x5b\x5d-\x7e]*)?$"),
]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class SignInStart(Shape):
    """Begin a sign-in; `next` is the page of this server that it leads to."""

    next: NextPath = "/"


class SignInReturn(Shape):
    """What the issuer sends a browser back with; issuers add parameters of their own."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    state: Secret
    code: Annotated[str, StringConstraints(max_length=4096, pattern=r"^[\x20-\x7e]+$")] | None = (
        None
    )
    error: Annotated[str, StringConstraints(max_length=256)] | None = None
    iss: Annotated[str, StringConstraints(max_length=512)] | None = None


class Exchange(Shape):
    """Exchange the one-time code of a sign-in for a token pair."""

    code: Secret
