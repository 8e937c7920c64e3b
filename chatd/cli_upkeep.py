"""The commands that look after what is stored: encryption, the audit log."""

from __future__ import annotations

from typing import Annotated

import typer

from chatd.audit_chain import parse_head
from chatd.config import Settings
from chatd.console import Config, DatabaseUrl, DataDir, fail, read_settings, run
from chatd.keyring import load_keyring
from chatd.nurseries.daemon import open_store, wall_clock
from chatd.upkeep import give_up, rotate, tell_encryption, verify_audit

encryption_app = typer.Typer(help="Messages encrypted at rest.", no_args_is_help=True)
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)


@encryption_app.command("status")
def encryption_status(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Count what each key encrypts: reads all content, while no daemon runs on the data folder."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await tell_encryption(store, load_keyring(settings), typer.echo)

    run(work)


@encryption_app.command("rotate")
def encryption_rotate(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Write all content anew with the first of encryption_keys, now; `serve` does it slowly."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await rotate(store, load_keyring(settings), wall_clock, typer.echo)

    run(work)


@encryption_app.command("give-up")
def encryption_give_up(
    kid: str, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Start without a key that is lost for ever: what it encrypts stays unreadable."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(settings) as (store, _):
            await give_up(store, kid, wall_clock(), typer.echo)

    run(work)


@audit_app.command("verify")
def audit_verify(
    head: Annotated[str | None, typer.Option(help="position:hash, as noted earlier")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Look whether a line of the audit log was changed, removed, moved or added."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)
    try:
        noted = None if head is None else parse_head(head)
    except ValueError as refusal:
        fail(refusal)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await verify_audit(store, noted, typer.echo)

    run(work)


def _patient(settings: Settings) -> Settings:
    """Return settings with time for statements that read everything."""
    return settings.model_copy(update={"query_timeout": 3600.0})
