"""What one daemon passes on to another: the request, and whose it is, signed.

The owner of a session must know the client's address, and believe it of nobody else. So a forwarded
request carries the address, the time and a signature over both and its own request line: whoever
reads it somewhere can repeat that one request for half a minute, in the name of the same client.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple

from chatd.peers import Peers
from chatd.wire.http import RequestHead

HEADER = b"x-chatd-forwarded"  # who carries it is not passed on again, believed or not
MAX_AGE = 30.0  # seconds; clocks of one cluster agree better than that
MAX_ANSWER_HEAD = 16_384  # bytes; ours have one kilobyte

# Cookies and tokens are nobody's here: a session is named by its sid.
_OF_POLLING = frozenset((b"host", b"origin", b"content-type", b"accept-encoding"))
_OF_UPGRADES = frozenset((b"host", b"origin", b"sec-websocket-key", b"sec-websocket-version"))
_MARK = re.compile(rb"([\x21-\x7e]{1,64}) ([0-9]{1,12}) ([0-9a-f]{2,256})")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\r\n]*)?")
_LENGTH = re.compile(rb"[0-9]{1,12}")


class BadAnswer(Exception):
    """What came back from the owner of a session is no answer of a chatd."""


class AnswerHead(NamedTuple):
    """What is passed back of an answer, beside its body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int  # bytes of the body
    keeps_alive: bool


def mark(peers: Peers, head: RequestHead, address: str, now: float) -> bytes:
    """Return the value of `HEADER` for a request of a client.

    Args:
        now: wall time in seconds.
    """
    second = int(now)
    signature = peers.sign(_signed(head, address, second))
    return b"%b %d %b" % (address.encode("ascii"), second, binascii.b2a_hex(signature))


def client_in(peers: Peers | None, head: RequestHead, now: float) -> str | None:
    """Return the address of the client whose request another daemon passed on.

    None when no daemon of this cluster has, or not just now.

    Args:
        peers: None when there is no cluster.
        now: wall time in seconds.
    """
    if peers is None:
        return None
    values = head.values(HEADER)
    match = _MARK.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or len(match[3]) % 2:
        return None
    address, second = match[1].decode("ascii"), int(match[2])
    if abs(now - second) > MAX_AGE:
        return None
    signature = binascii.a2b_hex(match[3])
    return address if peers.is_signed(_signed(head, address, second), signature) else None


def _signed(head: RequestHead, address: str, second: int) -> bytes:
    return f"chatd forwards\n{address}\n{second}\n{head.method} {head.target}".encode("ascii")


def polling_head(head: RequestHead, value: bytes) -> bytes:
    """Return the head of a request of polling as it is passed on; the body follows.

    Args:
        value: of `HEADER`. See `mark`.
    """
    lines = [b"%b: %b\r\n" % pair for pair in head.headers if pair[0] in _OF_POLLING]
    if head.body_length is None:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif head.body_length:
        lines.append(b"content-length: %d\r\n" % head.body_length)
    return _head(head, lines, value)


def upgrade_head(head: RequestHead, value: bytes) -> bytes:
    """Return the head of a WebSocket's handshake as it is passed on. Args as `polling_head`."""
    lines = [b"%b: %b\r\n" % pair for pair in head.headers if pair[0] in _OF_UPGRADES]
    lines.append(b"connection: Upgrade\r\nupgrade: websocket\r\n")
    return _head(head, lines, value)


def _head(head: RequestHead, lines: list[bytes], value: bytes) -> bytes:
    line = f"{head.method} {head.target} HTTP/1.1\r\n".encode("ascii")
    return b"%b%b%b: %b\r\n\r\n" % (line, b"".join(lines), HEADER, value)


def chunk(piece: bytes) -> bytes:
    """Return a piece of a body whose length was not declared; b"" is its end."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def parse_answer(raw: bytes) -> AnswerHead:
    """Return what the head of an answer says; `raw` is without the empty line.

    Raises:
        BadAnswer: it is not one that a chatd gives to polling.
    """
    line, *lines = raw.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadAnswer("no status line")
    told = dict[bytes, bytes]()
    for each in lines:
        name, _, value = each.partition(b":")
        told[name.strip().lower()] = value.strip()
    length = told.get(b"content-length", b"")
    if _LENGTH.fullmatch(length) is None:
        raise BadAnswer("no length")
    kept = (b"content-type", b"retry-after")
    headers = [(name, told[name]) for name in kept if name in told]
    keeps_alive = b"close" not in told.get(b"connection", b"").lower()
    return AnswerHead(int(match[1]), headers, int(length), keeps_alive)
