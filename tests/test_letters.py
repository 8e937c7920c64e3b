"""Letters as they leave: one recipient, plain text, the headers that programs expect."""

from __future__ import annotations

import email
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage

import pytest

from chatd import letters
from chatd.letters import Letter, mailbox, message_of
from chatd.mail_settings import Sender

SITE = "https://chat.example.org"
LINK = f"{SITE}/auth/verify#token=" + "t" * 43
TO = "ann@example.org"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ALL = [
    letters.verification(TO, SITE, LINK, 86_400),
    letters.email_change(TO, SITE, LINK, 86_400),
    letters.address_taken(TO, SITE),
    letters.password_reset(TO, SITE, LINK, 900),
    letters.password_changed(TO, SITE),
    letters.email_change_asked(TO, SITE, "new@example.org"),
    letters.email_changed(TO, SITE, "new@example.org"),
    letters.identity_linked(TO, SITE, "https://accounts.google.com"),
]


def sent(letter: Letter, sender: Sender | None = None) -> EmailMessage:
    """Return a letter as the one who gets it reads it."""
    message = message_of(letter, sender or Sender("Tea", "tea@example.org"), NOW)
    return email.message_from_bytes(message.as_bytes(), policy=policy.default)


def text_of(message: EmailMessage) -> str:
    return str(message.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("letter", ALL, ids=lambda letter: letter.kind)
def test_a_letter_has_the_headers_and_the_text_that_programs_and_people_expect(
    letter: Letter,
) -> None:
    message = sent(letter)
    assert message["To"] == TO
    assert message["From"] == "Tea <tea@example.org>"
    assert message["Subject"] == letter.subject
    assert "chat.example.org" in letter.subject
    assert message["Date"].datetime == NOW
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert text_of(message) == letter.text
    assert (letter.link is None) or f"\n{letter.link}\n" in letter.text
    assert all(len(line) <= 72 for line in letter.text.splitlines() if line != letter.link)


def test_every_letter_of_a_kind_is_another_mail() -> None:
    assert len({sent(ALL[0])["Message-ID"] for _ in range(3)}) == 3


@pytest.mark.parametrize("end", ["\r\nBcc: all@example.org", "\nX: y", "\r\n\r\nnew text"])
def test_an_address_cannot_add_a_header_or_a_text(end: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        message_of(Letter("password_changed", TO + end, "s", "t"), Sender("", "a@b.org"), NOW)


def test_names_and_addresses_beyond_ascii_arrive() -> None:
    message = sent(ALL[0]._replace(to="ann@exämple.org"), Sender("Té, Tee", "tea@example.org"))
    assert message["From"].addresses[0].display_name == "Té, Tee"
    assert message["To"] == "ann@xn--exmple-cua.org"
    assert mailbox("änn@example.org") == "änn@example.org"


@pytest.mark.parametrize("length", [1, 40, 180, 400])
def test_a_link_longer_than_a_line_arrives_whole(length: int) -> None:
    link = "https://" + "long." * length + "example.org/auth/reset#token=" + "t" * 43
    message = sent(letters.password_reset(TO, SITE, link, 900))
    assert f"\n{link}\n" in text_of(message)
    is_whole_in_the_raw_text = link in message.as_string()
    assert is_whole_in_the_raw_text == (len(link) <= 998)


@pytest.mark.parametrize(
    ("seconds", "words"), [(900, "15 minutes"), (3600, "60 minutes"), (86_400, "24 hours")]
)
def test_a_letter_says_how_long_its_link_is_good(seconds: float, words: str) -> None:
    assert f"within {words}" in letters.password_reset(TO, SITE, LINK, seconds).text
