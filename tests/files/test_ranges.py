"""Ranges, as RFC 9110 14 has them: a property against a reading of the RFC, then on a real port."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.wire.http import RequestHead
from chatd.wire.ranges import Span, Unsatisfiable, is_known, requested, span_of
from tests.files.kit import open_site

SIZE = 1_000
DATA = bytes(each % 251 for each in range(SIZE))
ETAG = b'"abc"'


def head(method: str = "GET", **headers: str) -> RequestHead:
    lines = [(name.replace("_", "-").encode(), each.encode()) for name, each in headers.items()]
    return RequestHead(method, "/", "/", {}, lines, "1.1")


def expected(first: int | None, last: int | None, size: int) -> bytes | None:
    """Return the bytes that a range means by the RFC, None when it is no range."""
    everything = bytes(size)
    if first is None:
        assert last is not None
        return everything[-last:] if last else b""
    if last is not None and last < first:
        return None
    return everything[first:] if last is None else everything[first : last + 1]


bounds = st.one_of(st.none(), st.integers(0, 30), st.integers(0, 10**14))


@given(first=bounds, last=bounds, size=st.integers(1, 25))
def test_a_range_is_what_the_rfc_says_or_ignored_and_never_outside_of_the_file(
    first: int | None, last: int | None, size: int
) -> None:
    value = f"bytes={'' if first is None else first}-{'' if last is None else last}".encode()
    found = span_of(value, size)
    wanted = None if first is None and last is None else expected(first, last, size)
    if wanted is None:
        assert found is None
    elif not wanted:
        assert isinstance(found, Unsatisfiable)
    else:
        assert isinstance(found, Span)
        assert found.length == len(wanted)
        assert 0 <= found.start < found.start + found.length <= size
        assert found.start == (size - len(wanted) if first is None else first)


@given(value=st.binary(max_size=40), size=st.integers(1, 2**40))
def test_no_header_gives_a_range_outside_of_the_file(value: bytes, size: int) -> None:
    for each in (value, b"bytes=" + value):
        found = span_of(each, size)
        if isinstance(found, Span):
            assert found.length > 0
            assert 0 <= found.start <= found.start + found.length <= size


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "bytes=5-4", "lines=1-2"),
        *("bytes=1", "bytes=+1-2", "bytes=1-2 x", "bytes=0x1-2", "bytes=" + "9" * 16 + "-"),
    ],
)
def test_what_is_no_single_range_is_ignored(value: str) -> None:
    assert requested(head(range=value), SIZE, ETAG) is None


def test_a_range_counts_for_the_version_that_was_asked_for_only() -> None:
    span = Span(0, 2)
    assert requested(head(range="bytes=0-1"), SIZE, ETAG) == span
    assert requested(head(range="bytes=0-1", if_range='"abc"'), SIZE, ETAG) == span
    for other in ('"abd"', 'W/"abc"', "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert requested(head(range="bytes=0-1", if_range=other), SIZE, ETAG) is None
    assert requested(head("HEAD", range="bytes=0-1"), SIZE, ETAG) is None
    twice = RequestHead("GET", "/", "/", {}, [(b"range", b"bytes=0-1")] * 2, "1.1")
    assert requested(twice, SIZE, ETAG) is None


@pytest.mark.parametrize(
    ("tags", "is_there"),
    [('"abc"', True), ('W/"abc"', True), ('"x", "abc"', True), ("*", True), ('"abd"', False)],
)
def test_a_known_version_is_told_by_the_weak_comparison(tags: str, is_there: bool) -> None:
    assert is_known(head(if_none_match=tags), ETAG) is is_there
    assert not is_known(head(), ETAG)


async def test_a_download_is_given_in_parts_with_what_joins_them(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, DATA, mime_type="application/octet-stream", name="a.bin")
        url = await anna.link(file)
        whole = await site.get(url)
        assert (whole.status_code, whole.content) == (200, DATA)
        assert whole.headers["accept-ranges"] == "bytes"
        etag = whole.headers["etag"]
        for value, start, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=10-19", 10, 20),
            ("bytes=990-", 990, 1000),
            ("bytes=990-5000", 990, 1000),
            ("bytes=-7", 993, 1000),
            ("bytes=-5000", 0, 1000),
        ):
            part = await site.get(url, range=value, if_range=etag)
            assert (part.status_code, part.content) == (206, DATA[start:end])
            assert part.headers["content-range"] == f"bytes {start}-{end - 1}/1000"
            assert part.headers["content-length"] == str(end - start)
        for value in ("bytes=1000-", "bytes=-0"):
            none = await site.get(url, range=value)
            assert (none.status_code, none.content) == (416, b"")
            assert none.headers["content-range"] == "bytes */1000"
        stale = await site.get(url, range="bytes=0-9", if_range='"other"')
        assert (stale.status_code, stale.content) == (200, DATA)
        known = await site.get(url, if_none_match=etag)
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", etag)
        about = await site.outside.head(url)
        assert (about.status_code, about.content) == (200, b"")
        assert about.headers["content-length"] == "1000"
        other = await site.outside.patch(url)
        assert (other.status_code, other.headers["allow"]) == (405, "GET, HEAD, PUT, OPTIONS")
