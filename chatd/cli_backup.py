"""The commands for one's own backups: everything of a server into one file, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chatd.console import Config, DatabaseUrl, DataDir, read_settings, run
from chatd.nurseries.backup import back_up
from chatd.nurseries.restore import restore as restore_from

Archive = Annotated[Path, typer.Argument(help="the archive: it is as secret as the server")]


def backup(
    file: Archive,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write database, files and signing key to a new file, while the daemon runs or not."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        made = await back_up(settings, file)
        key = "with" if made.has_key else "without"
        typer.echo(
            f"{file}: schema {made.schema}, a dump of {made.database_bytes} bytes, "
            f"{made.files} files, {key} a signing key"
        )
        if settings.encryption_keys:
            typer.echo("encryption_keys are not in it: without them its messages are lost")

    run(work)


def restore(
    file: Archive,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup into an empty database and an empty data folder."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        done = await restore_from(settings, file)
        key = "with" if done.has_key else "without"
        typer.echo(
            f"restored what was backed up at {done.made_at}: {done.files} files, {key} a signing "
            f"key, {done.migrations} migrations; the epoch is {done.epoch}"
        )

    run(work)
