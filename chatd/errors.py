"""Every refusal a client can get, with its code on every wire, and every reason to close.

A refusal is a `ChatError`: raised anywhere below the wires, caught in one place per wire.
What is not a `ChatError` is a bug and is logged with its traceback. Codes are those of
protocol.md section 1; clients branch on `code`, never on the text.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar


class ChatError(Exception):
    """A refusal that the client is told about.

    Args:
        message: for people; defaults to the first line of the class's docstring.
        details: JSON-ready facts for programs, such as the fields that failed.
        retry_after: seconds after which the same call may succeed; sent as `retryAfterMs`.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or self.code).split("\n", 1)[0]
        self.details = details
        self.retry_after = retry_after
        super().__init__(self.message)

    def to_wire(self, request_id: str) -> dict[str, Any]:
        """Return the `error` object of protocol.md section 1, the same on every wire."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "requestId": request_id,
        }
        if self.details is not None:
            error["details"] = self.details
        if self.retry_after is not None:
            error["retryAfterMs"] = max(1, round(self.retry_after * 1000))  # 0 says: at once
        return error


class ValidationFailed(ChatError):
    """The payload is not what this operation takes."""

    code, status = "validation_failed", 422


class Unauthorized(ChatError):
    """No credential, or one that is not valid."""

    code, status = "unauthorized", 401


class TokenExpired(ChatError):
    """The access token has expired: refresh it and come back."""

    code, status, retryable = "token_expired", 401, True


class SecondFactorRequired(ChatError):
    """The password is right, and the account asks for a second factor as well.

    `details` are `{challenge, expiresAt, methods}`: go on with `POST /auth/login/totp`.
    """

    code, status = "second_factor_required", 401


class Forbidden(ChatError):
    """The caller may not do this."""

    code, status = "forbidden", 403


class NotAMember(ChatError):
    """The caller is not in the session, or there is no such session: ids cannot be probed."""

    code, status = "not_a_member", 403


class SessionReadOnly(ChatError):
    """The session is archived, or the caller is not among those who write in it."""

    code, status = "session_read_only", 403


class Muted(ChatError):
    """The caller may not write in the session yet."""

    code, status = "muted", 403


class SlowMode(ChatError):
    """The session is in slow mode: wait before the next message."""

    code, status, retryable = "slow_mode", 429, True


class NotFound(ChatError):
    """There is no such thing."""

    code, status = "not_found", 404


class MethodNotAllowed(ChatError):
    """The path exists, the method does not."""

    code, status = "not_found", 405


class Conflict(ChatError):
    """The change contradicts what is stored."""

    code, status = "conflict", 409


class IdempotencyConflict(ChatError):
    """This clientMsgId was used by this sender for another message."""

    code, status = "idempotency_conflict", 409


class PayloadTooLarge(ChatError):
    """The payload is larger than this server takes."""

    code, status = "payload_too_large", 413


class RateLimited(ChatError):
    """Too many calls: wait and try again."""

    code, status, retryable = "rate_limited", 429, True


class Draining(ChatError):
    """The server is going down: come back in a moment."""

    code, status, retryable = "draining", 503, True


class Overloaded(ChatError):
    """The server has more to do than it can: nothing was stored, try again."""

    code, status, retryable = "overloaded", 503, True


class Unavailable(ChatError):
    """The store or a dependency is down: nothing is known to be stored, try again."""

    code, status, retryable = "unavailable", 503, True


class NotSetUp(Unavailable):
    """This server is not set up for it: trying again changes nothing."""

    retryable = False


class DeadlineExceeded(ChatError):
    """The deadline passed before the change was committed: nothing was stored."""

    code, status, retryable = "deadline_exceeded", 504, True


class InternalError(ChatError):
    """A bug in the server; it is logged under the requestId."""

    code, status = "internal", 500


ERROR_CODES = sorted({ChatError.code, *(each.code for each in ChatError.__subclasses__())})


class StoreError(Exception):
    """The store could not do what it was asked; its subclasses say what is known of the outcome."""


class StoreRetryable(StoreError):
    """Nothing was stored, and the same call may succeed at once: serialization, deadlock."""


class StoreUnavailable(StoreError):
    """Nothing was stored; PostgreSQL is away, starting, full or out of connections."""


class StoreAmbiguous(StoreError):
    """The connection was lost while COMMIT was under way: stored or not, read again to know."""


class StoreBug(StoreError):
    """A statement that PostgreSQL refuses for what it says: a defect of chatd."""


class CloseCode(Enum):
    """Why a connection ends: WebSocket code, reason in words, and whether to come back.

    One value feeds the log line, the metric, the close frame and `connection:closing`
    (protocol.md section 5).
    """

    NORMAL = (1000, "closed by the client", True)
    GOING_AWAY = (1001, "going away", True)
    PROTOCOL_ERROR = (1002, "protocol error", False)
    UNSUPPORTED_DATA = (1003, "binary frames are not part of this protocol", False)
    ABNORMAL = (1006, "transport error", True)  # never sent: there is nothing to send it on
    INVALID_DATA = (1007, "text that is not UTF-8", False)
    TOO_BIG = (1009, "message too big", False)
    INTERNAL = (1011, "internal error", True)
    SHUTDOWN = (4001, "shutdown", True)
    DRAINING = (4005, "draining", True)
    SLOW = (4008, "the client reads too slowly", True)
    HEARTBEAT_LOST = (4012, "heartbeat lost", True)
    RATE_LIMITED = (4013, "too many events", True)
    SUPERSEDED = (4014, "superseded by a newer connection", True)
    TOKEN_EXPIRED = (4401, "token expired", True)
    REVOKED = (4403, "revoked", False)
    BAD_REQUEST = (4500, "bad request", False)
    NOT_AUTHENTICATED = (4501, "not authenticated", False)
    TOO_MANY_CONNECTIONS = (4504, "too many connections", False)

    def __init__(self, code: int, reason: str, reconnect: bool) -> None:  # noqa: FBT001 - a column
        self.code = code
        self.reason = reason
        self.reconnect = reconnect
