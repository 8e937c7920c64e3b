"""The command that changes what others see of the caller (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyUrl,
    Field,
    StringConstraints,
    UrlConstraints,
    model_validator,
)

from chatd.events.fields import Name
from chatd.model import Shape

MAX_AVATAR_URL = 2048  # characters: it goes with every message


def _public(url: AnyUrl) -> AnyUrl:
    if url.username is not None or url.password is not None:
        msg = "holds a credential, and everybody sees it"
        raise ValueError(msg)
    if len(str(url)) > MAX_AVATAR_URL:  # what is not ASCII grows when it is encoded
        msg = "is too long"
        raise ValueError(msg)
    return url


AvatarUrl = Annotated[
    AnyUrl,
    UrlConstraints(max_length=MAX_AVATAR_URL, allowed_schemes=["https"], host_required=True),
    AfterValidator(_public),
]
AvatarColor = Annotated[
    str,
    StringConstraints(to_lower=True),
    Field(pattern="^#[0-9A-Fa-f]{6}$", max_length=7),
]


class UserUpdate(Shape):
    """Change the caller's name or avatar: a picture elsewhere, a colour, or a file.

    Null takes back whichever there is. The file is an image of the caller's, of no session.
    """

    name: Name | None = None
    avatar_url: AvatarUrl | None = None
    avatar_color: AvatarColor | None = None
    avatar_file_id: UUID | None = None

    @model_validator(mode="after")
    def _is_one_change(self) -> UserUpdate:
        if self.name is None and not self.sets_avatar:
            msg = "nothing is changed"
            raise ValueError(msg)
        chosen = (self.avatar_url, self.avatar_color, self.avatar_file_id)
        if sum(each is not None for each in chosen) > 1:
            msg = "an avatar is a picture, a colour or a file"
            raise ValueError(msg)
        return self

    @property
    def sets_avatar(self) -> bool:
        """Whether the avatar changes."""
        return bool(self.model_fields_set & {"avatar_url", "avatar_color", "avatar_file_id"})

    @property
    def avatar(self) -> str | None:
        """The avatar as it is stored."""
        return self.avatar_color if self.avatar_url is None else str(self.avatar_url)
