"""A backup, put back into an empty place, as a log of its own: with a new epoch.

The order: the archive is read to its end and checked, then the place is looked at, then files and
key are written, and at last the database is loaded in one transaction. What fails takes away what
it has written; what is killed leaves a place that is not empty, which the next try refuses.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import trio

from chatd.config import Settings, SettingsError
from chatd.keys import SIGNING_KEY_FILE
from chatd.nurseries.archive import DUMP, KEY, ArchiveError, Member, members, read, verify
from chatd.nurseries.files import FOLDER
from chatd.nurseries.pgtools import load
from chatd.nurseries.postgres import lock_data_folder, open_postgres
from chatd.store.dumps import begin_history, collation_in, known_files, tables_in, without_password
from chatd.store.migrate import SchemaTooNew, migrate, migrations
from chatd.store.pool import open_pool

PATIENCE = 60.0  # seconds to ask for the files of one folder
_OURS = ("postgres", FOLDER, SIGNING_KEY_FILE)  # in the data folder


class RestoreSummary(NamedTuple):
    """What was restored."""

    made_at: str
    epoch: str
    files: int
    left_out: int  # files that came behind the dump
    migrations: int
    has_key: bool


async def restore(settings: Settings, source: Path) -> RestoreSummary:
    """Put a backup into the empty database and the empty data folder of the settings.

    Raises:
        ArchiveError: it is no whole backup; nothing was touched.
        SchemaTooNew: a newer chatd made it; nothing was touched.
        SettingsError: the place is not empty, or another kind of place; nothing was touched.
        PostgresError, StoreError, OSError: it failed, and what was written is gone again.
    """
    with source.open("rb") as file:
        about, found = await trio.to_thread.run_sync(verify, file)
        known = {member.name: member for member in found}
        if DUMP not in known:
            raise ArchiveError("the archive has no database")
        if about["schema"] > migrations()[-1].number:
            msg = f"the backup has schema {about['schema']}: update chatd"
            raise SchemaTooNew(msg)
        if about["files"] != settings.files:
            msg = f"the backup was made with files={about['files']}: set it here too"
            raise SettingsError(msg)
        with lock_data_folder(settings.data_dir):
            _refuse_what_is_there(settings)
            async with _cleaned_up(settings.data_dir), _database(settings) as conninfo:
                return await _fill(settings, conninfo, file, known, about["madeAt"])


async def _fill(
    settings: Settings, conninfo: str, file: BinaryIO, known: dict[str, Member], made_at: str
) -> RestoreSummary:
    if await tables_in(conninfo):
        msg = "the database is not empty: restore into a new one"
        raise SettingsError(msg)
    key = None if settings.signing_keys else known.get(KEY)
    count = await trio.to_thread.run_sync(_write_files, settings.data_dir, file, key)
    put = partial(load, collation=await collation_in(conninfo))
    where = without_password(conninfo)
    await trio.to_thread.run_sync(put, where, file, known[DUMP].offset)
    epoch = await begin_history(conninfo)
    steps = await migrate(conninfo)
    left_out = await _leave_out_unknown(conninfo, settings.data_dir / FOLDER / "stored")
    return RestoreSummary(
        made_at, str(epoch), count - left_out, left_out, steps, has_key=key is not None
    )


def _refuse_what_is_there(settings: Settings) -> None:
    for name in _OURS:
        path = settings.data_dir / name
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            msg = f"{path} exists: restore into an empty data folder"
            raise SettingsError(msg)


@asynccontextmanager
async def _cleaned_up(data_dir: Path) -> AsyncIterator[None]:
    """Take away what the block wrote to an empty data folder, unless it ends well."""
    try:
        yield
    except BaseException:
        for name in _OURS:
            _empty(data_dir / name)
        raise


def _empty(path: Path) -> None:
    """Remove a file, or what is in a folder: it may be a mount, as the files of a container."""
    if path.is_dir():
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    else:
        path.unlink(missing_ok=True)


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[str]:
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with open_postgres(settings.data_dir) as server:
        yield server.conninfo


def _write_files(data_dir: Path, file: BinaryIO, key: Member | None) -> int:
    """Write the files and the key; return how many files there are. Durable on return."""
    count = 0
    for member in members(file):
        if member.name.startswith(f"{FOLDER}/"):
            path = data_dir / member.name
            _make(path.parent)
            _write(path, file, member)
            count += 1
    if key is not None:
        _write(data_dir / SIGNING_KEY_FILE, file, key)
    os.sync()  # once for all of them, where a flush of each would take minutes
    return count


def _make(folder: Path) -> None:
    """Make a folder for our eyes only; `parents=True` would make those between for everybody."""
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700)


def _write(path: Path, file: BinaryIO, member: Member) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as target:  # noqa: PTH123 - of a descriptor
        target.writelines(read(file, member))


async def _leave_out_unknown(conninfo: str, stored: Path) -> int:
    """Delete stored bytes that no row knows, since no sweep ever would; return how many files."""
    count = 0
    async with open_pool(conninfo, size=1, query_timeout=PATIENCE) as pool:
        for folder in await trio.to_thread.run_sync(_entries, stored):
            paths = await trio.to_thread.run_sync(_entries, folder)
            known = await known_files(pool, [path.name[:32] for path in paths])
            unknown = [path for path in paths if path.name[:32] not in known]
            await trio.to_thread.run_sync(_delete, unknown)
            count += len(unknown)
    return count


def _entries(folder: Path) -> list[Path]:
    return list(folder.glob("*"))


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()
