"""Commands and answers about users (protocol.md section 2)."""

from __future__ import annotations

import unicodedata
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from chatd.model import Shape, User

MAX_QUERY = 254  # characters: an e-mail address is no longer


def _clean_query(text: str) -> str:
    cleaned = text.strip()
    if any(unicodedata.category(each) in {"Cc", "Cs"} for each in cleaned):
        msg = "holds control characters"
        raise ValueError(msg)
    return cleaned


class UserList(Shape):
    """Find users by a part of their name or a whole e-mail address; without `query` everybody."""

    query: Annotated[str, Field(max_length=MAX_QUERY), AfterValidator(_clean_query)] = ""
    cursor: Annotated[str, StringConstraints(max_length=4096)] | None = None
    limit: Annotated[int, Field(ge=1, le=50)] = 20


class UserPage(Shape):
    """Users found, names that begin with the query first; `nextCursor` is null on the last page."""

    users: list[User]
    next_cursor: str | None


class UserRef(Shape):
    """Names a user."""

    user_id: UUID


class UserAnswer(Shape):
    """One user."""

    user: User
