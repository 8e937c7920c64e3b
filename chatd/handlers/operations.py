"""What an operation is, and how it is called from any wire.

An operation is written once: a command (the pydantic model of its input), a function, and the
names under which it is reached: an event on the sockets, a route on REST, or both. `call` and
`submit` validate, check, run and translate what goes wrong into a `ChatError`, for every wire the
same way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast
from uuid import UUID

import structlog
from pydantic import BaseModel, ValidationError

from chatd.addresses import address_key
from chatd.context import Caller, Services
from chatd.errors import (
    ChatError,
    Draining,
    Forbidden,
    InternalError,
    RateLimited,
    StoreBug,
    StoreError,
    Unauthorized,
    Unavailable,
    ValidationFailed,
)
from chatd.handlers.scopes import check_scope
from chatd.limits import Rate, Table, budget_of

C = TypeVar("C", bound=BaseModel)
USUAL_RATE = Rate(20, 100)  # of one operation by one user: a busy client, not a loop
Reply = Callable[[bytes | ChatError], None]

log = structlog.get_logger("chatd.operations")


@dataclass(frozen=True, slots=True)
class Followed:
    """An answer, and what to do as soon as it is on its way."""

    data: bytes
    then: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer of REST that is made while it is read; whoever has it closes `pieces`."""

    pieces: AsyncGenerator[bytes, None]
    content_type: str
    filename: str | None = None  # of what is to be saved; None: it is read as it comes


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer of REST that sends a browser elsewhere, with a cookie (a Set-Cookie header)."""

    url: str
    cookie: str | None = None


Run = Callable[[Services, Caller, Any], Awaitable[bytes | Followed | Streamed | Redirect]]
Submit = Callable[[Services, Caller, Any, Reply], None]


@dataclass(frozen=True, slots=True)
class Route:
    """How REST reaches an operation; path parameters are fields of the command."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    status: int = 200
    media: str = "application/json"
    takes_body: bool = False  # also a DELETE: a password does not belong into a URL
    events: bool = False  # who accepts text/event-stream gets one, with status 200


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that clients can do. Exactly one of `run` and `submit` is set.

    `submit` starts the operation and answers later through `Reply`, in the step in which it is
    committed: so one connection can have many under way, and its ack goes ahead of the echo.
    """

    name: str
    command: type[BaseModel]
    answer: type[BaseModel] | None
    summary: str
    run: Run | None = None
    submit: Submit | None = None
    event: str | None = None
    route: Route | None = None
    needs_login: bool = True
    needs_socket: bool = False
    is_page: bool = False  # browsers come here by themselves: a refusal is shown to a person
    is_for_unverified: bool = False  # a GET always is; see `_refuse_unverified`
    is_activity: bool = True  # False: it is no sign of somebody at the device, or is one itself
    rate: Rate = USUAL_RATE  # per user, or per address before login
    is_lookup: bool = False  # though its method is not GET

    @property
    def is_read(self) -> bool:
        """Whether no read shows that it was called; what sockets alone have is about themselves."""
        return self.is_lookup or self.route is None or self.route.method == "GET"


def _check(
    services: Services, caller: Caller, operation: Operation, data: object, now: float
) -> BaseModel:
    """Return the validated command of a caller who may call this operation now."""
    if services.is_draining() and operation.submit is not None:
        raise Draining(retry_after=services.settings.drain_seconds)
    if operation.needs_login and caller.identity is None:
        raise Unauthorized
    if caller.identity:
        key = (operation.name, caller.identity.user_id)
        spend(services, caller, "user", key, operation.rate, now)
        if caller.identity.scopes is not None:
            check_scope(operation.name, caller.identity.scopes)
    else:
        of_address = (operation.name, address_key(caller.address))
        spend(services, caller, "address", of_address, operation.rate, now)
    if caller.identity and caller.identity.is_unverified:
        _refuse_unverified(services, caller.identity.user_id, operation)
    if operation.needs_socket and caller.socket is None:
        msg = "this event needs a socket"
        raise ValidationFailed(msg)
    try:
        return operation.command.model_validate(data)
    except ValidationError as refusal:
        raise ValidationFailed(details={"fields": _fields(refusal, data)}) from None


def _refuse_unverified(services: Services, user_id: UUID, operation: Operation) -> None:
    """Refuse what is not for an account whose address nobody has verified, where that is required.

    Such an account reads, and looks after its logins and itself; it says and makes nothing. The
    token says so, so that no message waits for a look into the store.
    """
    is_read = operation.route is not None and operation.route.method == "GET"
    if (
        services.settings.email_verification == "required"
        and not (is_read or operation.is_for_unverified)
        and user_id not in services.verified
    ):
        msg = "verify your mail address first"
        raise Forbidden(msg, details={"reason": "email_unverified"})


def spend(
    services: Services,
    caller: Caller,
    table: Table,
    key: tuple[object, ...],
    rate: Rate,
    now: float,
) -> None:
    """Count a call against a rate; of several the caller is told the one with the least left.

    Raises:
        RateLimited: with the seconds after which the same call passes.
    """
    try:
        debt = services.limiter.check(table, key, rate, now)
    except RateLimited:
        caller.spent = (rate, rate.burst / rate.per_second)
        raise
    if caller.spent is None or _left(rate, debt) < _left(*caller.spent):
        caller.spent = (rate, debt)


def _left(rate: Rate, debt: float) -> int:
    return budget_of(rate, debt).remaining


def _fields(refusal: ValidationError, data: object) -> list[dict[str, str]]:
    """Return what is wrong with which field, without the input: it may be a password."""
    errors = refusal.errors(include_input=False, include_url=False, include_context=False)
    return [
        {"field": _field(error["loc"], data), "message": _message(error["type"], error["msg"])}
        for error in errors[:20]
    ]


def _field(location: tuple[int | str, ...], data: object) -> str:
    """Return where in the data something is wrong, as its sender knows it.

    Pydantic's location also says which branch of a union was tried (`mentions.list[uuid].0`): what
    leads nowhere in the data is left out, behind the first part, which is a field, missing or not.
    """
    path: list[str] = []
    place = data
    for part in location:
        if isinstance(place, dict) and (part in place or not path):
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part]
        else:
            continue
        path.append(str(part))
    return ".".join(path)


def _message(kind: str, text: str) -> str:
    if kind == "model_type":
        return "Input should be an object"  # pydantic's text names the class
    return text.removeprefix("Value error, ")


async def call(
    services: Services, caller: Caller, operation: Operation, data: object, now: float
) -> bytes | Followed | Streamed | Redirect:
    """Run an operation and return its answer as JSON.

    Raises:
        ChatError: it was refused; whatever else went wrong has been logged and is an InternalError.
    """
    try:
        command = _check(services, caller, operation, data, now)
        assert operation.run is not None  # noqa: S101 - the registry's promise
        return await operation.run(services, caller, command)
    except Exception as trouble:  # noqa: BLE001 - translated and raised again
        raise translate(trouble, caller, operation.name) from None
    finally:  # also when it failed, or nobody waits for it: it may have written all the same
        _note_writer(services, caller, operation)


def submit(
    services: Services, caller: Caller, operation: Operation, data: object, now: float, reply: Reply
) -> None:
    """Start an operation that answers when it is committed; refusals go to `reply` too."""
    try:
        command = _check(services, caller, operation, data, now)
        if services.freshness is not None:
            reply = _noting(services, caller, operation, reply)
        cast("Submit", operation.submit)(services, caller, command, reply)
    except Exception as trouble:  # noqa: BLE001 - translated and answered
        reply(translate(trouble, caller, operation.name))


def _noting(services: Services, caller: Caller, operation: Operation, reply: Reply) -> Reply:
    def note_and_reply(answer: bytes | ChatError) -> None:
        _note_writer(services, caller, operation)
        reply(answer)

    return note_and_reply


def _note_writer(services: Services, caller: Caller, operation: Operation) -> None:
    """Remember, before they are told, who has written: no read replica hides it from them."""
    if services.freshness is not None and caller.identity is not None and not operation.is_read:
        services.freshness.wrote(caller.identity.user_id)


def translate(trouble: Exception, caller: Caller, where: str) -> ChatError:
    """Return the refusal that a client is told; a bug is logged here, once, with its traceback."""
    if isinstance(trouble, ChatError):
        return trouble
    if isinstance(trouble, StoreError) and not isinstance(trouble, StoreBug):
        log.warning("store", operation=where, request=caller.request_id, error=str(trouble))
        return Unavailable(retry_after=1)
    log.error("bug", operation=where, request=caller.request_id, exc_info=trouble)
    return InternalError()
