"""Which passwords are refused (T74, T75): what everybody has, and what the account itself tells."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from chatd.events.fields import Password
from chatd.password_rules import common_passwords, tells, words_of

password: TypeAdapter[str] = TypeAdapter(Password)
URL = "https://tearoom.example.org"


@pytest.mark.threat("T75")
@pytest.mark.parametrize(
    "text",
    [
        "seven77",
        "password",
        "PassWord1",
        "\uff50\uff41\uff53\uff53word",  # some in full width: the same letters
        "qwertyuiop",
        "12345678",
        "x" * 257,
        "e\u0301" * 7,  # seven letters, however they are composed
        "\ufdfa" * 250,  # 4,500 characters when it is normal
    ],
)
def test_a_password_that_is_common_or_of_the_wrong_length_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        password.validate_python(text)


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery",
        "👍" * 7 + "!",
        "👨‍👩‍👧‍👦" * 20,
        "nul\0inside it",
        "aB3$" * 64,
        "e\u0301" * 8,
        "lower case only",
        "        spaces count        ",
    ],
)
def test_a_password_of_any_letters_is_taken_as_it_came(text: str) -> None:
    assert password.validate_python(text) == text


def test_the_list_has_more_than_3000_passwords_that_are_long_enough_to_be_tried() -> None:
    assert len(common_passwords()) >= 8_000
    assert all(8 <= len(each) <= 256 and each == each.casefold() for each in common_passwords())


@pytest.mark.parametrize(
    "text",
    [
        "ann.smith@mail.example",
        "ann.smith",
        "Ann.Smith1985",
        "smith-smith-smith",
        "ANNSMITH99",
        "chatd-chatd-1",
        "tearoom2026",
        "tearoom.example1",
        "annpassword",  # what is left is a common one
        "\uff33\uff2dITH1234567",
    ],
)
def test_a_password_that_is_little_more_than_the_context_is_refused(text: str) -> None:
    assert tells(text, words_of("ann.smith@mail.example", URL))


@pytest.mark.parametrize(
    "text", ["correct horse battery", "smith and a long tail", "planning things", "an-sm-ex-12"]
)
def test_a_password_that_is_good_without_the_words_of_the_context_is_taken(text: str) -> None:
    assert not tells(text, words_of("ann.smith@mail.example", URL))


def test_words_too_short_to_mean_anything_do_not_count() -> None:
    words = words_of("a_b@x.io", None)
    assert words == {"a_b@x.io", "a_b", "chatd"}
