"""The command line; `chatd --help` tells what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from chatd import __version__
from chatd.cli_accounts import user_app
from chatd.cli_backup import backup, restore
from chatd.cli_tokens import token_app
from chatd.cli_upkeep import audit_app, encryption_app
from chatd.config import SettingsError, describe
from chatd.console import Config, DatabaseUrl, DataDir, Host, Port, fail, read_settings, run
from chatd.keyring import load_keyring
from chatd.keys import load_signing_keys
from chatd.nurseries.daemon import open_store, run_daemon

app = typer.Typer(
    help="chatd: a real-time chat server, one daemon on one port.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(encryption_app, name="encryption")
app.add_typer(audit_app, name="audit")
app.command()(backup)
app.command()(restore)


@app.command()
def serve(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    workers: Annotated[
        int | None, typer.Option(help="processes on the one port; needs redis_url")
    ] = None,
) -> None:
    """Serve until SIGTERM or SIGINT: the first drains, a second one ends at once.

    With workers SIGHUP replaces them one by one, and no client is turned away.
    """
    flags = {"host": host, "port": port, "data_dir": data_dir, "database_url": database_url}
    settings = read_settings(config, **flags, workers=workers)

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
        if settings.workers > 1:
            from chatd.nurseries.supervisor import run_supervisor  # noqa: PLC0415 - others have none

            await run_supervisor(settings, config, announce)
        else:
            await run_daemon(settings, announce)

    run(work)


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
    settings = read_settings(config, **flags)
    for view in describe(settings, config, flags):
        unit = f" {view.unit}" if view.unit else ""
        typer.echo(f"{view.name:24} {view.value + unit:32} {view.source:12} {view.reason}")
    try:
        load_signing_keys(settings, make=False)
        load_keyring(settings)
    except SettingsError as refusal:
        fail(refusal)
    typer.echo("ok")


@app.command()
def migrate(
    config: Config = None, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Bring the database to the schema of this version; `serve` does it too."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work() -> None:
        async with open_store(settings) as (store, _):
            await store.ping()
        typer.echo("the schema is current")

    run(work)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> None:
    """Run the benchmark of a source checkout; options as `python -m bench --help` tells."""
    if not Path("bench/__main__.py").is_file():
        fail("the benchmark is part of the source checkout: run this in its top folder")
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

    run(work)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()
