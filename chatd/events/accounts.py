"""Commands and answers of accounts, logins and devices (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from chatd.events.fields import Email, Name, Password
from chatd.model import Account, Device, Shape, Time


class Register(Shape):
    """Open an account."""

    email: Email
    password: Password
    name: Name | None = None


class Login(Shape):
    """Log in with a password.

    `deviceToken` is what an earlier login on this device answered: with it nobody else's wrong
    passwords keep the caller out.
    """

    email: Email
    password: Annotated[str, StringConstraints(max_length=256)]
    device_token: Annotated[str, StringConstraints(max_length=128)] | None = None


class Refresh(Shape):
    """Exchange a refresh token for a new pair."""

    refresh_token: Annotated[str, StringConstraints(max_length=128)]


class Tokens(Shape):
    """A login: the account and its token pair; `deviceToken` is worth keeping over a logout."""

    user: Account
    access_token: str
    refresh_token: str
    expires_at: Time
    device_id: UUID
    device_token: str


class Me(Shape):
    """The caller's account."""

    user: Account


class Devices(Shape):
    """The devices with an open login, the last used first."""

    devices: list[Device]


class DeviceRef(Shape):
    """Names a device of the caller."""

    device_id: UUID


class AuthRefresh(Shape):
    """Renew the access token of a live socket."""

    access_token: Annotated[str, StringConstraints(max_length=8192)]


class AuthRefreshed(Shape):
    """How long the live socket is now good for."""

    expires_at: Time
