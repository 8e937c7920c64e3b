"""What a server can do, for front ends that have not logged in."""

from __future__ import annotations

from typing import Literal

from chatd.model import Shape


class Features(Shape):
    """What is on here and what is off: a front end shows no button that leads nowhere."""

    registration: bool
    google: bool  # sign-in at `/auth/google`
    mail: bool  # verification of addresses and the reset of passwords
    email_verification: Literal["off", "optional", "required"]
    ai: bool
    files: bool
    search: bool  # off where messages are encrypted at rest
