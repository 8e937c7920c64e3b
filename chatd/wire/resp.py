"""Redis' wire: addresses, commands, and which answers are no answers (RESP3). Sans-I/O.

The parser is hiredis'. https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import hiredis

DEFAULT_PORT = 6379

Reader = hiredis.Reader
Push = hiredis.PushNotification
ProtocolError = hiredis.ProtocolError
ReplyError = hiredis.ReplyError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is, and who we are there; `path` is a Unix socket instead of a host."""

    host: str
    port: int
    path: str | None
    is_tls: bool
    user: str | None
    password: str | None
    database: int


def parse_address(url: str) -> Address:
    """Return what a URL says: redis://, rediss:// for TLS, unix://."""
    parts = urlsplit(url)
    is_unix = parts.scheme == "unix"
    number = "" if is_unix else parts.path.strip("/")
    return Address(
        host=parts.hostname or "localhost",
        port=parts.port or DEFAULT_PORT,
        path=parts.path if is_unix else None,
        is_tls=parts.scheme == "rediss",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(number) if number else 0,
    )


def command(*parts: bytes | str | int) -> bytes:
    """Return one command."""
    packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]  # its stub takes one
    return packed


def greeting(address: Address, name: str) -> list[bytes]:
    """Return the commands with which a connection begins; each has one answer.

    From RESP3 on one connection both subscribes and asks.
    """
    hello: list[bytes | str | int] = ["HELLO", 3]
    if address.password is not None:
        hello += ["AUTH", address.user or "default", address.password]
    commands = [command(*hello, "SETNAME", name)]
    if address.database:
        commands.append(command("SELECT", address.database))
    return commands


def message_of(push: Any) -> tuple[bytes, bytes] | None:
    """Return channel and payload of a published message; None for what is none."""
    if len(push) == 3 and push[0] == b"message":  # noqa: PLR2004 - kind, channel, payload
        return push[1], push[2]
    return None


def subscribed_to(push: Any) -> bytes | None:
    """Return the channel whose subscription has begun; None for what tells of something else."""
    if len(push) == 3 and push[0] == b"subscribe":  # noqa: PLR2004 - kind, channel, count
        channel: bytes = push[1]
        return channel
    return None


def of_subscription(push: Any) -> bool:
    """Return whether it says that a subscription has begun or ended: one a channel we named."""
    return len(push) == 3 and push[0] in {b"subscribe", b"unsubscribe"}  # noqa: PLR2004 - as above
