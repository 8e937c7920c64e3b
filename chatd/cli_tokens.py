"""`chatd token`: access tokens to try the API with, and API tokens.

On the embedded PostgreSQL no daemon may run meanwhile. On a `database_url` one may: it refuses an
API token that was revoked here after a minute at the latest.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer
from typer.core import TyperGroup

from chatd.api_tokens import SCOPES, new_api_token, ordered_scopes
from chatd.config import SettingsError
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
from chatd.contract.api_tokens import ApiTokenRow
from chatd.events.api_tokens import ApiTokenCreate
from chatd.handlers.audit import BY_OPERATOR, Act
from chatd.ids import uuid7
from chatd.keys import load_signing_keys
from chatd.model import iso_or_none
from chatd.nurseries.daemon import wall_clock
from chatd.tokens import AccessTokens, hash_token


class _TokenGroup(TyperGroup):
    """Takes `chatd token <address>` for `chatd token access <address>`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Return what is left for the command."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["access", *args]
        return super().parse_args(ctx, args)


token_app = typer.Typer(
    help="Access tokens and API tokens of accounts.", no_args_is_help=True, cls=_TokenGroup
)


@token_app.command("access")
def token_access(
    who: Who,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print an access token of an account, to try the API with; it cannot be refreshed."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        tokens = AccessTokens(load_signing_keys(settings), settings.access_token_ttl)
        user = await account_of(store, who)
        access, expires_at = tokens.issue(user.id, uuid7(), uuid7(), wall_clock())
        typer.echo(access)
        typer.echo(f"expires at {expires_at.isoformat()}", err=True)

    with_store(settings, work)


@token_app.command("create")
def token_create(
    who: Who,
    name: Annotated[str, typer.Option(help="what it is for")],
    scope: Annotated[list[str], typer.Option(help=f"{', '.join(SCOPES)}; may be repeated")],
    days: Annotated[int | None, typer.Option(min=1, help="until it expires; else never")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an API token of an account, mostly a bot's, and print it: it is not shown again."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)
    command = checked(lambda: ApiTokenCreate.model_validate({"name": name, "scopes": scope}))
    token, limit = new_api_token(), settings.max_api_tokens

    async def work(store: Store) -> None:
        user, at = await account_of(store, who), wall_clock()
        row = ApiTokenRow(
            id=uuid7(),
            user_id=user.id,
            name=command.name,
            scopes=ordered_scopes(command.scopes),
            created_at=at,
            expires_at=None if days is None else at + timedelta(days=days),
            last_used_at=None,
        )
        if not await store.insert_api_token(row, hash_token(token), limit=limit):
            msg = f"{who} has {limit} API tokens, or the account has ended"
            raise SettingsError(msg)
        act, details = Act.API_TOKEN_CREATED.value, {"tokenId": str(row.id), **BY_OPERATOR}
        await store.write_audit(act, user_id=user.id, address=None, at=at, details=details)
        typer.echo(token)

    with_store(settings, work)


@token_app.command("list")
def token_list(
    who: Who,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Print the API tokens of an account and its bots: id, name, scopes, last use."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        user = await account_of(store, who)
        for row in await store.api_tokens(user.id):
            used = iso_or_none(row.last_used_at) or "never"
            typer.echo(f"{row.id} {row.name} {','.join(row.scopes)} {used}")

    with_store(settings, work)


@token_app.command("revoke")
def token_revoke(
    who: Who,
    token_id: UUID,
    config: Config = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Revoke an API token of an account or one of its bots."""
    settings = read_settings(config, data_dir=data_dir, database_url=database_url)

    async def work(store: Store) -> None:
        user = await account_of(store, who)
        if await store.revoke_api_token(token_id, user.id) is None:
            msg = f"{who} has no API token {token_id}"
            raise SettingsError(msg)
        act, details = Act.API_TOKEN_REVOKED.value, {"tokenId": str(token_id), **BY_OPERATOR}
        await store.write_audit(
            act, user_id=user.id, address=None, at=wall_clock(), details=details
        )

    with_store(settings, work)
