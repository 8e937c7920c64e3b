"""Files on this machine's disk, in threads: written whole or not at all, read in parts.

What is uploaded goes to `incoming/<key>.<random>.part`, is flushed and renamed to `incoming/<key>`,
and moves to `stored/` when it is adopted. A crash leaves parts behind, which the next start
deletes: the data folder is one daemon's alone. No name that a person chose is a part of a path.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from chatd.errors import Unavailable
from chatd.ids import random_hex

R = TypeVar("R")
THREADS = 8  # at once, for all transfers: a disk has no more heads
FLUSH_BYTES = 16_777_216  # a flush of a whole GiB would hold up the database's for seconds
CLEANUP_TIMEOUT = 5.0  # seconds to take a broken upload away, also when the daemon stops
SPACE_KEPT = 500_000_000  # bytes left free: PostgreSQL lives on the same disk and panics without
PART_AGE = 3600.0  # seconds without a byte: an upload that stalls is cut within a minute
RETRY_AFTER = 60.0  # seconds: somebody has to make room

log = structlog.get_logger("chatd.disk")


class Disk:
    """The folder of the files; its folders are made when they are needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._stored = folder / "stored"
        self._limiter = trio.CapacityLimiter(THREADS)
        self._parts: set[Part] = set()  # uploads under way; `file_transfers` bounds them

    async def run(self, function: Callable[..., R], *args: object) -> R:
        """Run a blocking function on the disk.

        Raises:
            Unavailable: the disk is full or broken; the log says more.
        """
        try:
            return await trio.to_thread.run_sync(partial(function, *args), limiter=self._limiter)
        except OSError as trouble:
            raise _unavailable(trouble) from trouble

    @asynccontextmanager
    async def writing(self, key: str, size: int) -> AsyncIterator[Part]:
        """Have a new part for the block; unless it is published there, nothing of it stays.

        Raises:
            Unavailable: the disk has no room for it, or cannot be written.
        """
        part = Part(self, self._incoming, key, size)
        self._parts.add(part)
        try:
            await self.run(part.open, sum(each.left for each in self._parts))
            try:
                yield part
            finally:
                with trio.move_on_after(CLEANUP_TIMEOUT, shield=True):
                    await trio.to_thread.run_sync(part.close, limiter=self._limiter)
        finally:
            self._parts.discard(part)

    @asynccontextmanager
    async def reading(self, key: str, part: str) -> AsyncIterator[tuple[int, int]]:
        """Have a stored file open for the block: its descriptor, and its size.

        It can be read to its end also when it is deleted meanwhile.

        Raises:
            FileNotFoundError: it is not there.
            Unavailable: the disk is broken; the log says more.
        """
        path = self.path(key, part)
        try:
            descriptor = await trio.to_thread.run_sync(_open_to_read, path, limiter=self._limiter)
        except FileNotFoundError:
            raise
        except OSError as trouble:
            raise _unavailable(trouble) from trouble
        try:
            yield descriptor, os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    # What threads run

    def adopt(self, key: str) -> int | None:
        """Move what was uploaded to what is stored; return its size. A repeat finds it there."""
        target = self.path(key)
        with suppress(FileNotFoundError):
            self._make(target.parent)
            (self._incoming / key).rename(target)
            _flush_folder(target.parent)
            _flush_folder(self._incoming)
        try:
            return target.stat().st_size
        except FileNotFoundError:
            return None

    def path(self, key: str, part: str = "") -> Path:
        """Return where a stored file or its thumbnail lies."""
        return self._stored / key[:2] / (f"{key}-{part}" if part else key)

    def read_stored(self, key: str, start: int, length: int) -> bytes | None:
        """Return a part of a stored file, None when it is not there."""
        try:
            descriptor = _open_to_read(self.path(key))
        except FileNotFoundError:
            return None
        try:
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)

    def write_stored(self, key: str, part: str, data: bytes) -> None:
        """Keep some bytes beside a stored file."""
        target = self.path(key, part)
        self._make(target.parent)
        draft = target.with_name(f"{target.name}.{random_hex(8)}.part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, data)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(target)

    def delete(self, key: str) -> None:
        """Delete everything of a file."""
        for path in (self._incoming / key, self.path(key, "thumbnail"), self.path(key)):
            path.unlink(missing_ok=True)

    def delete_upload(self, key: str) -> None:
        """Delete what was uploaded and not adopted."""
        (self._incoming / key).unlink(missing_ok=True)

    def delete_parts(self, *, is_shared: bool = False) -> int:
        """Delete what broken uploads of an earlier start have left; return how many.

        Args:
            is_shared: other daemons write in this folder: only what none of them writes any more.
        """
        found = [*self._incoming.glob("*.part"), *self._stored.glob("*/*.part")]
        if is_shared:
            found = [path for path in found if _age_of(path) > PART_AGE]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def free_bytes(self) -> int:
        """Return what is free on the disk, above what is kept free."""
        self._make(self._incoming)
        return shutil.disk_usage(self._incoming).free - SPACE_KEPT

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():  # `parents=True` would make those between for everybody to read
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in (self._folder, self._stored, folder):
                each.mkdir(mode=0o700, exist_ok=True)


def _age_of(path: Path) -> float:
    """Return how long ago a file was written to, in seconds; 0 for one that has gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


class Part:
    """An upload under way, in a file that nobody else knows; `left` bytes are not written yet."""

    def __init__(self, disk: Disk, folder: Path, key: str, size: int) -> None:
        self.left = size
        self._disk = disk
        self._target = folder / key
        self._path = folder / f"{key}.{random_hex(8)}.part"
        self._descriptor = -1
        self._unflushed = 0
        self._flushed = 0

    async def write(self, data: memoryview) -> None:
        """Write behind what is there."""
        size = len(data)
        await self._disk.run(self._write, data)
        self.left -= (
            size  # afterwards: counted twice for a moment it refuses somebody, never neither
        )

    async def publish(self) -> None:
        """Let it be what was uploaded, in place of an earlier one: durably, and all at once."""
        await self._disk.run(self._publish)

    def open(self, needed: int) -> None:
        """Make the file, if so many bytes are free: its own and what others have left. Blocks.

        Raises:
            Unavailable: there is no room for it.
        """
        free = self._disk.free_bytes()
        if free < needed:
            log.warning("no_room_for_upload", free_bytes=free, needed=needed)
            msg = "the disk is almost full: reading goes on, uploading does not"
            raise Unavailable(msg, retry_after=RETRY_AFTER)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)

    def close(self) -> None:
        """End it; what was not published is gone, at the next start at the latest. Blocks."""
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
            self._path.unlink(missing_ok=True)
        except OSError as trouble:
            log.warning("part_not_deleted", error=errno.errorcode.get(trouble.errno or 0, ""))

    def _write(self, data: memoryview) -> None:
        size = _write_all(self._descriptor, data)
        start = self._flushed + self._unflushed
        # Starts the write-back of dirty pages without waiting for it (mm/fadvise.c): a flush later
        # finds little to do, and the database's in between wait for little.
        os.posix_fadvise(self._descriptor, start, size, os.POSIX_FADV_DONTNEED)
        self._unflushed += size
        if self._unflushed >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        os.fdatasync(self._descriptor)
        # Clean pages go: they are read once at most, and the cache is the database's.
        os.posix_fadvise(self._descriptor, self._flushed, self._unflushed, os.POSIX_FADV_DONTNEED)
        self._flushed += self._unflushed
        self._unflushed = 0

    def _publish(self) -> None:
        self._flush()
        os.fsync(self._descriptor)
        self._path.rename(self._target)
        _flush_folder(self._target.parent)


def _unavailable(trouble: OSError) -> Unavailable:
    log.warning("disk", error=errno.errorcode.get(trouble.errno or 0, str(trouble.errno)))
    return Unavailable(retry_after=RETRY_AFTER)


def _open_to_read(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _write_all(descriptor: int, data: bytes | memoryview) -> int:
    with memoryview(data) as view:
        written = 0
        while written < len(view):  # a signal, or the last block of a disk, may end one early
            written += os.write(descriptor, view[written:])
    return written


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
