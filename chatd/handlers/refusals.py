"""What the store's verdicts on messages are to a client."""

from __future__ import annotations

from chatd.errors import (
    ChatError,
    Forbidden,
    Muted,
    NotAMember,
    NotFound,
    SessionReadOnly,
    SlowMode,
    ValidationFailed,
)
from chatd.rows import Append, AppendRow, NewMessage

_REFUSALS: dict[Append, type[ChatError]] = {
    Append.NOT_A_MEMBER: NotAMember,
    Append.READ_ONLY: SessionReadOnly,
    Append.MUTED: Muted,
    Append.SLOW_MODE: SlowMode,
    Append.TOO_MANY: Forbidden,
    Append.INVALID: ValidationFailed,
}

# Which of the fields that name something names nothing, by the outcome.
_MISSING = {
    Append.NO_SUCH_REPLY: ("replyToId", "no such message in this session"),
    Append.NO_SUCH_FILE: ("attachments", "no complete file of yours here that no message has"),
}


def missing(field: str, message: str) -> NotFound:
    """Return the refusal of a call whose `field` names what there is not, or not for the caller.

    Args:
        field: as the client writes it. It is told as for `validation_failed`, so that a program
            knows this from a path that names nothing.
        message: for people.
    """
    return NotFound(message, details={"fields": [{"field": field, "message": message}]})


def wrong(field: str, message: str) -> ValidationFailed:
    """Return the refusal of a call whose `field` is not what this operation takes.

    Args:
        field: as the client writes it.
        message: what is wrong with it, for people.
    """
    wrong_field = {"field": field, "message": message}
    return ValidationFailed(f"{field} {message}", details={"fields": [wrong_field]})


def refusal_of(outcome: Append) -> ChatError:
    """Return why a message was not stored, or not changed."""
    if outcome in _MISSING:
        return missing(*_MISSING[outcome])
    return _REFUSALS[outcome]()


def send_refusal(outcome: AppendRow, message: NewMessage) -> ChatError:
    """Return why a message was not stored, and when its sender may try again."""
    if outcome.until is None:
        return refusal_of(outcome.outcome)
    return SlowMode(retry_after=(outcome.until - message.created_at).total_seconds())
