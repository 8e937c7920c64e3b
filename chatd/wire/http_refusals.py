"""What the HTTP wire itself refuses, by status; the codes are those of protocol.md section 1."""

from __future__ import annotations

from chatd.errors import DeadlineExceeded, PayloadTooLarge, ValidationFailed


class BadRequest(ValidationFailed):
    """The request is not HTTP/1.1 in the form that this server takes."""

    status = 400


class RequestTimeout(DeadlineExceeded):
    """The request did not arrive in time."""

    status = 408


class UnsupportedMediaType(ValidationFailed):
    """The body comes in a form that this server does not take."""

    status = 415


class ExpectationFailed(ValidationFailed):
    """The only expectation known here is 100-continue."""

    status = 417


class UpgradeRequired(ValidationFailed):
    """The path speaks WebSocket, version 13."""

    status = 426


class HeadTooLarge(PayloadTooLarge):
    """The request line and the headers are larger than this server takes."""

    status = 431


class CodingNotImplemented(ValidationFailed):
    """The only transfer coding known here is chunked."""

    status = 501


class VersionNotSupported(ValidationFailed):
    """Spoken here is HTTP/1.1; another version is the proxy's work."""

    status = 505
