"""What clients may send: every command's rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, ValidationError

from chatd.events.accounts import Login, Register
from chatd.events.answers import Nothing
from chatd.events.fields import MAX_CONTENT, MAX_SEQ
from chatd.events.messages import History, MessageReact, MessageSend
from chatd.events.presence import StatusSet
from chatd.events.reading import MessageRead
from chatd.events.server import SERVER_EVENTS
from chatd.events.sessions import SessionCreate, SessionJoin
from chatd.handlers.catalogue import OPERATIONS

SESSION = str(UUID(int=1))


def wrong(model: type[BaseModel], data: object) -> set[str]:
    """Return the fields for which data is refused."""
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(data)
    return {".".join(map(str, error["loc"])) for error in refusal.value.errors()}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  hello  ", "hello"),
        ("a\r\nb", "a\nb"),
        ("tab\tstays", "tab\tstays"),
        ("e\u0301", "\u00e9"),
        ("\u200d👩\u200d🚀", "\u200d👩\u200d🚀"),
        ("x" * MAX_CONTENT, "x" * MAX_CONTENT),
    ],
)
def test_content_is_trimmed_and_normalised(text: str, clean: str) -> None:
    command = MessageSend.model_validate({"sessionId": SESSION, "content": text})
    assert command.content == clean


@pytest.mark.parametrize(
    "text",
    ["", "   ", "\n", "x" * (MAX_CONTENT + 1), "\0", "a\x1b[31m", "a\x7f", "a\x85b", "a\rb", None],
)
def test_content_that_is_empty_too_long_or_holds_control_characters_is_refused(
    text: str | None,
) -> None:
    assert wrong(MessageSend, {"sessionId": SESSION, "content": text}) == {"content"}


@pytest.mark.parametrize(
    "marks",
    ["\u0300" * 31, "\u0316\u0300" * 8191, "\u0f73" * 31, "\u0f75\u0316" * 5000],
    ids=["one kind", "out of order", "each is two", "each is two, out of order"],
)
@pytest.mark.threat("T87")
def test_marks_without_end_are_refused_ahead_of_sorting_them(marks: str) -> None:
    assert wrong(MessageSend, {"sessionId": SESSION, "content": f"x{marks}"}) == {"content"}


@pytest.mark.parametrize(
    "text", ["x" + "\u0300" * 30, "a\u0316\u0300" * 5000, "שָׁלוֹם " * 1000, "\u0f73" * 15]
)
def test_as_many_marks_as_a_language_has_are_taken(text: str) -> None:
    MessageSend.model_validate({"sessionId": SESSION, "content": text})


@pytest.mark.parametrize(
    "emoji", ["", " ", "a b", "\n", "a\0", "a\x85", "\ud83d", "x" * 33, "👍" * 9, 7, None]
)
def test_what_is_no_emoji_is_refused(emoji: Any) -> None:
    command = {"messageId": SESSION, "emoji": emoji, "on": True}
    assert wrong(MessageReact, command) == {"emoji"}


@pytest.mark.parametrize("emoji", ["👍", ":party:", "\u200d👩\u200d🚀", "x" * 32])
def test_an_emoji_is_taken_as_it_is(emoji: str) -> None:
    command = {"messageId": SESSION, "emoji": emoji, "on": False}
    assert MessageReact.model_validate(command).emoji == emoji


@pytest.mark.parametrize("seq", [-1, MAX_SEQ + 1, 1.5, "1", True, None])
def test_a_position_is_a_whole_number_that_javascript_holds(seq: Any) -> None:
    assert wrong(MessageRead, {"sessionId": SESSION, "seq": seq}) == {"seq"}
    since = {"epoch": SESSION, "seq": seq}
    assert wrong(SessionJoin, {"sessionId": SESSION, "since": since}) == {"since.seq"}


def test_a_position_may_be_the_largest_number_of_javascript() -> None:
    command = MessageRead.model_validate({"sessionId": SESSION, "seq": MAX_SEQ})
    assert command.seq == MAX_SEQ


@pytest.mark.parametrize(
    ("email", "is_good"),
    [
        ("Anna@Example.COM", True),
        ("a@b", False),
        ("no address", False),
        ("a" * 250 + "@example.com", False),
        ("", False),
    ],
)
def test_an_address_is_checked_and_lower_case(email: str, is_good: bool) -> None:
    data = {"email": email, "password": "long enough"}
    if is_good:
        assert Register.model_validate(data).email == email.lower()
    else:
        assert wrong(Register, data) == {"email"}


@pytest.mark.parametrize(("length", "is_good"), [(7, False), (8, True), (256, True), (257, False)])
@pytest.mark.threat("T74")
def test_a_new_password_has_8_to_256_characters(length: int, is_good: bool) -> None:
    data = {"email": "a@example.com", "password": ("xY" * length)[:length]}
    if is_good:
        Register.model_validate(data)
    else:
        assert wrong(Register, data) == {"password"}


@pytest.mark.threat("T74")
def test_an_old_password_of_any_length_may_be_tried_but_no_endless_one() -> None:
    Login.model_validate({"email": "a@example.com", "password": ""})
    assert wrong(Login, {"email": "a@example.com", "password": "x" * 257}) == {"password"}


@pytest.mark.parametrize(
    "name",
    [
        *("two\nlines", "tab\tbed", " ", "x" * 81, "\u202a\x00"),
        *("\u200b", "\u202e\u2066", "\u200d", "\u3164", "\u2800 \u115f", "\u0301", "\ufe0f"),
        "\ufdfa" * 80,  # 18 letters each
    ],
)
@pytest.mark.threat("T87")
def test_a_name_is_one_short_line_that_shows(name: str) -> None:
    assert wrong(SessionCreate, {"kind": "GROUP", "name": name}) == {"name"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("\u202eadmin\u202c", "admin"),
        ("\u2066an\u200bn\u00ad\ufeff\u2069 ", "ann"),
        ("\u200fדנה\u200e", "דנה"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001 - Persian
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("\U0001fae9", "\U0001fae9"),  # newer than Python's tables
    ],
)
@pytest.mark.threat("T87")
def test_what_nobody_sees_is_taken_out_of_a_name_and_the_joiners_of_languages_stay(
    name: str, kept: str
) -> None:
    assert SessionCreate.model_validate({"kind": "GROUP", "name": name}).name == kept


def test_letters_that_look_alike_are_one_name() -> None:
    command = SessionCreate.model_validate({"kind": "GROUP", "name": "ﬁve Ⅳ"})
    assert command.name == "five IV"


def test_a_page_has_one_bound() -> None:
    both = {"sessionId": SESSION, "beforeSeq": 1, "aroundId": SESSION}
    assert wrong(History, both) == {""}
    assert wrong(History, {"sessionId": SESSION, "limit": 101}) == {"limit"}
    assert History.model_validate({"sessionId": SESSION, "afterSeq": "7"}).after_seq == 7  # a query


@pytest.mark.parametrize(
    "data",
    [
        {"status": "OFFLINE"},
        {"status": "BUSY", "until": "2026-01-01T00:00:00"},
        {"status": "BUSY", "until": "9999-12-31T23:59:59-14:00"},
        {"status": "BUSY", "text": "x" * 121},
        {"status": "BUSY", "text": "two\nlines"},
        {"status": "BUSY", "text": "\ufdfa" * 7},  # 126 letters
        {},
    ],
)
def test_a_status_that_nobody_can_have_is_refused(data: dict[str, Any]) -> None:
    assert wrong(StatusSet, data)


def test_the_end_of_a_status_is_kept_in_utc() -> None:
    command = StatusSet.model_validate({"status": "BUSY", "until": "2026-01-01T01:00:00+02:00"})
    assert command.until == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert command.until.tzinfo is UTC
    assert StatusSet.model_validate({"status": "BUSY", "until": None}).until is None


@pytest.mark.parametrize("data", [None, [], "x", 7, {"a": 1}])
def test_nothing_takes_nothing(data: object) -> None:
    assert wrong(Nothing, data)
    assert Nothing.model_validate({}) == Nothing()


# To where an issuer sends the browser back it may add what it likes (RFC 6749 4.1.2).
OURS = [operation for operation in OPERATIONS if operation.name != "sign-in-return"]


@pytest.mark.parametrize("operation", OURS, ids=lambda operation: operation.name)
@pytest.mark.threat("T85")
def test_no_command_takes_a_field_that_it_does_not_know(operation: Any) -> None:
    stranger = f"field{uuid4().hex}"
    assert stranger in wrong(operation.command, {stranger: 1})


def test_every_server_event_is_a_noun_and_a_verb_with_a_documented_shape() -> None:
    for name, shape in SERVER_EVENTS.items():
        noun, colon, verb = name.partition(":")
        assert noun.isalpha()
        assert colon
        assert verb.isalpha()
        assert issubclass(shape, BaseModel)
        assert shape.__doc__
