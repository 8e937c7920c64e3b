"""Responses: what is sent for what an application says."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import RateLimited
from chatd.wire.http import RequestHead, parse_head
from chatd.wire.http_response import Response, error_answer

GET = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n", 1000)


def respond(
    request: RequestHead | None, status: int, *headers: tuple[bytes, bytes], closes: bool = False
) -> Response:
    return Response(request, status, headers, request_id="r1", now=0, closes=closes)


def test_a_response_with_a_length_is_sent_as_it_is() -> None:
    response = respond(GET, 200, (b"Content-Length", b"2"), (b"X-A", b"b"))
    assert response.head == (
        b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"x-a: b\r\ncontent-length: 2\r\nx-request-id: r1\r\n\r\n"
    )
    assert not response.is_streamed
    assert response.encode(b"a", more=True) == b"a"
    assert response.encode(b"b", more=True) == b"b"
    assert (response.is_whole, response.is_complete) == (True, False)
    assert response.encode(b"", more=False) == b""
    assert (response.is_whole, response.is_complete) == (True, True)
    with pytest.raises(ValueError, match="behind the end"):
        response.encode(b"", more=False)


def test_a_response_without_a_length_is_chunked() -> None:
    response = respond(GET, 200)
    assert response.is_streamed
    assert b"transfer-encoding: chunked\r\n" in response.head
    assert response.encode(b"abc", more=True) == b"3\r\nabc\r\n"
    assert response.encode(b"", more=True) == b""  # it would be the end
    assert response.encode(b"d", more=False) == b"1\r\nd\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status: int) -> None:
    response = respond(GET, status)
    assert b"transfer-encoding" not in response.head
    assert response.encode(b"", more=False) == b""


def test_headers_of_the_connection_are_the_servers() -> None:
    head = respond(
        GET,
        200,
        *((b"Transfer-Encoding", b"gzip"), (b"Connection", b"keep-alive"), (b"Date", b"never")),
        (b"content-length", b"0"),
    ).head
    assert b"gzip" not in head
    assert b"keep-alive" not in head
    assert b"never" not in head


def test_an_application_can_close_the_connection_and_name_the_request() -> None:
    response = respond(GET, 299, (b"connection", b"Close"), (b"X-Request-Id", b"mine"))
    assert response.closes
    assert response.head.startswith(b"HTTP/1.1 299 \r\n")
    assert response.head.count(b"x-request-id: ") == 1
    assert b"x-request-id: mine\r\n" in response.head


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_no_header_of_the_application_writes_another_line(name: bytes, value: bytes) -> None:
    try:
        response = respond(GET, 200, (b"x" + name, value), (b"content-length", b"0"))
    except ValueError:
        return
    assert response.head.count(b"\n") == 6
    assert response.head.count(b"\r") == 6


def test_a_refusal_has_the_envelope_of_every_wire() -> None:
    headers, body = error_answer(RateLimited(retry_after=1.2), "r1")
    assert orjson.loads(body) == {
        "error": {
            "code": "rate_limited",
            "message": "Too many calls: wait and try again.",
            "retryable": True,
            "requestId": "r1",
            "retryAfterMs": 1200,
        }
    }
    assert dict(headers)[b"retry-after"] == b"2"
    assert dict(headers)[b"content-type"] == b"application/json"
