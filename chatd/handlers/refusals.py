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
    Append.NO_SUCH_REPLY: NotFound,
    Append.NO_SUCH_FILE: NotFound,
    Append.INVALID: ValidationFailed,
}


def refusal_of(outcome: Append) -> ChatError:
    """Return why a message was not stored, or not changed."""
    return _REFUSALS[outcome]()


def send_refusal(outcome: AppendRow, message: NewMessage) -> ChatError:
    """Return why a message was not stored, and when its sender may try again."""
    if outcome.until is None:
        return refusal_of(outcome.outcome)
    return SlowMode(retry_after=(outcome.until - message.created_at).total_seconds())
