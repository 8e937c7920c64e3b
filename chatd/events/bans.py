"""Commands and answers of bans (protocol.md section 3)."""

from __future__ import annotations

from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from chatd.events.fields import Limit, Moment, clean_name
from chatd.events.sessions import SessionRef
from chatd.model import Shape, Time, User

MAX_REASON = 500  # characters

Reason = Annotated[
    str,
    Field(min_length=1, max_length=MAX_REASON),
    AfterValidator(partial(clean_name, limit=MAX_REASON)),
]


class MemberBan(SessionRef):
    """Keep a user out of a session, member or not; without `until` before it is lifted."""

    user_id: UUID
    reason: Reason | None = None
    until: Moment | None = None


class MemberUnban(SessionRef):
    """Lift a ban."""

    user_id: UUID


class BanList(SessionRef):
    """Page through the bans in force."""

    after: UUID | None = None
    limit: Limit = 100


class Ban(Shape):
    """Who is kept out, by whom, since when and until when; null: until it is lifted."""

    user: User
    by: UUID
    created_at: Time
    until: Time | None
    reason: str | None


class BanAnswer(Shape):
    """The ban as it stands."""

    ban: Ban


class BanPage(Shape):
    """Bans by rising user id; `nextAfter` is null on the last page."""

    bans: list[Ban]
    next_after: UUID | None
