"""What every operation may answer: nothing, or a refusal."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from chatd.errors import ERROR_CODES
from chatd.model import Shape


class Nothing(Shape):
    """No fields."""


class Refusal(Shape):
    """Why a call was refused; clients branch on `code`, never on `message`."""

    code: Annotated[str, Field(json_schema_extra={"enum": [*ERROR_CODES]})]
    message: str
    retryable: bool
    request_id: str
    retry_after_ms: int | None = None
    details: dict[str, Any] | None = None


class ErrorAnswer(Shape):
    """What REST answers to a call that is refused."""

    error: Refusal
