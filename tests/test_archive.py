"""The file of a backup: what was written is read again, and nothing else is taken for one."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from chatd.nurseries.archive import (
    ABOUT,
    BLOCK,
    DUMP,
    FORMAT,
    KEY,
    ArchiveError,
    ArchiveWriter,
    members,
    read,
    verify,
)

T = TypeVar("T")
FILE = f"files/stored/ab/ab{'0' * 30}"
CONTENTS = {KEY: b"k1:secret\n", DUMP: os.urandom(3_000_000), FILE: b"", f"{FILE}-thumbnail": b"x"}


def in_thread(work: Callable[[], T]) -> T:
    """Run something as the daemon does, in a thread of Trio's."""

    async def run() -> T:
        return await trio.to_thread.run_sync(work)

    return trio.run(run)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar"

    def write() -> None:
        with path.open("wb") as file:
            writer = ArchiveWriter(file)
            writer.add_json(ABOUT, {"format": FORMAT, "schema": 16})
            for name, content in CONTENTS.items():
                assert writer.add(name, [content[:1000], content[1000:]]) == len(content)
            writer.finish()

    in_thread(write)
    return path


def checked(data: bytes) -> None:
    in_thread(lambda: verify(io.BytesIO(data)))


def test_what_was_written_is_read_again_by_us_and_by_tar(archive: Path) -> None:
    with archive.open("rb") as file:
        about, found = in_thread(lambda: verify(file))
        assert about == {"format": FORMAT, "schema": 16}
        assert [member.name for member in found] == [ABOUT, KEY, DUMP]
        content = in_thread(lambda: b"".join(read(file, found[-1])))
        assert content == CONTENTS[DUMP]
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        assert names == [ABOUT, *CONTENTS, "manifest.json"]
        for name, content in CONTENTS.items():
            member = tar.extractfile(name)
            assert member is not None
            assert member.read() == content
        assert {tar.getmember(name).mode for name in names} == {0o600}


def test_an_archive_that_ends_early_is_refused_wherever_it_ends(archive: Path) -> None:
    data = archive.read_bytes()
    ends = [*range(0, len(data) - 2 * BLOCK, 40_009), *range(0, 6 * BLOCK, BLOCK)]
    ends += [len(data) - 2 * BLOCK - n for n in (BLOCK, 2 * BLOCK, BLOCK + 7)]
    for end in ends:
        with pytest.raises(ArchiveError):
            checked(data[:end])
    checked(data[: len(data) - 2 * BLOCK])  # only the end of the tar is missing: all is there


def test_a_byte_that_has_changed_is_found_wherever_it_is(archive: Path) -> None:
    data = archive.read_bytes()
    with archive.open("rb") as file:
        places = in_thread(
            lambda: [(m.offset, m.offset + m.size - 1) for m in members(file) if m.size]
        )
    for place in (0, 2 * BLOCK, *(place for both in places for place in both)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ArchiveError):
            checked(bytes(changed))


def test_a_member_that_was_left_out_or_renamed_is_found(archive: Path) -> None:
    data = archive.read_bytes()
    with archive.open("rb") as file:
        found = {m.name: m for m in in_thread(lambda: list(members(file)))}
    start = found[f"{FILE}-thumbnail"].offset - BLOCK
    with pytest.raises(ArchiveError, match="changed"):
        checked(data[:start] + data[start + 2 * BLOCK :])
    header = tarfile.TarInfo(f"files/incoming/{'0' * 32}")
    header.size = 1
    with pytest.raises(ArchiveError, match="changed"):
        checked(data[:start] + header.tobuf(tarfile.GNU_FORMAT) + data[start + BLOCK :])


def test_more_behind_the_end_is_refused(archive: Path) -> None:
    with pytest.raises(ArchiveError, match="behind"):
        checked(archive.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/etc/passwd", tarfile.REGTYPE),
        ("files/stored/ab/../../../signing.key", tarfile.REGTYPE),
        ("files/stored/ab/" + "g" * 32, tarfile.REGTYPE),
        (FILE, tarfile.SYMTYPE),
        (FILE, tarfile.DIRTYPE),
    ],
)
def test_a_member_that_no_backup_has_is_refused_by_its_header(name: str, kind: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.type = kind
    with pytest.raises(ArchiveError, match="no member"):
        checked(header.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("data", [b"", b"\0" * 4096, b"PGDMP" * 500, b"about.json" * 300])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        checked(data)


@pytest.mark.parametrize("about", [b"[]", b"{", b'{"format": 2}', b" " * 100_000])
def test_an_archive_of_another_format_is_refused(about: bytes, tmp_path: Path) -> None:
    def write() -> None:
        with (tmp_path / "other.tar").open("wb") as file:
            writer = ArchiveWriter(file)
            writer.add(ABOUT, [about])
            writer.finish()

    in_thread(write)
    with pytest.raises(ArchiveError):
        checked((tmp_path / "other.tar").read_bytes())


async def test_a_cancelled_caller_ends_the_writing(tmp_path: Path) -> None:
    def endless() -> None:
        with (tmp_path / "endless.tar").open("wb") as file:
            ArchiveWriter(file).add(DUMP, iter(lambda: b"x", b""))

    with trio.fail_after(30):
        with trio.move_on_after(0.05) as scope:
            await trio.to_thread.run_sync(endless)
        assert scope.cancelled_caught
