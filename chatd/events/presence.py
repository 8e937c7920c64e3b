"""Commands and answers of presence (protocol.md section 6)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from chatd.events.fields import Moment, clean_name
from chatd.model import Presence, Shape

MAX_TEXT = 120  # characters of a status
MAX_USERS = 200  # of one question: a page of members

Text = Annotated[
    str, Field(max_length=MAX_TEXT), AfterValidator(partial(clean_name, limit=MAX_TEXT))
]


class StatusSet(Shape):
    """Set the caller's status: ONLINE clears a manual one, AWAY is this device's."""

    status: Literal["ONLINE", "AWAY", "BUSY", "INVISIBLE"]
    text: Text | None = None
    until: Moment | None = None


class StatusAnswer(Shape):
    """The caller's presence as others see it now."""

    presence: Presence


class StatusQuery(Shape):
    """Ask who of these is there."""

    user_ids: Annotated[list[UUID], Field(max_length=MAX_USERS)]


class Statuses(Shape):
    """Who is there, in the order asked for; who may not be seen is OFFLINE and was never seen."""

    presence: list[Presence]
