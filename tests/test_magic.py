"""What bytes are: a claim is held against them, and what is not proved is not shown."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.magic import WrongTypeError, is_shown, served_type
from tests.files.kit import picture


def zipped(name: str) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr(name, "x")
    return output.getvalue()


def ftyp(brand: bytes) -> bytes:
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + brand * 2 + bytes(100)


WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PDF = b"%PDF-1.7\n"
MP3 = b"ID3\x04" + bytes(100)
WEBM = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm"


@pytest.mark.parametrize(
    ("declared", "head", "served"),
    [
        ("image/png", picture(), "image/png"),
        ("image/jpg", picture(kind="JPEG"), "image/jpeg"),
        ("image/gif", picture(kind="GIF"), "image/gif"),
        ("image/webp", picture(kind="WEBP"), "image/webp"),
        ("application/pdf", PDF, "application/pdf"),
        ("application/zip", zipped("a"), "application/zip"),
        ("application/x-zip-compressed", zipped("a"), "application/zip"),
        (WORD, zipped("word/document.xml"), None),
        ("application/vnd.apple.pages", zipped("Index.zip"), None),
        ("video/mp4", ftyp(b"isom"), "video/mp4"),
        ("video/mp4", ftyp(b"zzzz"), None),
        ("audio/mp3", MP3, "audio/mpeg"),
        ("video/webm", WEBM, "video/webm"),
        ("audio/webm", WEBM, "video/webm"),
        ("text/plain", b"BMW builds cars", None),
        ("text/csv", b"a;b\n", None),
        ("text/html", b"<html>", None),
        ("image/svg+xml", b"<svg/>", None),
        ("application/json", b"{}", None),
        ("application/octet-stream", picture(), None),
        ("application/x-unheard-of", b"MZ" + bytes(100), None),
        ("application/gzip", gzip.compress(b"x"), None),
        ("image/heic", b"not that", None),
        ("font/woff2", b"wOF2\0\1\0\0", None),
    ],
)
def test_what_is_as_it_was_said_is_served_as_what_was_proved(
    declared: str, head: bytes, served: str | None
) -> None:
    assert served_type(declared, head) == served


@pytest.mark.parametrize(
    ("declared", "head"),
    [
        ("image/png", b"<script>"),
        ("image/png", b""),
        ("image/png", picture(kind="GIF")),
        ("image/jpeg", PDF),
        ("application/pdf", picture()),
        ("application/zip", b"words"),
        ("application/zip", picture()),
        ("video/mp4", picture()),
        ("video/mp4", b"MZ" + bytes(100)),
        ("application/x-unheard-of", picture()),
        ("text/plain", picture()),
        ("image/svg+xml", b"\0"),
        (WORD, PDF),
    ],
)
def test_what_is_not_as_it_was_said_is_refused(declared: str, head: bytes) -> None:
    with pytest.raises(WrongTypeError):
        served_type(declared, head)


@given(
    declared=st.sampled_from(
        ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml", "text/javascript",
         "application/xml", "text/css", "multipart/x-mixed-replace", "application/wasm",
         "application/octet-stream", "x/y"]
    ),
    head=st.one_of(
        st.binary(max_size=64), st.sampled_from([picture()[:64], PDF, b"GIF89a<script>"])
    ),
)  # fmt: skip
def test_nothing_that_may_run_is_ever_shown(declared: str, head: bytes) -> None:
    try:
        served = served_type(declared, head)
    except WrongTypeError:
        return
    assert served is None
    assert not is_shown(served)


def test_a_polyglot_is_what_its_first_bytes_are() -> None:
    assert served_type("image/gif", b"GIF89a/*<script>*/=1") == "image/gif"
    with pytest.raises(WrongTypeError):
        served_type("text/html", b"GIF89a\0<script>")
