"""Signed links: for what they were made, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import Forbidden
from chatd.keys import SigningKey
from chatd.links import Link, Links

OLD, NEW = SigningKey("old", b"o" * 32), SigningKey("new", b"n" * 32)
LINK = Link("GET", "0" * 32, 1000, 5, "image/png", "inline", "anna")
LINKS = Links([NEW, OLD])
TEXT = LINKS.sign(LINK)


def test_a_link_says_what_it_was_made_for_until_it_ends() -> None:
    assert LINKS.verify(TEXT, "GET", 999.9) == LINK
    with pytest.raises(Forbidden, match="expired"):
        LINKS.verify(TEXT, "GET", 1000)
    with pytest.raises(Forbidden, match="is for GET"):
        LINKS.verify(TEXT, "PUT", 0)


def test_a_link_of_a_key_that_no_longer_signs_is_good_and_of_a_foreign_one_is_not() -> None:
    assert LINKS.verify(Links([OLD]).sign(LINK), "GET", 0) == LINK
    with pytest.raises(Forbidden):
        LINKS.verify(Links([SigningKey("new", b"x" * 32)]).sign(LINK), "GET", 0)


@given(place=st.integers(0, len(TEXT) - 1), letter=st.sampled_from("ABCxyz019-_.=~ é\0"))
def test_a_link_with_another_letter_is_refused(place: int, letter: str) -> None:
    changed = TEXT[:place] + letter + TEXT[place + 1 :]
    if changed != TEXT:
        with pytest.raises(Forbidden):
            LINKS.verify(changed, "GET", 0)


@given(text=st.one_of(st.text(max_size=80), st.text("abcAB01-_.=", max_size=80)))
def test_no_other_text_is_a_link(text: str) -> None:
    with pytest.raises(Forbidden):
        LINKS.verify(text, "GET", 0)


def test_the_signing_key_itself_signs_no_link() -> None:
    import hashlib  # noqa: PLC0415 - what a forger would do
    import hmac  # noqa: PLC0415 - as above

    payload = TEXT.partition(".")[0]
    mac = hmac.digest(NEW.secret, payload.encode(), hashlib.sha256)
    forged = f"{payload}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(Forbidden):
        LINKS.verify(forged, "GET", 0)
