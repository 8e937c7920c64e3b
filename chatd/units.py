"""Positions in a text as JavaScript counts them: UTF-16 units. Pure."""

from __future__ import annotations

_LOW_SURROGATES = range(0xDC, 0xE0)  # the first byte of the second unit of a pair


def units_in(text: str) -> int:
    """Return how many units a text has."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def slice_units(text: str, index: int) -> tuple[str, int]:
    """Return a text from an index on, and where that begins: at most at its end, in no pair."""
    if text.isascii():
        return text[index:], min(index, len(text))
    raw = text.encode("utf-16-be")
    index = min(index, len(raw) // 2)
    if 2 * index < len(raw) and raw[2 * index] in _LOW_SURROGATES:
        index -= 1
    return raw[2 * index :].decode("utf-16-be"), index
