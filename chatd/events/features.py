"""What a server can do, for front ends that have not logged in."""

from __future__ import annotations

from typing import Literal

from chatd.model import Shape


class FileLimits(Shape):
    """What a front end can tell before it asks: sizes in bytes.

    `maxUserBytes` and `maxUserFiles` are of all files of one user.
    """

    max_bytes: int
    max_attachments: int
    max_user_bytes: int
    max_user_files: int


class Features(Shape):
    """What is on here and what is off: a front end shows no button that leads nowhere."""

    registration: bool
    google: bool  # sign-in at `/auth/google`
    mail: bool  # verification of addresses and the reset of passwords
    email_verification: Literal["off", "optional", "required"]
    ai: bool
    files: bool
    file_limits: FileLimits | None  # None where `files` is false
    search: bool  # off where messages are encrypted at rest
