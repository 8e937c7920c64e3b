"""Request heads and handshakes without a connection, with h11 as the second opinion."""

from __future__ import annotations

from contextlib import suppress

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatd.errors import ChatError
from chatd.wire.http import RequestHead, check_partial, handshake_answer, parse_head
from chatd.wire.http_refusals import BadRequest, HeadTooLarge

LIMIT = 16_384


def parse(*lines: bytes) -> RequestHead:
    return parse_head(b"".join(line + b"\r\n" for line in lines), LIMIT)


def get(*headers: bytes, target: bytes = b"/") -> RequestHead:
    return parse(b"GET " + target + b" HTTP/1.1", b"Host: chat.test", *headers)


def refused(*lines: bytes) -> int:
    with pytest.raises(ChatError) as refusal:
        parse(*lines)
    return refusal.value.status


def test_a_head_is_read_with_lower_case_names_and_a_decoded_path() -> None:
    head = get(b"X-One:\t a b \t", b"x-one: c", target=b"/caf%C3%A9/x?a=1&b=%20+&a=2&c=")
    assert (head.method, head.path, head.http_version) == ("GET", "/café/x", "1.1")
    assert head.target == "/caf%C3%A9/x?a=1&b=%20+&a=2&c="
    assert head.query == {"a": "2", "b": "  ", "c": ""}
    assert head.headers == [(b"host", b"chat.test"), (b"x-one", b"a b"), (b"x-one", b"c")]
    assert (head.header(b"x-one"), head.header(b"x-two")) == (b"a b", None)
    assert head.values(b"x-one") == [b"a b", b"c"]
    assert (head.body_length, head.keeps_alive, head.wants_websocket) == (0, True, False)


def test_one_empty_line_before_a_request_is_forgiven() -> None:
    assert parse(b"", b"GET / HTTP/1.1", b"Host: a").path == "/"
    assert refused(b"", b"", b"GET / HTTP/1.1", b"Host: a") == 400


def test_http_1_0_needs_no_host_and_is_never_kept_alive() -> None:
    head = parse(b"GET / HTTP/1.0", b"Connection: keep-alive", b"Expect: anything")
    assert (head.keeps_alive, head.expects_continue) == (False, False)


@pytest.mark.parametrize(
    ("header", "length"),
    [
        (b"Content-Length: 12", 12),
        (b"Content-Length: 0", 0),
        (b"Transfer-Encoding: Chunked", None),
    ],
)
def test_the_framing_of_a_body_is_read(header: bytes, length: int | None) -> None:
    assert get(header).body_length == length


def test_a_body_that_says_it_is_not_compressed_is_taken() -> None:
    assert get(b"Content-Encoding: identity", b"Content-Length: 1").body_length == 1


REFUSED_TARGETS = [
    *(b"/%", b"/%4", b"/%zz", b"/%00", b"/%ff", b"/%c0%af", b"/a%2fb", b"/..%2F", b"/%5c", b"/\\"),
    *(b"/../x", b"/a/..", b"/a/./b", b"/%2e%2e/x", b"//evil.test/", b"/#a", b"/%0d%0a", b"/%7f"),
    *(b"*", b"a", b"http://chat.test/", b"chat.test:80", b"/?a=%", b"/?a=%00", b"/?a=%ff"),
    b"/?" + b"&".join(b"a=1" for _ in range(65)),
]


@pytest.mark.parametrize("target", REFUSED_TARGETS)
def test_a_target_that_can_be_read_in_two_ways_is_refused(target: bytes) -> None:
    assert refused(b"GET " + target + b" HTTP/1.1", b"Host: a") == 400


@pytest.mark.parametrize("path", [b"/.well-known/x", b"/a..b", b"/...", b"/a.b/~c;d=e,f(g)"])
def test_dots_within_a_name_are_no_traversal(path: bytes) -> None:
    assert get(target=path).path == path.decode()


@pytest.mark.parametrize(
    "host", [b"a", b"a.b-c.test:8000", b"127.0.0.1", b"[::1]:80", b"[2001:db8::1]"]
)
def test_a_host_is_a_name_or_an_address_with_or_without_a_port(host: bytes) -> None:
    assert parse(b"GET / HTTP/1.1", b"Host: " + host).header(b"host") == host


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"a/b", b"u@a", b"a:b", b"a,b", b"[::1", b"a:123456"]
)
def test_anything_else_is_no_host(host: bytes) -> None:
    assert refused(b"GET / HTTP/1.1", b"Host: " + host) == 400


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc", 400),
        (b"GET /\r\n", 400),
        (b"\r\nGET /\r\n", 400),
        (b"PRI * HTTP/2.0\r\n", 505),
        (b"BREW / HTTP/1.1\r\n", 405),
        (b"GET /" + b"a" * LIMIT, 431),
    ],
)
def test_a_beginning_that_cannot_become_a_head_is_refused_at_once(
    received: bytes, status: int
) -> None:
    with pytest.raises(ChatError) as refusal:
        check_partial(received, 0, LIMIT)
    assert refusal.value.status == status


def test_any_beginning_of_a_good_head_is_waited_for() -> None:
    head = b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n"
    for size in range(len(head) + 1):
        check_partial(head[:size], max(size - 1, 0), LIMIT)


def test_a_head_over_the_limit_is_refused() -> None:
    with pytest.raises(HeadTooLarge):
        parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n", 10)


def h11_reads(raw: bytes) -> tuple[h11.Request, bool] | None:
    """What h11 makes of a head: the request, and whether a body follows; None if it refuses."""
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(raw + b"\r\n")
    try:
        event, behind = parser.next_event(), parser.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.Request)
    return event, not isinstance(behind, h11.EndOfMessage)


HEADER_LINES = st.sampled_from(
    [
        *(b"Host: a", b"Host : a", b"Content-Length: 5", b"Content-Length: 5, 5", b" folded"),
        *(b"Content-Length: +5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"X: \x00"),
        *(b"Transfer-Encoding: gzip, chunked", b"Connection: close", b"X: \xe4", b": y", b"X"),
        *(b"Upgrade: websocket", b"X: a\rb", b"X: a\nb", b"X:\ty\t", b"Expect: 100-continue"),
    ]
)


@given(
    st.lists(HEADER_LINES, max_size=5),
    st.sampled_from([b"/", b"/a?b=c", b"*", b"/%41", b"http://a/", b"/ ", b"/\x7f"]),
    st.sampled_from([b"1.1", b"1.0", b"2.0", b"1.10"]),
)
@example([b"Host: a", b"Content-Length: 5"], b"/", b"1.1")
def test_h11_reads_every_head_that_is_taken_in_the_same_way(
    lines: list[bytes], target: bytes, version: bytes
) -> None:
    raw = b"".join(
        line + b"\r\n" for line in [b"POST " + target + b" HTTP/" + version, b"Host: b", *lines]
    )
    try:
        head = parse_head(raw, LIMIT)
    except ChatError:
        return
    reading = h11_reads(raw)
    assert reading is not None
    request, has_body = reading
    assert head.method.encode() == request.method
    assert head.target.encode() == request.target
    assert head.http_version.encode() == request.http_version
    assert (head.body_length != 0) == has_body
    # h11 lower-cases the value of Transfer-Encoding; ours are as they came.
    assert [(name, value.lower()) for name, value in head.headers] == [
        (name, value.lower()) for name, value in request.headers
    ]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_but_a_refusal(noise: bytes) -> None:
    for raw in (
        noise,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + noise,
        b"GET /" + noise + b" HTTP/1.1\r\n",
    ):
        with suppress(ChatError):
            check_partial(raw, 0, LIMIT)
            parse_head(raw, LIMIT)


HANDSHAKE = (
    b"Upgrade: WebSocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


def test_the_handshake_of_the_rfc_is_answered_as_in_the_rfc() -> None:
    head = get(*HANDSHAKE, b"Sec-WebSocket-Extensions: permessage-deflate")
    assert head.wants_websocket
    answer = handshake_answer(head, "r1")
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Extensions" not in answer  # declined
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (0, b"Upgrade: websocket, h2c", 400),
        (0, b"Upgrade: websocket\r\nUpgrade: websocket", 400),
        (1, b"Connection: keep-alive", 400),
        (2, b"X: y", 400),
        (2, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", 400),
        (2, b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j", 400),
        (2, HANDSHAKE[2] + b"\r\n" + HANDSHAKE[2], 400),
        (3, b"X: y", 426),
        (3, b"Sec-WebSocket-Version: 8", 426),
        (3, HANDSHAKE[3] + b"\r\nContent-Length: 1", 400),
        (3, HANDSHAKE[3] + b"\r\nTransfer-Encoding: chunked", 400),
    ],
)
def test_another_handshake_is_refused(old: int, new: bytes, status: int) -> None:
    lines = [new if index == old else line for index, line in enumerate(HANDSHAKE)]
    with pytest.raises(ChatError) as refusal:
        handshake_answer(get(*lines), "r1")
    assert refusal.value.status == status


@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.0"])
def test_a_handshake_is_a_get_of_http_1_1(line: bytes) -> None:
    with pytest.raises(BadRequest):
        handshake_answer(parse(line, b"Host: a", *HANDSHAKE), "r1")
