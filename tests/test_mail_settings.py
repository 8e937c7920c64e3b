"""How mail leaves: what the two settings say, and what is refused without showing a secret."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chatd.config import Settings, describe
from chatd.mail_settings import Sender, SmtpServer, read_sender, read_smtp_url

GOOD: dict[str, Any] = {
    "smtp_url": "smtps://mail:pass@mx.example.org",
    "mail_from": "Tea <tea@example.org>",
    "public_url": "https://chat.example.org",
}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mx.example.org", ("mx.example.org", 587, "STARTTLS", None, "")),
        ("smtp://mx.example.org:25/", ("mx.example.org", 25, "STARTTLS", None, "")),
        ("smtps://u:p@mx.example.org", ("mx.example.org", 465, "TLS", "u", "p")),
        ("smtp://a%40b:p%2F%3A@mx.example.org", ("mx.example.org", 587, "STARTTLS", "a@b", "p/:")),
        ("smtp://localhost:25", ("localhost", 25, "NONE", None, "")),
        ("smtp://u:p@localhost:25", ("localhost", 25, "NONE", "u", "p")),
        ("smtp://localhost?starttls=always", ("localhost", 587, "STARTTLS", None, "")),
        ("smtp://relay.internal:25?starttls=never", ("relay.internal", 25, "NONE", None, "")),
        ("smtp://[::1]:2525", ("::1", 2525, "NONE", None, "")),
    ],
)
def test_a_url_says_where_mail_goes_and_how_it_is_encrypted(
    url: str, server: tuple[Any, ...]
) -> None:
    assert read_smtp_url(url) == SmtpServer(*server)


@pytest.mark.parametrize(
    "url",
    [
        "http://mx.example.org",
        "smtp://",
        "smtp://secret@mx.example.org:port",
        "smtp://u:secret@mx.example.org/path",
        "smtp://u:secret@mx.example.org#x",
        "smtp://u:secret@mx.example.org?starttls=never",  # a password in the clear
        "smtp://mx.example.org?starttls=maybe",
        "smtp://mx.example.org?tls=secret",
        "smtp://mx.example.org:0",
        "secret",
    ],
)
def test_a_url_that_says_something_else_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="smtp_url") as refusal:
        read_smtp_url(url)
    assert "secret" not in str(refusal.value)
    with pytest.raises(ValidationError):
        Settings(**(GOOD | {"smtp_url": url}))


@pytest.mark.parametrize(
    ("text", "sender"),
    [
        ("tea@example.org", ("", "tea@example.org")),
        ("Tea at five <tea@example.org>", ("Tea at five", "tea@example.org")),
        ('"Tea, at five" <tea@example.org>', ("Tea, at five", "tea@example.org")),
        ("Té <te@exämple.org>", ("Té", "te@xn--exmple-cua.org")),
    ],
)
def test_a_sender_is_a_name_and_an_address(text: str, sender: tuple[str, str]) -> None:
    assert read_sender(text) == Sender(*sender)


@pytest.mark.parametrize(
    "text", ["", "tea", "Tea <tea>", "tea@example.org\r\nBcc: x@example.org", "té@example.org"]
)
def test_what_is_no_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mail_from"):
        read_sender(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mail_from": None}, "needs mail_from"),
        ({"public_url": None}, "needs mail_from, and public_url"),
        ({"public_url": "http://chat.example.org"}, "https"),
        ({"mail_from": "nobody"}, "mail_from is"),
        ({"smtp_url": None, "email_verification": "optional"}, "email_verification needs smtp_url"),
        ({"email_verification": "perhaps"}, "email_verification"),
        ({"mail_rate": "often"}, "mail_rate"),
    ],
)
def test_settings_of_mail_belong_together(change: dict[str, Any], words: str) -> None:
    Settings(**GOOD)
    with pytest.raises(ValidationError, match=words):
        Settings(**(GOOD | change))


def test_in_development_addresses_are_verified_without_a_mail_server() -> None:
    Settings(environment="development", email_verification="required")


def test_the_password_of_the_mail_server_is_not_shown() -> None:
    views = {view.name: view.value for view in describe(Settings(**GOOD), None, {})}
    assert views["smtp_url"] == "(hidden)"
    assert "pass@" not in repr(Settings(**GOOD))
