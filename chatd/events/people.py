"""Commands and answers about users (protocol.md section 2)."""

from __future__ import annotations

from uuid import UUID

from chatd.events.fields import Email
from chatd.model import Shape, User


class UserQuery(Shape):
    """Find somebody; `query` is their whole e-mail address."""

    query: Email


class UserRef(Shape):
    """Names a user."""

    user_id: UUID


class UserAnswer(Shape):
    """One user."""

    user: User


class Users(Shape):
    """The users found."""

    users: list[User]
