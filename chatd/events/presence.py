"""Commands and answers of presence (protocol.md section 6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, field_validator

from chatd.events.fields import clean_name
from chatd.model import Presence, Shape

MAX_USERS = 200  # of one question: a page of members


class StatusSet(Shape):
    """Set the caller's status: ONLINE clears a manual one, AWAY is this device's."""

    status: Literal["ONLINE", "AWAY", "BUSY", "INVISIBLE"]
    text: Annotated[str, Field(max_length=120), AfterValidator(clean_name)] | None = None
    until: datetime | None = None

    @field_validator("until")
    @classmethod
    def _in_utc(cls, until: datetime | None) -> datetime | None:
        if until is None:
            return None
        if until.tzinfo is None:
            msg = "needs a time zone"
            raise ValueError(msg)
        try:
            return until.astimezone(UTC)
        except OverflowError:
            msg = "is beyond the calendar"
            raise ValueError(msg) from None


class StatusAnswer(Shape):
    """The caller's presence as others see it now."""

    presence: Presence


class StatusQuery(Shape):
    """Ask who of these is there."""

    user_ids: Annotated[list[UUID], Field(max_length=MAX_USERS)]


class Statuses(Shape):
    """Who is there, in the order asked for; who may not be seen is OFFLINE and was never seen."""

    presence: list[Presence]
