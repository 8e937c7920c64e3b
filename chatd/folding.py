"""Text as search compares it, and where words stand in it. Pure.

`fold` says in Python what search_text() of schema.sql says in SQL: no case, no accents, one width.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

BEFORE, AFTER = 40, 120  # characters of a snippet before and behind the first hit's beginning

# Not all that combines: the marks of kana make other letters, and come back with NFC.
_ACCENTS = re.compile("[\u0300-\u036f]")
_LETTERS = str.maketrans("ςøłđı", "σoldi")  # noqa: RUF001 - what has no accent to lose


class Snippet(NamedTuple):
    """A piece of a text; hits are [start, end) in UTF-16 units, as strings of JavaScript count."""

    text: str
    hits: list[tuple[int, int]]


def fold(text: str) -> str:
    """Return a text as it is compared."""
    if text.isascii():
        return text.lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare.lower()).translate(_LETTERS)


def words_of(query: str) -> list[str]:
    """Return the folded words of a query, each once."""
    return list(dict.fromkeys(fold(query).split()))


def snippet_of(text: str, words: Sequence[str]) -> Snippet:
    """Return the text around the first hit of any of these folded words, and all hits in it."""
    folded, starts = _mapped(text)
    found = sorted(_spans(folded, starts, words))
    first = found[0][0] if found else 0
    start, end = max(first - BEFORE, 0), min(first + AFTER, len(text))
    if found:
        end = max(end, found[0][1])
    units = [0, *accumulate(1 + (letter > "\uffff") for letter in text[start:end])]
    hits: list[tuple[int, int]] = []
    for low, high in found:
        if high > end:
            continue
        if hits and low - start <= hits[-1][1]:
            hits[-1] = (hits[-1][0], max(hits[-1][1], high - start))
        else:
            hits.append((low - start, high - start))
    return Snippet(text[start:end], [(units[low], units[high]) for low, high in hits])


def _spans(folded: str, starts: Sequence[int], words: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where words stand in the text of which `folded` was made: whole characters."""
    for word in words:
        place = folded.find(word)
        while place >= 0:
            last = place + len(word) - 1
            low, end = starts[place], last + 1
            while end < len(folded) and starts[end] == starts[last]:
                end += 1
            yield low, starts[end]
            place = folded.find(word, last + 1)


def _mapped(text: str) -> tuple[str, Sequence[int]]:
    """Return a folded text, and for each of its letters (and its end) where it comes from."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    parts: list[str] = []
    starts: list[int] = []
    for place, cluster in _clusters(text):
        part = _fold_cluster(cluster)
        parts.append(part)
        starts.extend([place] * len(part))
    return "".join(parts), [*starts, len(text)]


def _clusters(text: str) -> Iterator[tuple[int, str]]:
    """Yield each letter with what combines with it, and where it begins."""
    begin = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or not _joins(text[place]):
            yield begin, text[begin:place]
            begin = place


def _joins(letter: str) -> bool:
    return letter > "\u02ff" and (
        unicodedata.combining(letter) != 0
        or "\u1160" <= letter <= "\u11ff"  # Hangul, in parts
        or letter in "\uff9e\uff9f"  # the marks of half-width kana
    )


@functools.lru_cache(maxsize=4096)
def _fold_cluster(cluster: str) -> str:
    return fold(cluster)
