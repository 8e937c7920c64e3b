"""The validated types of which commands are made."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, EmailStr, Field, StringConstraints

from chatd.password_rules import MAX_LENGTH, MIN_LENGTH, clean_password

MAX_CONTENT = 16_384  # characters: Mattermost's limit, four printed pages
MAX_MARKS = 30  # that combine, in a row: more than any language has (UAX #15, Stream-Safe)
MAX_NAME = 80  # characters
MAX_EMOJI = 32  # bytes of UTF-8: the flag of Wales has 28, a family of four 25
MAX_MENTIONS = 50  # people called by name; who wants more of them calls all
MAX_ATTACHMENTS = 10  # files of a message: a row of pictures
MAX_QUERY = 200  # characters
MAX_WORDS = 8  # of a query: each is one more pattern that every candidate is held against
MAX_SEQ = 2**53 - 1  # what a JavaScript number holds exactly

# Control characters other than tab and newline, and surrogates, which UTF-8 cannot carry.
_FORBIDDEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
# What a name does not need and nobody sees: direction, zero width, soft hyphens. The joiners stay:
# Persian, Indic scripts and emoji are written with them.
_HIDDEN = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that show nothing
_STACK = re.compile(rb"[^\0]{%d}" % (MAX_MARKS + 1))
_TWO_MARKS = ("\u0f73", "\u0f75", "\u0f81")  # class 0, yet made of two that combine


def _clean_text(text: str) -> str:
    cleaned = text.replace("\r\n", "\n").strip()
    if not cleaned.isascii():
        if len(cleaned) > MAX_MARKS:
            _check_marks(cleaned)
        cleaned = unicodedata.normalize("NFC", cleaned)
    if not cleaned:
        msg = "is empty"
        raise ValueError(msg)
    # What prints, as nearly every line does, holds none.
    if not cleaned.isprintable() and _FORBIDDEN.search(cleaned):
        msg = "holds control characters"
        raise ValueError(msg)
    return cleaned


def _check_marks(text: str) -> None:
    """Refuse marks without end: sorting them takes the square of their number, 0.5 s of 16,384."""
    for mark in _TWO_MARKS:
        text = text.replace(mark, "\u0f71\u0f72")
    if _STACK.search(bytes(map(unicodedata.combining, text))):
        msg = "stacks too many marks"
        raise ValueError(msg)


def _clean_content(text: str) -> str:
    cleaned = _clean_text(text)
    if len(cleaned) > MAX_CONTENT:  # NFC makes three characters of some
        msg = "is too long"
        raise ValueError(msg)
    return cleaned


def _clean_caption(text: str) -> str:
    return _clean_content(text) if text.strip() else ""


def _clean_emoji(text: str) -> str:
    cleaned = unicodedata.normalize("NFC", text)
    if _FORBIDDEN.search(cleaned) or any(map(str.isspace, cleaned)):
        msg = "holds control characters or space"
        raise ValueError(msg)
    if len(cleaned.encode()) > MAX_EMOJI:
        msg = "is too long"
        raise ValueError(msg)
    return cleaned


def clean_name(text: str, limit: int = MAX_NAME) -> str:
    """Return a name as it is kept: one line that shows, NFKC, without hidden characters.

    Raises:
        ValueError: it holds control characters, shows nothing, or is too long.
    """
    cleaned = unicodedata.normalize("NFKC", _clean_text(text))
    if not cleaned.isascii():
        cleaned = _HIDDEN.sub("", cleaned).strip()
    if "\n" in cleaned or "\t" in cleaned:
        msg = "is one line"
        raise ValueError(msg)
    if not any(map(_shows, cleaned)):
        msg = "is empty"
        raise ValueError(msg)
    if len(cleaned) > limit:  # NFKC makes 18 characters of some
        msg = "is too long"
        raise ValueError(msg)
    return cleaned


def _shows(letter: str) -> bool:
    """Whether a character is seen alone. What this Python does not know may be a new emoji."""
    category = unicodedata.category(letter)
    return category[0] not in "ZM" and category != "Cf" and letter not in _BLANK


def clean_query(text: str) -> str:
    """Return what to search for: one line, at most `MAX_WORDS` words; or ValueError."""
    words = _clean_text(text).split()
    if len(words) > MAX_WORDS:
        msg = f"has more than {MAX_WORDS} words"
        raise ValueError(msg)
    return " ".join(words)


def _without_repeats(ids: list[UUID]) -> list[UUID]:
    if len(set(ids)) != len(ids):
        msg = "names one twice"
        raise ValueError(msg)
    return ids


def _in_utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        msg = "needs a time zone"
        raise ValueError(msg)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        msg = "is beyond the calendar"
        raise ValueError(msg) from None


def _lower(address: str) -> str:
    return address.lower()


Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT), AfterValidator(_clean_content)
]
Caption = Annotated[str, Field(max_length=MAX_CONTENT), AfterValidator(_clean_caption)]
Emoji = Annotated[str, Field(min_length=1, max_length=MAX_EMOJI), AfterValidator(_clean_emoji)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(clean_name)]
Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(_lower)]
Password = Annotated[
    str,
    StringConstraints(min_length=MIN_LENGTH, max_length=MAX_LENGTH),
    AfterValidator(clean_password),
]
ClientMsgId = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$", description="unique per sender"),
]
Mentioned = Annotated[list[UUID], Field(max_length=MAX_MENTIONS)] | Literal["ALL"]
Attached = Annotated[
    list[UUID], Field(max_length=MAX_ATTACHMENTS), AfterValidator(_without_repeats)
]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ, strict=True)]
Limit = Annotated[int, Field(ge=1, le=100)]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Switch = Annotated[bool, Field(strict=True)]
