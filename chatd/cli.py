"""The command line; `chatd --help` tells what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import trio
import typer
from pydantic import ValidationError

from chatd import __version__
from chatd.audit_chain import parse_head
from chatd.config import (
    Settings,
    SettingsError,
    describe,
    load_settings,
)
from chatd.errors import StoreError
from chatd.events.accounts import Register
from chatd.ids import uuid7
from chatd.keyring import load_keyring
from chatd.keys import load_signing_keys
from chatd.logs import configure_logs
from chatd.nurseries.daemon import open_store, run_daemon, wall_clock
from chatd.nurseries.pgaccount import PostgresError
from chatd.nurseries.postgres import DataFolderInUse
from chatd.passwords import Passwords
from chatd.tokens import AccessTokens
from chatd.upkeep import give_up, rotate, tell_encryption, verify_audit

app = typer.Typer(
    help="chatd: a real-time chat server, one daemon on one port.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
user_app = typer.Typer(help="Accounts.", no_args_is_help=True)
app.add_typer(user_app, name="user")
encryption_app = typer.Typer(help="Messages encrypted at rest.", no_args_is_help=True)
app.add_typer(encryption_app, name="encryption")
audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

Config = Annotated[Path | None, typer.Option("--config", help="settings file (TOML)")]
Port = Annotated[int | None, typer.Option(help="the one port; 0 takes a free one")]
Host = Annotated[str | None, typer.Option(help="address to listen on")]
DataDir = Annotated[Path | None, typer.Option(help="signing key, embedded PostgreSQL, files")]
DatabaseUrl = Annotated[str | None, typer.Option(help="any PostgreSQL 15 or newer")]


def _fail(message: object) -> NoReturn:
    typer.echo(f"chatd: {message}", err=True)
    raise typer.Exit(1)


def _settings(config: Path | None, **flags: Any) -> Settings:
    try:
        settings = load_settings(config, **flags)
    except SettingsError as refusal:
        _fail(refusal)
    configure_logs(settings.log_format, settings.log_level)
    return settings


def _run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a command; what an operator can mend is one clear line, the rest a traceback."""
    known = (SettingsError, DataFolderInUse, PostgresError, StoreError, OSError)
    message: list[BaseException] = []
    try:
        try:
            trio.run(work, strict_exception_groups=True)
        except* known as refusals:
            message.append(_first_of(refusals))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if message:
        _fail(message[0])


def _first_of(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


@app.command()
def serve(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Serve until SIGTERM or SIGINT: the first drains, a second one ends at once."""
    settings = _settings(config, host=host, port=port, data_dir=data_dir, database_url=database_url)

    def announce(bound: int) -> None:
        scheme = "https" if settings.tls_certfile else "http"
        shown = "localhost" if settings.host in {"0.0.0.0", "127.0.0.1", "::"} else settings.host
        url = f"{scheme}://{shown}:{bound}"
        typer.echo(f"chatd {__version__} serves on {url}")
        typer.echo(f"  API reference   {url}/docs")
        typer.echo(f"  try it          chatd chat --url {url} --register   (in two terminals)")
        typer.echo("  stop            Ctrl-C")
        sys.stdout.flush()

    async def work() -> None:
        await run_daemon(settings, announce)

    _run(work)


@app.command()
def check(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Validate the settings and show where each value came from, secrets hidden."""
    flags = {"host": host, "port": port, "data_dir": data_dir, "database_url": database_url}
    settings = _settings(config, **flags)
    for view in describe(settings, config, flags):
        unit = f" {view.unit}" if view.unit else ""
        typer.echo(f"{view.name:24} {view.value + unit:32} {view.source:12} {view.reason}")
    try:
        load_signing_keys(settings, make=False)
        load_keyring(settings)
    except SettingsError as refusal:
        _fail(refusal)
    typer.echo("ok")


@app.command()
def migrate(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Bring the database to the schema of this version; `serve` does it too."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(settings) as (store, _):
            await store.ping()
        typer.echo("the schema is current")

    _run(work)


@user_app.command("add")
def user_add(
    email: str,
    name: Annotated[str | None, typer.Option(help="shown to others")] = None,
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)
    ] = "",
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Open an account while no daemon runs on the data folder, or on any database_url."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)
    command = _registration(email, password, name)

    async def work() -> None:
        passwords = Passwords(rounds=settings.bcrypt_rounds, queue=1)
        async with open_store(settings) as (store, _):
            user = await store.insert_user(
                user_id=uuid7(),
                email=command.email,
                name=command.name or command.email.split("@")[0],
                password_hash=await passwords.hash(command.password),
                created_at=wall_clock(),
            )
        if user is None:
            msg = "this address has an account"
            raise SettingsError(msg)
        typer.echo(f"{user.id} {user.email}")

    _run(work)


def _registration(email: str, password: str, name: str | None) -> Register:
    """Return the account as `POST /auth/register` would take it."""
    try:
        return Register(email=email, password=password, name=name)
    except ValidationError as refusal:
        _fail("; ".join(f"{error['loc'][0]}: {error['msg']}" for error in refusal.errors()))


@encryption_app.command("status")
def encryption_status(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Count what each key encrypts: reads all content, while no daemon runs on the data folder."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await tell_encryption(store, load_keyring(settings), typer.echo)

    _run(work)


@encryption_app.command("rotate")
def encryption_rotate(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Write all content anew with the first of encryption_keys, now; `serve` does it slowly."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await rotate(store, load_keyring(settings), wall_clock, typer.echo)

    _run(work)


@encryption_app.command("give-up")
def encryption_give_up(
    kid: str, config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Start without a key that is lost for ever: what it encrypts stays unreadable."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(settings) as (store, _):
            await give_up(store, kid, wall_clock(), typer.echo)

    _run(work)


@audit_app.command("verify")
def audit_verify(
    head: Annotated[str | None, typer.Option(help="position:hash, as noted earlier")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Look whether a line of the audit log was changed, removed, moved or added."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)
    try:
        noted = None if head is None else parse_head(head)
    except ValueError as refusal:
        _fail(refusal)

    async def work() -> None:
        async with open_store(_patient(settings)) as (store, _):
            await verify_audit(store, noted, typer.echo)

    _run(work)


def _patient(settings: Settings) -> Settings:
    """Return settings with time for statements that read everything."""
    return settings.model_copy(update={"query_timeout": 3600.0})


@app.command()
def token(
    email: str,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print an access token of an account, to try the API with; it cannot be refreshed."""
    settings = _settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        tokens = AccessTokens(load_signing_keys(settings), settings.access_token_ttl)
        async with open_store(settings) as (store, _):
            user = await store.user_by_email(email.lower())
        if user is None:
            msg = f"no account has the address {email}"
            raise SettingsError(msg)
        access, expires_at = tokens.issue(user.id, uuid7(), uuid7(), wall_clock())
        typer.echo(access)
        typer.echo(f"expires at {expires_at.isoformat()}", err=True)

    _run(work)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> None:
    """Run the benchmark of a source checkout; options as `python -m bench --help` tells."""
    if not Path("bench/__main__.py").is_file():
        _fail("the benchmark is part of the source checkout: run this in its top folder")
    command = [sys.executable, "-m", "bench", *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own


@app.command()
def chat(
    url: Annotated[str, typer.Option(help="where the daemon serves")] = "http://localhost:8000",
    email: Annotated[str, typer.Option(prompt=True)] = "",
    password: Annotated[str, typer.Option(prompt=True, hide_input=True)] = "",
    register: Annotated[bool, typer.Option(help="open an account first")] = False,
    name: Annotated[str | None, typer.Option(help="shown to others, with --register")] = None,
    session: Annotated[str | None, typer.Option(help="id of the session to open")] = None,
) -> None:
    """Chat in this terminal."""
    from chatd.terminal import run_terminal  # noqa: PLC0415 - the daemon does not load a client

    async def work() -> None:
        code = await run_terminal(url, email, password, session, register=register, name=name)
        if code:
            raise SystemExit(code)

    _run(work)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()
