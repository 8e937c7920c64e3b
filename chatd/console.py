"""What all commands of the command line share: options, settings, how one ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import trio
import typer
from pydantic import ValidationError

from chatd.config import Settings, SettingsError, load_settings
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.logs import configure_logs
from chatd.nurseries.archive import ArchiveError
from chatd.nurseries.daemon import open_store
from chatd.nurseries.pgaccount import PostgresError
from chatd.nurseries.postgres import DataFolderInUse
from chatd.nurseries.workers import WorkerError
from chatd.rows import UserRow

Config = Annotated[Path | None, typer.Option("--config", help="settings file (TOML)")]
Port = Annotated[int | None, typer.Option(help="the one port; 0 takes a free one")]
Host = Annotated[str | None, typer.Option(help="address to listen on")]
DataDir = Annotated[Path | None, typer.Option(help="signing key, embedded PostgreSQL, files")]
Who = Annotated[str, typer.Argument(help="mail address or id of the account")]
DatabaseUrl = Annotated[str | None, typer.Option(help="any PostgreSQL 15 or newer")]
M = TypeVar("M")


def fail(message: object) -> NoReturn:
    """End with one clear line and exit code 1."""
    typer.echo(f"chatd: {message}", err=True)
    raise typer.Exit(1)


def read_settings(config: Path | None, **flags: Any) -> Settings:
    """Return the settings of this run; the log is set up by them."""
    try:
        settings = load_settings(config, **flags)
    except SettingsError as refusal:
        fail(refusal)
    configure_logs(settings.log_format, settings.log_level)
    return settings


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a command; what an operator can mend is one clear line, the rest a traceback."""
    known = (
        SettingsError,
        ArchiveError,
        DataFolderInUse,
        PostgresError,
        StoreError,
        WorkerError,
        OSError,
    )
    message: list[BaseException] = []
    try:
        try:
            trio.run(work, strict_exception_groups=True)
        except* known as refusals:
            message.append(_first_of(refusals))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if message:
        fail(message[0])


def _first_of(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def with_store(settings: Settings, work: Callable[[Store], Awaitable[None]]) -> None:
    """Run a command on the database of the settings. See `run`."""

    async def command() -> None:
        async with open_store(settings) as (store, _):
            await work(store)

    run(command)


async def account_of(store: Store, who: str) -> UserRow:
    """Return the account of a mail address or an id."""
    found = await store.user_by_email(who.lower())
    if found is None:
        with suppress(ValueError):
            found = next(iter(await store.users_by_ids([UUID(who)])), None)
    if found is None or found.email == f"deleted:{found.id}":
        msg = f"no account has the address {who}" if "@" in who else f"no account has the id {who}"
        raise SettingsError(msg)
    return found


def checked(make: Callable[[], M]) -> M:
    """Return a command as REST would take it."""
    try:
        return make()
    except ValidationError as refusal:
        fail("; ".join(f"{error['loc'][0]}: {error['msg']}" for error in refusal.errors()))
