"""Bodies, cut in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import PayloadTooLarge
from chatd.wire.http_body import FREE_FRAMING_BYTES, MAX_EXTENSION_BYTES, BodyReader
from chatd.wire.http_refusals import BadRequest


def feed(reader: BodyReader, data: bytes, size: int) -> tuple[bytes, bytes]:
    """Feed `data` in pieces; return the body and what was left alone."""
    buffer, body = bytearray(), b""
    for start in range(0, len(data), size):
        buffer += data[start : start + size]
        while piece := reader.feed(buffer):
            body += piece
    return body, bytes(buffer)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.integers(1, 40), st.booleans())
def test_a_chunked_body_is_the_same_however_it_is_cut(
    chunks: list[bytes], size: int, is_extended: bool
) -> None:
    extension = b";a=b" if is_extended else b""
    wire = b"".join(b"%X%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks) + b"0\r\n\r\n"
    reader = BodyReader(None, 10_000)
    assert feed(reader, wire + b"GET /", size) == (b"".join(chunks), b"GET /")
    assert reader.is_complete
    assert reader.received == len(b"".join(chunks))


@given(st.binary(max_size=100), st.integers(1, 40))
def test_a_body_with_a_length_leaves_what_follows_alone(body: bytes, size: int) -> None:
    reader = BodyReader(len(body), 1000)
    assert feed(reader, body + b"GET /", size) == (body, b"GET /")
    assert reader.is_complete


@pytest.mark.parametrize(
    "wire",
    [
        *(
            b"0x5\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b"5 \r\n",
            b" 5\r\n",
            b"\r\n",
            b"g\r\n",
            b"5\n",
            b";a\r\n",
        ),
        b"0" * 16 + b"1\r\n",
        b"1\r\nabc",
        b"1\r\na\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"1;" + b"x" * (MAX_EXTENSION_BYTES + 1) + b"\r\n",
        b"1;" + b"x" * 1000,
        b"1;\x00\r\n",
    ],
)
def test_broken_chunks_are_refused(wire: bytes) -> None:
    with pytest.raises(BadRequest):
        feed(BodyReader(None, 100), wire, len(wire))
    with pytest.raises(BadRequest):
        feed(BodyReader(None, 100), wire, 1)


def test_a_chunk_that_would_pass_the_limit_is_refused_at_its_line() -> None:
    with pytest.raises(PayloadTooLarge):
        BodyReader(None, 100).feed(bytearray(b"65\r\n"))
    with pytest.raises(PayloadTooLarge):
        BodyReader(101, 100)


def test_more_framing_than_payload_is_refused_beyond_what_is_free() -> None:
    reader = BodyReader(None, 1_000_000)
    chunk, spent = b"1\r\nx\r\n", FREE_FRAMING_BYTES // 5
    assert len(reader.feed(bytearray(chunk * spent))) == spent
    with pytest.raises(BadRequest):
        reader.feed(bytearray(chunk * spent))
