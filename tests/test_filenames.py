"""Names of files: what is kept of them, and how they are written into headers."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.filenames import MAX_NAME, clean_file_name, disposition

ODD = st.text(
    st.one_of(st.characters(), st.sampled_from("/\\\r\n\0.\u202e\u2066\u200b\ufeff\"%';=猫")),
    max_size=300,
)


@given(text=ODD)
def test_a_clean_name_is_one_line_without_folders_and_hidden_letters(text: str) -> None:
    try:
        name = clean_file_name(text)
    except ValueError:
        return
    assert 0 < len(name) <= MAX_NAME
    assert not re.search(r"[/\\\r\n\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b]", name)
    assert name not in {".", ".."}
    assert clean_file_name(name) == name
    name.encode()


@given(text=ODD)
def test_a_disposition_is_one_header_that_says_the_name(text: str) -> None:
    try:
        name = clean_file_name(text)
    except ValueError:
        return
    header = disposition("attachment", name)
    assert header.isascii()
    assert header.isprintable()
    match = re.fullmatch(
        r"attachment; filename=\"([\x20-\x7e]*)\"(?:; filename\*=UTF-8''(.*))?", header
    )
    assert match is not None
    plain, full = match.groups()
    assert not set(plain) & set('"\\%')
    assert (plain if full is None else unquote(full, errors="strict")) == name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (".bashrc", ".bashrc"),
        ("a  b\tc.txt", "a bc.txt"),
        ("e\u0301.txt", "é.txt"),
        ("/", None),
        ("...", None),
        ("a/..", None),
        ("\u200b", None),
        ("x" * 255, "x" * 255),
        ("x" * 256, None),
    ],
)
def test_names_as_they_are_kept(sent: str, kept: str | None) -> None:
    if kept is None:
        with pytest.raises(ValueError, match="is "):
            clean_file_name(sent)
    else:
        assert clean_file_name(sent) == unicodedata.normalize("NFC", kept)
