"""Bots: accounts that only API tokens speak for, each with an owner."""

from __future__ import annotations

from uuid import UUID

from chatd.context import Caller, Services
from chatd.errors import CloseCode, Conflict, NotFound
from chatd.events.answers import Nothing
from chatd.events.api_tokens import BotAnswer, BotCreate, BotRef, Bots
from chatd.handlers.audit import Act, write_down
from chatd.handlers.operations import Operation, Route
from chatd.ids import bot_id
from chatd.limits import Rate
from chatd.model import dumps, user_dict


async def create(services: Services, caller: Caller, command: BotCreate) -> bytes:
    """Make a bot of the caller."""
    limit = services.settings.max_bots_per_user
    bot = await services.store.insert_bot(
        user_id=bot_id(),
        owner_id=caller.user_id,
        name=command.name,
        created_at=services.now(),
        limit=limit,
    )
    if bot is None:
        msg = f"there are {limit} bots: remove one first"
        raise Conflict(msg)
    services.presence.account_opened()
    await write_down(services, caller, Act.BOT_CREATED, caller.user_id, botId=str(bot.id))
    return dumps({"user": user_dict(bot)})


async def list_own(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Return the caller's bots."""
    rows = await services.store.bots_of(caller.user_id)
    return dumps({"bots": [user_dict(row) for row in rows]})


async def remove(services: Services, caller: Caller, command: BotRef) -> bytes:
    """End a bot as an account ends; what it wrote stays under a nameless user."""
    rows = await services.store.bots_of(caller.user_id)
    if command.user_id not in {row.id for row in rows}:
        raise NotFound
    await _end(services, command.user_id)
    await write_down(services, caller, Act.BOT_REMOVED, caller.user_id, botId=str(command.user_id))
    return b"{}"


async def end_all(services: Services, owner_id: UUID) -> None:
    """End the bots of somebody whose account ends: nobody answers for them any more."""
    for row in await services.store.bots_of(owner_id):
        await _end(services, row.id)


async def _end(services: Services, user_id: UUID) -> None:
    tokens = {row.id for row in await services.store.api_tokens(user_id)}
    store, at = services.store, services.now()
    try:
        found = await store.begin_erasure(user_id, deletes_messages=False, at=at)
        tokens.update(found or ())  # one that was made since
    finally:  # as with a single token
        services.sockets.cut_families(tokens, CloseCode.REVOKED)
    if services.assistant is not None:
        services.assistant.end_user(user_id)
    services.erasures.wake()


OPERATIONS = (
    Operation(
        "bot-create",
        BotCreate,
        BotAnswer,
        "Make a bot: an account that only API tokens speak for",
        run=create,
        route=Route("POST", "/users/me/bots", 201),
        rate=Rate(10 / 60, 20),
    ),
    Operation(
        "bot-list",
        Nothing,
        Bots,
        "The caller's bots",
        run=list_own,
        route=Route("GET", "/users/me/bots"),
        rate=Rate(1, 20),
    ),
    Operation(
        "bot-remove",
        BotRef,
        Nothing,
        "End a bot of the caller",
        run=remove,
        route=Route("DELETE", "/users/me/bots/<uuid:user_id>", 202),
        rate=Rate(1, 20),
    ),
)
