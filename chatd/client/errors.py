"""What can go wrong for a client, with one code a cause.

Codes of the server are those of protocol.md section 1. The client adds its own: `unreachable`
(no connection to the server), `timed_out` (no answer in time), `bad_answer` (an answer that is not
the protocol), `connection_lost` (the live connection ended) and `overflow` (events were not read).
"""

from __future__ import annotations

from typing import Any

from chatd.errors import CloseCode

JsonObject = dict[str, Any]

_FINAL_CODES = frozenset(close.code for close in CloseCode if not close.reconnect)


class ClientError(Exception):
    """A call that failed; branch on `code`, show `message`.

    Args:
        code: of the server, or one of the client's own.
        message: for people.
        retryable: whether the same call may succeed later, unchanged.
        retry_after: seconds to wait before that, when the server said so.
        details: facts for programs, such as the fields that failed.
        request_id: under which the server logged it.
        status: of the HTTP answer, None on the live connection.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        details: JsonObject | None = None,
        request_id: str | None = None,
        status: int | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = details
        self.request_id = request_id
        self.status = status
        super().__init__(f"{code}: {message}")


class ConnectionLost(ClientError):
    """The live connection ended, or could not be opened.

    Args:
        message: why, for people.
        close_code: of the WebSocket; 1006 when there was no close frame.
        code: `connection_lost` unless something more exact is known.
        is_final: coming back is pointless; None takes it from the close code.
        retry_after: seconds that the server asks to stay away.
        status: of the HTTP answer that refused the upgrade.
    """

    def __init__(
        self,
        message: str,
        *,
        close_code: int = 1006,
        code: str = "connection_lost",
        is_final: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        self.close_code = close_code
        self.is_final = close_code in _FINAL_CODES if is_final is None else is_final
        super().__init__(
            code, message, retryable=not self.is_final, retry_after=retry_after, status=status
        )


def refusal(error: object, *, status: int | None = None) -> ClientError:
    """Return the exception for an `error` object of the wire; anything else is `bad_answer`."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return ClientError(
            "bad_answer",
            f"the server refused without a reason (status {status})",
            retryable=status is not None and status >= 500,  # noqa: PLR2004 - server errors, RFC 9110 15.6
            status=status,
        )
    wait = error.get("retryAfterMs")
    return ClientError(
        error["code"],
        str(error.get("message", "")),
        retryable=bool(error.get("retryable", False)),
        retry_after=wait / 1000 if isinstance(wait, int | float) else None,
        details=error.get("details"),
        request_id=error.get("requestId"),
        status=status,
    )
