"""A backup: one moment of the database, the files that it knows, and the key that signs.

The dump comes first, then the files. What the dump knows as a file lies in the folder before it is
known, so it is found behind the dump, unless it was deleted in between, as its message or session
was: then the restored message has a file that is not there. The other way round every file that
came between the two would be missing. Bytes that came behind the dump are in the archive too, and
a restore leaves them out again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import trio

from chatd import __version__
from chatd.config import Settings, SettingsError
from chatd.keys import SIGNING_KEY_FILE
from chatd.nurseries.archive import ABOUT, CHUNK, DUMP, FORMAT, KEY, ArchiveWriter
from chatd.nurseries.files import FOLDER
from chatd.nurseries.pgreach import reaching_postgres
from chatd.nurseries.pgtools import dump
from chatd.nurseries.postgres import DataFolderInUse, lock_data_folder, open_postgres
from chatd.store.dumps import version_in, without_password


class BackupSummary(NamedTuple):
    """What is in a backup."""

    schema: int
    database_bytes: int  # of the dump
    files: int
    has_key: bool


async def back_up(settings: Settings, target: Path) -> BackupSummary:
    """Write a backup to a new file, mode 0600, while a daemon runs or not; all of it or nothing.

    Raises:
        SettingsError: the file exists, or there is nothing to back up.
        PostgresError, StoreError: the database cannot be reached or read.
        OSError: the file cannot be written.
    """
    _refuse_what_is_there(target)
    async with _database(settings) as conninfo:
        schema = await version_in(conninfo)
        if schema == 0:
            msg = "there is nothing to back up: the database has no schema of chatd"
            raise SettingsError(msg)
        return await trio.to_thread.run_sync(_write, settings, conninfo, schema, target)


def _refuse_what_is_there(target: Path) -> None:
    if target.exists():
        msg = f"{target} exists: a backup overwrites nothing"
        raise SettingsError(msg)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    """Have a database that runs: `database_url`'s, the daemon's own, or for this block only."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    folder = settings.data_dir
    if not (folder / "postgres" / "data").exists():
        msg = f"there is nothing to back up: {folder} has no PostgreSQL, and no database_url is set"
        raise SettingsError(msg)
    async with AsyncExitStack() as stack:
        try:
            stack.enter_context(lock_data_folder(folder))
        except DataFolderInUse:
            conninfo = stack.enter_context(reaching_postgres(folder))
        else:
            conninfo = (await stack.enter_async_context(open_postgres(folder))).conninfo
        yield conninfo


def _write(settings: Settings, conninfo: str, schema: int, target: Path) -> BackupSummary:
    key = settings.data_dir / SIGNING_KEY_FILE
    has_key = not settings.signing_keys and key.exists()
    about: dict[str, Any] = {
        "format": FORMAT,
        "madeAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "chatd": __version__,
        "schema": schema,
        "files": settings.files,
    }
    with _new_file(target) as file:
        archive = ArchiveWriter(file)
        archive.add_json(ABOUT, about)
        if has_key:
            archive.add(KEY, [key.read_bytes()])
        size = archive.add(DUMP, dump(without_password(conninfo)))
        count = 0
        if settings.files == "local":
            for name, path in _files(settings.data_dir / FOLDER):
                count += _add_file(archive, name, path)
        archive.finish()
    return BackupSummary(schema, size, count, has_key)


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """Have a file for the block, mode 0600, which gets its name when the block ends well."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            yield file
        Path(draft).rename(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield names and paths of what lies there whole; `incoming` first: files move from there."""
    for place in (folder / "incoming", *sorted(folder.glob("stored/*"))):
        if place.is_dir():
            for entry in os.scandir(place):
                if not entry.name.endswith(".part"):
                    path = Path(entry.path)
                    yield f"{FOLDER}/{path.relative_to(folder)}", path


def _add_file(archive: ArchiveWriter, name: str, path: Path) -> bool:
    """Add a file; False when it was deleted meanwhile. What lies there is never written again."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
        archive.add(name, iter(lambda: file.read(CHUNK), b""))
    return True
