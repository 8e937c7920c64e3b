"""Addresses of Redis, and what a connection begins with."""

from __future__ import annotations

import pytest

from chatd.wire.resp import Address, Reader, command, greeting, message_of, parse_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://example.org", Address("example.org", 6379, None, False, None, None, 0)),
        ("redis://:s%40crt@h:7/3", Address("h", 7, None, False, None, "s@crt", 3)),
        ("rediss://u:p@h", Address("h", 6379, None, True, "u", "p", 0)),
        (
            "unix:///run/redis.sock",
            Address("localhost", 6379, "/run/redis.sock", False, None, None, 0),
        ),
    ],
)
def test_an_address_is_read(url: str, expected: Address) -> None:
    assert parse_address(url) == expected


def test_a_greeting_shows_the_password_and_chooses_the_database() -> None:
    address = parse_address("redis://ann:secret@h/2")
    assert greeting(address, "me") == [
        command("HELLO", 3, "AUTH", "ann", "secret", "SETNAME", "me"),
        command("SELECT", 2),
    ]
    assert greeting(parse_address("redis://h"), "me") == [command("HELLO", 3, "SETNAME", "me")]


def test_a_published_message_is_told_from_other_pushes() -> None:
    reader = Reader()
    reader.feed(
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
    )
    assert message_of(reader.gets()) == (b"c", b"x")
    assert message_of(reader.gets()) is None
