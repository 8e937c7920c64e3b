"""Which passwords are refused: those that everybody has, and those that the account itself tells.

NIST SP 800-63B and OWASP ASVS 6.2: a length, a list of frequent ones, the words of the context, and
no rules of composition. Pure.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from urllib.parse import urlsplit

MIN_LENGTH = 8
MAX_LENGTH = 256
MIN_WORD = 3  # characters: what is shorter stands in many passwords by chance
SERVICE = "chatd"


def normal(password: str) -> str:
    """Return a password as it counts: however its letters were composed and how wide they are."""
    return unicodedata.normalize("NFKC", password)


def clean_password(password: str) -> str:
    """Return a new password as it came; or ValueError."""
    length = len(normal(password))
    if not MIN_LENGTH <= length <= MAX_LENGTH:
        msg = f"has {MIN_LENGTH} to {MAX_LENGTH} characters"
        raise ValueError(msg)
    if _folded(password) in common_passwords():
        msg = "is one of the most frequent passwords there are"
        raise ValueError(msg)
    return password


def tells(password: str, words: Iterable[str]) -> bool:
    """Return whether a password is little more than words that others know.

    What is left without them has to be a password by itself.
    """
    folded = _folded(password)
    for word in sorted(set(words), key=len, reverse=True):
        folded = folded.replace(word, "")
    return len(folded) < MIN_LENGTH or folded in common_passwords()


def words_of(email: str, public_url: str | None) -> set[str]:
    """Return the words that an account and its server tell."""
    local, _, domain = email.partition("@")
    texts = [email, local, domain.rpartition(".")[0], SERVICE]
    if public_url is not None:
        texts.append((urlsplit(public_url).hostname or "").rpartition(".")[0])
    found = set[str]()
    for text in texts:
        found.update({_folded(text), *re.split(r"[^\w]|_", _folded(text))})
    return {word for word in found if len(word) >= MIN_WORD}


@functools.cache
def common_passwords() -> frozenset[str]:
    """Return the most frequent passwords that are long enough, case-folded."""
    text = files("chatd").joinpath("common_passwords.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("# "))


def _folded(text: str) -> str:
    return normal(text).casefold()
