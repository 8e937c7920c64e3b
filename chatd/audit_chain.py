"""The chain over the audit log: whether a line was changed, removed, put elsewhere or added.

Each link's hash covers the hash before it, its line, and a salted digest of what an erasure may
remove from the line. It is no signature: who may write to the database as its owner can make a
whole new chain. Against that helps a head, a position with its hash, that was noted where they
cannot write: the daemon logs one at its start, `chatd audit verify` prints one and takes one.

The other half is chain_audit() in schema.sql; a test holds the two together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class AuditLine(NamedTuple):
    """A line of the audit log as it stands now; `details` is the text of its JSON."""

    id: int
    at: datetime
    action: str
    user_id: UUID | None
    session_id: UUID | None
    target_id: UUID | None
    address: str | None
    details: str
    salt: UUID | None  # None: erased
    is_account_erased: bool  # of `user_id`


class AuditLink(NamedTuple):
    """One link; without a line that was removed."""

    position: int
    audit_id: int
    erasable: bytes
    hash: bytes
    line: AuditLine | None


class Head(NamedTuple):
    """How far a chain goes: worth noting elsewhere."""

    position: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.position}:{self.hash.hex()}"


START = Head(0, b"")


def parse_head(text: str) -> Head:
    """Return the head that somebody has noted.

    Raises:
        ValueError: it is not position:hash.
    """
    position, colon, digest = text.strip().partition(":")
    if not colon or not position.isdecimal():
        msg = "a head is position:hash"
        raise ValueError(msg)
    return Head(int(position), bytes.fromhex(digest))


def erasable_digest(salt: UUID | None, address: str | None, details: str) -> bytes:
    """Return the digest of what may be erased."""
    length = -1 if address is None else len(address)
    return _digest(b"", str(salt), length, address or "", details)


def link_hash(before: bytes, position: int, line: AuditLine, erasable: bytes) -> bytes:
    """Return the hash of a link."""
    micros = (line.at - _EPOCH) // _MICROSECOND
    ids = [each or "-" for each in (line.user_id, line.session_id, line.target_id)]
    return _digest(before, position, line.id, micros, line.action, *ids, erasable.hex())


class Verifier:
    """Follows a chain link by link, and tells what is wrong with it.

    Example:
        ```python
        verifier = Verifier(noted=parse_head("812:5f0c..."))
        for trouble in verifier.follow(links):
            print(trouble)
        ```
    """

    def __init__(self, noted: Head | None = None) -> None:
        self.head = START
        self.erased = 0  # lines of erased accounts
        self._noted = noted

    def follow(self, links: Iterable[AuditLink]) -> Iterator[str]:
        """Take the next links, by rising position; give what is wrong, one sentence each."""
        for link in links:
            if link.position != self.head.position + 1:
                yield f"links {self.head.position + 1} to {link.position - 1} are missing"
            yield from self._look(link)
            self.head = Head(link.position, link.hash)
            if self._noted is not None and self._noted.position == link.position:
                if self._noted.hash != link.hash:
                    yield f"link {link.position} is not the one that was noted"
                self._noted = None

    def finish(self) -> Iterator[str]:
        """Give what is wrong at the end of the chain."""
        if self._noted is not None and self._noted.position > 0:
            yield (
                f"the chain ends at {self.head.position}, before the noted {self._noted.position}"
            )

    def _look(self, link: AuditLink) -> Iterator[str]:
        line = link.line
        where = f"line {link.audit_id} (link {link.position})"
        if line is None:
            yield f"{where} is missing"
            return
        if link_hash(self.head.hash, link.position, line, link.erasable) != link.hash:
            yield f"{where} was changed, or what was before it"
        if line.salt is None:
            self.erased += 1
            if not line.is_account_erased or line.session_id is not None:
                yield f"{where} was erased, and its account was not"
        elif erasable_digest(line.salt, line.address, line.details) != link.erasable:
            yield f"{where} has another address or other details"


def _digest(before: bytes, *parts: object) -> bytes:
    return hashlib.sha256(before + "|".join(map(str, parts)).encode()).digest()
