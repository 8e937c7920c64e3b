"""API tokens: made once, shown once, listed, revoked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.api_tokens import new_api_token, ordered_scopes
from chatd.context import Caller, Services
from chatd.contract.api_tokens import ApiTokenRow
from chatd.errors import CloseCode, Conflict, NotFound
from chatd.events.answers import Nothing
from chatd.events.api_tokens import ApiTokenCreate, ApiTokenMade, ApiTokenRef, ApiTokens
from chatd.handlers.audit import Act, write_down
from chatd.handlers.operations import Operation, Route
from chatd.handlers.refusals import missing, wrong
from chatd.ids import uuid7
from chatd.limits import Rate
from chatd.model import dumps, iso, iso_or_none
from chatd.tokens import hash_token


async def create(services: Services, caller: Caller, command: ApiTokenCreate) -> bytes:
    """Make a token and show it, this once."""
    now = services.now()
    if command.expires_at is not None and command.expires_at <= now:
        raise wrong("expiresAt", "is over")
    token = new_api_token()
    row = ApiTokenRow(
        id=uuid7(),
        user_id=await _speaker(services, caller, command.bot_id),
        name=command.name,
        scopes=ordered_scopes(command.scopes),
        created_at=now,
        expires_at=command.expires_at,
        last_used_at=None,
    )
    assert caller.identity is not None  # noqa: S101 - needs_login
    limit, asked_by = services.settings.max_api_tokens, caller.identity.family_id
    store, token_hash = services.store, hash_token(token)
    if not await store.insert_api_token(row, token_hash, limit=limit, asked_by=asked_by):
        msg = f"there are {limit} tokens: revoke one first"
        raise Conflict(msg)
    await write_down(services, caller, Act.API_TOKEN_CREATED, caller.user_id, **_trace(row))
    return dumps({"token": token, "apiToken": api_token_dict(row)})


async def _speaker(services: Services, caller: Caller, bot_id: UUID | None) -> UUID:
    if bot_id is None:
        return caller.user_id
    if bot_id not in {bot.id for bot in await services.store.bots_of(caller.user_id)}:
        raise missing("botId", "no such bot of yours")
    return bot_id


async def list_own(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Return the tokens of the caller and of the caller's bots."""
    rows = await services.store.api_tokens(caller.user_id)
    return dumps({"tokens": [api_token_dict(row) for row in rows]})


async def revoke(services: Services, caller: Caller, command: ApiTokenRef) -> bytes:
    """End a token and its sockets."""
    rows = await services.store.api_tokens(caller.user_id)
    row = next((row for row in rows if row.id == command.token_id), None)
    if row is None:
        raise NotFound
    try:
        await services.store.revoke_api_token(row.id, caller.user_id)
    finally:  # also when the answer was lost: it may be gone, and nobody could ask again
        services.sockets.cut_families([row.id], CloseCode.REVOKED)
    await write_down(services, caller, Act.API_TOKEN_REVOKED, caller.user_id, **_trace(row))
    return b"{}"


def _trace(row: ApiTokenRow) -> dict[str, Any]:
    return {"tokenId": str(row.id), "userId": str(row.user_id), "scopes": list(row.scopes)}


def api_token_dict(row: ApiTokenRow) -> dict[str, Any]:
    """Return an `ApiToken`."""
    return {
        "id": row.id,
        "userId": row.user_id,
        "name": row.name,
        "scopes": row.scopes,
        "createdAt": iso(row.created_at),
        "expiresAt": iso_or_none(row.expires_at),
        "lastUsedAt": iso_or_none(row.last_used_at),
    }


OPERATIONS = (
    Operation(
        "api-token-create",
        ApiTokenCreate,
        ApiTokenMade,
        "Make an API token; it is shown once",
        run=create,
        route=Route("POST", "/auth/tokens", 201),
        rate=Rate(10 / 60, 20),
    ),
    Operation(
        "api-token-list",
        Nothing,
        ApiTokens,
        "The API tokens of the caller and of the caller's bots",
        run=list_own,
        route=Route("GET", "/auth/tokens"),
        rate=Rate(1, 20),
    ),
    Operation(
        "api-token-revoke",
        ApiTokenRef,
        Nothing,
        "Revoke an API token",
        run=revoke,
        route=Route("DELETE", "/auth/tokens/<uuid:token_id>"),
        rate=Rate(1, 50),
    ),
)
