"""Commands and answers of addresses and passwords (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from chatd.events.fields import Email, Password
from chatd.model import Shape

LinkToken = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Proof = Annotated[str, StringConstraints(max_length=256)]


class EmailVerify(Shape):
    """Use the link of a mail that shows that an address is read."""

    token: LinkToken


class EmailVerified(Shape):
    """The address that the account has, verified, from now on."""

    email: str


class EmailChange(Shape):
    """Ask for another address; an account without a password gives none."""

    email: Email
    password: Proof | None = None


class PasswordForgot(Shape):
    """Ask for a mail whose link sets a new password."""

    email: Email


class PasswordReset(Shape):
    """Set a new password with the link of a mail."""

    token: LinkToken
    password: Password


class PasswordChange(Shape):
    """Change the password; an account without one gives none, and has one from now on."""

    new_password: Password
    password: Proof | None = None
