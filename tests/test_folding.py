"""Folding, and where the words of a query stand in a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.folding import fold, snippet_of, words_of

LETTERS = "aAé ßøıİΣςПё東がｶﾞﾊﾟ한ﬁＷ👍🏽\u0301\u1161"


def marked(text: str, query: str) -> list[str]:
    """Return what the hits of a snippet cover, counted as JavaScript does."""
    snippet = snippet_of(text, words_of(query))
    units = snippet.text.encode("utf-16-le")
    return [units[2 * start : 2 * end].decode("utf-16-le") for start, end in snippet.hits]


def test_folding_leaves_no_case_no_accent_and_one_width() -> None:
    assert fold("Crème BRÛLÉE") == "creme brulee"
    assert fold("Ёлка ΟΔΟΣ Øre İstanbul \uff26ull ﬁn") == "елка οδοσ ore istanbul full fin"
    assert fold("ｶﾞ が か 한국 東京") == "ガ が か 한국 東京"
    assert words_of("Tea té  TEA cake") == ["tea", "te", "cake"]


@pytest.mark.parametrize(
    ("text", "query", "hits"),
    [
        ("Hello world", "WOR hel", ["Hel", "wor"]),
        ("Crème brûlée", "creme lee", ["Crème", "lée"]),
        ("👍🏽 and 👍", "👍", ["👍", "👍"]),
        ("👍👍 done", "done", ["done"]),
        ("今天去东京都", "东京", ["东京"]),
        ("ｶﾞﾗｽ", "ガラ", ["ｶﾞﾗ"]),
        ("ﬁrst", "irs", ["ﬁrs"]),
        ("e\u0301te\u0301", "et", ["e\u0301t"]),
        ("teapot", "tea apo", ["teapo"]),
        ("aaaa", "aa", ["aaaa"]),
        ("nothing", "zz", []),
    ],
)
def test_hits_cover_what_was_found_in_whole_letters(text: str, query: str, hits: list[str]) -> None:
    assert marked(text, query) == hits


def test_a_snippet_is_the_text_around_the_first_hit() -> None:
    text = "x" * 300 + " needle " + "y" * 300 + " needle"
    snippet = snippet_of(text, ["needle"])
    assert snippet.text == text[261:421]
    assert snippet.hits == [(40, 46)]
    assert snippet_of("short", ["needle"]) == ("short", [])
    long = "n" * 200
    assert snippet_of(f"a {long}", [long]).hits == [(2, 202)]


@given(st.text(LETTERS, max_size=30), st.text(LETTERS, min_size=1, max_size=3))
def test_hits_lie_in_order_within_the_snippet_and_hold_the_word(text: str, query: str) -> None:
    words = words_of(query)
    snippet = snippet_of(text, words)
    assert snippet.text in text
    ends = [place for hit in snippet.hits for place in hit]
    assert ends == sorted(ends)
    assert not ends or ends[-1] <= len(snippet.text.encode("utf-16-le")) // 2
    for piece in marked(text, query):
        assert any(word in fold(piece) for word in words)
