"""One REST call on a connection of its own, for tests."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import orjson
import trio

ANSWER_TIMEOUT = 60.0  # seconds on Trio's clock: the server's own deadlines add up to less


@dataclass
class Answer:
    """What a REST call was answered; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The error code of a refusal."""
        code: str = self.json["error"]["code"]
        return code


def request_bytes(
    method: str, path: str, body: Any, *, token: str | None, headers: Iterable[str]
) -> bytes:
    """Return a request after which the connection closes; see `ChatServer.rest`."""
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: chatd.test", "Connection: close", *headers]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines.append(f"Content-Length: {len(raw)}")
        if not any(line.lower().startswith("content-type:") for line in lines):
            lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + raw


class _Received:
    """Bytes in the shape in which `http.client` wants a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


async def ask(stream: trio.abc.Stream, request: bytes, method: str) -> Answer:
    """Send a request, read to the connection's end, and return the answer.

    Raises:
        trio.TooSlowError: no answer within `ANSWER_TIMEOUT`.
        http.client.HTTPException: the connection ended before the answer did.
    """
    received = bytearray()
    with trio.fail_after(ANSWER_TIMEOUT):
        await stream.send_all(request)
        while piece := await stream.receive_some():
            received += piece
    response = http.client.HTTPResponse(cast("Any", _Received(bytes(received))), method=method)
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())
