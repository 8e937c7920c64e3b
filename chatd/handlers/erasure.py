"""The end of an account, asked for by its owner."""

from __future__ import annotations

from uuid import UUID

from chatd.context import Caller, Services
from chatd.errors import CloseCode, StoreAmbiguous, Unauthorized
from chatd.events.answers import Nothing
from chatd.events.erasure import UserErase
from chatd.handlers.bots import end_all
from chatd.handlers.operations import Operation, Route
from chatd.handlers.proof import proved_account
from chatd.limits import Rate


async def erase(services: Services, caller: Caller, command: UserErase) -> bytes:
    """End the caller's account: what says who they are is gone when this is answered.

    Their traces in sessions go after it, bit by bit (`chatd.context.Erasures`).
    """
    assert caller.identity is not None  # noqa: S101 - needs_login
    await proved_account(services, caller, command.password)
    await end_all(services, caller.user_id)
    family_ids = await _begin(services, caller, command)
    cut = {caller.identity.family_id, *family_ids}
    services.sockets.cut_user(caller.user_id, cut, CloseCode.REVOKED)
    if services.assistant is not None:
        services.assistant.end_user(caller.user_id)
    services.erasures.wake()
    await end_all(services, caller.user_id)  # one that was made meanwhile; from now on none is
    return b"{}"


async def _begin(services: Services, caller: Caller, command: UserErase) -> list[UUID]:
    store, deletes = services.store, command.messages == "DELETE"
    at = services.now()
    try:
        found = await store.begin_erasure(caller.user_id, deletes_messages=deletes, at=at)
    except StoreAmbiguous:  # what it has done it tells again; nobody could ask a second time
        found = await store.begin_erasure(caller.user_id, deletes_messages=deletes, at=at)
    if found is None:
        raise Unauthorized
    return found


OPERATIONS = (
    Operation(
        "user-erase",
        UserErase,
        Nothing,
        "End the caller's account",
        run=erase,
        is_for_unverified=True,
        route=Route("DELETE", "/users/me", 202, takes_body=True),
        rate=Rate(5 / 60, 5),  # a password can be tried here
    ),
)
