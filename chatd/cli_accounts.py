"""`chatd user`: what an operator does to accounts.

On the embedded PostgreSQL no daemon may run meanwhile. On a `database_url` one may: of logins that
were ended here it takes access tokens until they expire (`access_token_ttl`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from chatd.config import Settings, SettingsError
from chatd.console import (
    Config,
    DatabaseUrl,
    DataDir,
    Who,
    account_of,
    checked,
    read_settings,
    with_store,
)
from chatd.contract import Store
from chatd.events.accounts import Register
from chatd.events.api_tokens import BotCreate
from chatd.handlers.audit import BY_OPERATOR, Act
from chatd.ids import bot_id, uuid7
from chatd.nurseries.daemon import wall_clock
from chatd.passwords import Passwords

PAGE = 200  # accounts of one read
NewPassword = Annotated[
    str,
    typer.Option("--password", prompt=True, hide_input=True, confirmation_prompt=True),
]


user_app = typer.Typer(help="Accounts.", no_args_is_help=True)


@user_app.command("list")
def user_list(
    query: Annotated[str, typer.Option(help="part of a name, or a whole address")] = "",
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print accounts, one a line: id, address, name."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        after = None
        while rows := await store.find_users(query, after=after, limit=PAGE):
            for row in rows:
                typer.echo(f"{row.user.id} {row.user.email} {row.user.name}")
            after = (rows[-1].rank, rows[-1].key, rows[-1].user.id)

    with_store(settings, work)


@user_app.command("create")
@user_app.command("add", hidden=True)
def user_create(
    email: str,
    password: NewPassword,
    name: Annotated[str | None, typer.Option(help="shown to others")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Open an account."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)
    command = checked(lambda: Register(email=email, password=password, name=name))

    async def work(store: Store) -> None:
        user = await store.insert_user(
            user_id=uuid7(),
            email=command.email,
            name=command.name or command.email.split("@")[0],
            password_hash=await _hash(settings, command.password),
            created_at=wall_clock(),
        )
        if user is None:
            msg = "this address has an account"
            raise SettingsError(msg)
        typer.echo(f"{user.id} {user.email}")

    with_store(settings, work)


@user_app.command("create-bot")
def user_create_bot(
    name: str,
    owner: Annotated[str | None, typer.Option(help="address or id; by default nobody")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Open the account of a bot: only API tokens speak for it."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)
    command = checked(lambda: BotCreate(name=name))

    async def work(store: Store) -> None:
        bot = await store.insert_bot(
            user_id=bot_id(),
            owner_id=None if owner is None else (await account_of(store, owner)).id,
            name=command.name,
            created_at=wall_clock(),
            limit=settings.max_bots_per_user,
        )
        if bot is None:
            msg = f"{owner} has {settings.max_bots_per_user} bots, or has ended the account"
            raise SettingsError(msg)
        typer.echo(f"{bot.id} {bot.name}")

    with_store(settings, work)


@user_app.command("set-password")
def user_set_password(
    who: Who,
    password: NewPassword,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Set a password, and end all logins and API tokens of the account."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)
    # As for a new account; the address is not looked at.
    command = checked(lambda: Register(email="a@example.org", password=password))

    async def work(store: Store) -> None:
        user = await account_of(store, who)
        hashed, at = await _hash(settings, command.password), wall_clock()
        ended = await store.set_password(user.id, hashed, at)
        if ended is None:
            msg = "this account has ended"
            raise SettingsError(msg)
        act = Act.PASSWORD_SET.value
        await store.write_audit(act, user_id=user.id, address=None, at=at, details=BY_OPERATOR)
        typer.echo(f"{user.id} has a new password; {len(ended)} logins and API tokens ended")

    with_store(settings, work)


@user_app.command("end-logins")
def user_end_logins(
    who: Who,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """End all logins and API tokens of an account, whose password stays: a phone was stolen."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        user, at = await account_of(store, who), wall_clock()
        ended = await store.revoke_user(user.id, at)
        act = Act.LOGOUT_ALL.value
        await store.write_audit(act, user_id=user.id, address=None, at=at, details=BY_OPERATOR)
        typer.echo(f"{user.id}: {len(ended)} logins and API tokens ended")

    with_store(settings, work)


@user_app.command("disable-totp")
def user_disable_totp(
    who: Who,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Take the second factor of an account away: somebody has lost phone and recovery codes."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        user = await account_of(store, who)
        if not await store.remove_second_factor(user.id):
            msg = "this account has no second factor"
            raise SettingsError(msg)
        act, at = Act.SECOND_FACTOR_DISABLED.value, wall_clock()
        await store.write_audit(act, user_id=user.id, address=None, at=at, details=BY_OPERATOR)
        typer.echo(f"{user.id} logs in with the password alone")

    with_store(settings, work)


async def _hash(settings: Settings, password: str) -> str:
    return await Passwords(rounds=settings.bcrypt_rounds, queue=1).hash(password)
