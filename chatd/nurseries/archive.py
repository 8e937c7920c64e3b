"""The file of a backup: a tar of plain members, the last of which says what the others must be.

    about.json       format, when and by which chatd it was made, the schema's version
    signing.key      of the data folder, if it has one
    database.dump    pg_dump's custom format
    files/...        as they lie in the data folder
    manifest.json    how many members there are, and one hash over all their names and contents

It is written and read from front to back, a piece at a time. `tar -xf` takes it apart as well. An
archive that ends early has no manifest: it is refused, as one in which a byte has changed.
Everything here blocks and belongs into a thread of Trio's; a cancelled caller ends it at a piece.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO

import trio

FORMAT = 1
ABOUT, KEY, DUMP, MANIFEST = "about.json", "signing.key", "database.dump", "manifest.json"
CHUNK = 1 << 20  # bytes in memory at once
SMALL = 1 << 16  # bytes that about.json or manifest.json may have
BLOCK = tarfile.BLOCKSIZE
_NAME = re.compile(
    r"about\.json|signing\.key|database\.dump|manifest\.json"
    r"|files/(?:incoming|stored/[0-9a-f]{2})/[0-9a-f]{32}(?:-thumbnail)?"
)


class ArchiveError(Exception):
    """The file is no backup, or not a whole one; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member; its content starts at `offset` of the file."""

    name: str
    size: int
    offset: int


class _Digest:
    """One hash over all members; it takes the same memory for ten and for ten million."""

    def __init__(self) -> None:
        self.members = 0
        self._hash = sha256()

    def add(self, name: str, size: int, content: str) -> None:
        self.members += 1
        self._hash.update(f"{name} {size} {content}\n".encode())

    def manifest(self) -> dict[str, Any]:
        return {"format": FORMAT, "members": self.members, "sha256": self._hash.hexdigest()}


class ArchiveWriter:
    """Writes a new archive to a file that can seek: sizes are known behind the content only."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = _Digest()

    def add(self, name: str, chunks: Iterable[bytes]) -> int:
        """Write a member and return its size."""
        size, content = self._write(name, chunks)
        self._digest.add(name, size, content)
        return size

    def add_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a small member."""
        self.add(name, [_dumps(value)])

    def finish(self) -> None:
        """Write the manifest; without it the file is no archive. Durable on return."""
        self._write(MANIFEST, [_dumps(self._digest.manifest())])
        self._file.write(bytes(2 * BLOCK))  # the end of a tar
        self._file.flush()
        os.fsync(self._file.fileno())

    def _write(self, name: str, chunks: Iterable[bytes]) -> tuple[int, str]:
        start = self._file.tell()
        self._file.write(bytes(BLOCK))
        size, digest = 0, sha256()
        for chunk in chunks:
            trio.from_thread.check_cancelled()
            self._file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        self._file.write(bytes(-size % BLOCK))
        end = self._file.tell()
        header = tarfile.TarInfo(name)
        header.size, header.mode, header.mtime = size, 0o600, int(time.time())
        self._file.seek(start)
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        self._file.seek(end)
        return size, digest.hexdigest()


def verify(file: BinaryIO) -> tuple[dict[str, Any], list[Member]]:
    """Read the whole archive; return what about.json says, and the members without the files.

    Raises:
        ArchiveError: it is truncated, changed, of another format, or none of ours.
    """
    digest, about, found = _Digest(), dict[str, Any](), list[Member]()
    for member in members(file):
        if member.name == MANIFEST:
            if _json(file, member) != digest.manifest():
                raise ArchiveError("the archive was changed: its content is not what it was")
            if any(iter(lambda: file.read(CHUNK).strip(b"\0"), b"")):
                raise ArchiveError("there is more behind the archive's end")
            return about, found
        if digest.members == 0:
            about = _about(file, member)
        content = sha256()
        for chunk in read(file, member):
            content.update(chunk)
        digest.add(member.name, member.size, content.hexdigest())
        if not member.name.startswith("files/"):
            found.append(member)
    raise ArchiveError("the archive is truncated: it has no manifest")


def _about(file: BinaryIO, member: Member) -> dict[str, Any]:
    about = _json(file, member) if member.name == ABOUT else {}
    if about.get("format") != FORMAT:
        raise ArchiveError(f"this is no backup that this chatd knows (format {FORMAT})")
    return about


def members(file: BinaryIO) -> Iterator[Member]:
    """Yield the members in their order; the file may be read anywhere in between.

    Raises:
        ArchiveError: what stands there is no member of a backup.
    """
    position = 0
    while True:
        trio.from_thread.check_cancelled()
        file.seek(position)
        block = file.read(BLOCK)
        if not block.strip(b"\0"):
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, UnicodeError) as trouble:
            raise ArchiveError(f"this is no backup, or a damaged one: {trouble}") from None
        if not header.isreg() or header.size < 0 or _NAME.fullmatch(header.name) is None:
            raise ArchiveError(f"a backup has no member {header.name[:100]!r}")
        yield Member(header.name, header.size, position + BLOCK)
        position += BLOCK + header.size + -header.size % BLOCK


def read(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the content of a member in pieces.

    Raises:
        ArchiveError: the file ends before the member does.
    """
    file.seek(member.offset)
    left = member.size
    while left:
        trio.from_thread.check_cancelled()
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise ArchiveError(f"the archive is truncated: it ends in {member.name}")
        left -= len(chunk)
        yield chunk


def _dumps(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _json(file: BinaryIO, member: Member) -> dict[str, Any]:
    if member.size > SMALL:
        raise ArchiveError(f"{member.name} is too large")
    try:
        value = json.loads(b"".join(read(file, member)))
    except ValueError:
        raise ArchiveError(f"{member.name} is damaged") from None
    if not isinstance(value, dict):
        raise ArchiveError(f"{member.name} is damaged")
    return value
