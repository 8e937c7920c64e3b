"""The password of an account: forgotten and set by a mailed link, or changed (docs/security.md)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID

from chatd.context import Caller, Services
from chatd.errors import CloseCode, Conflict, StoreAmbiguous, Unauthorized
from chatd.events.answers import Nothing
from chatd.events.mail import PasswordChange, PasswordForgot, PasswordReset
from chatd.handlers.accounts import LOGIN_RATE
from chatd.handlers.audit import Act, write_down
from chatd.handlers.links import notify, post_reset, required_mailer, spend_mail
from chatd.handlers.mail import NOT_GOOD, own_account
from chatd.handlers.operations import Operation, Route
from chatd.handlers.proof import prove, refuse_telling
from chatd.letters import password_changed
from chatd.limits import Rate
from chatd.tokens import hash_token

T = TypeVar("T")


async def forgot(services: Services, caller: Caller, command: PasswordForgot) -> bytes:
    """Send the link that sets a new password, if the address has an account.

    Nothing is looked up before the answer: whether there is one is told by no body, no status and
    no time.
    """
    required_mailer(services)
    spend_mail(services, caller, command.email)
    post_reset(services, caller, command.email)
    return b"{}"


async def reset(services: Services, caller: Caller, command: PasswordReset) -> bytes:
    """Set a new password with a mailed link, and end all logins.

    It logs nobody in: who has the mailbox alone does not pass by what else a login asks for.
    """
    required_mailer(services)
    store, token_hash = services.store, hash_token(command.token)
    user = await store.reset_owner(token_hash, services.now())
    if user is None:
        raise Unauthorized(NOT_GOOD)
    refuse_telling(services, command.password, user.email, "password")
    password_hash = await services.passwords.hash(command.password)
    setting = store.reset_password(token_hash, password_hash, services.now())
    done = await _known(services, user.id, setting)
    if done is None:
        raise Unauthorized(NOT_GOOD)
    _cut(services, done.user_id, done.family_ids, kept_id=None)
    services.verified.add(done.user_id)
    await write_down(services, caller, Act.PASSWORD_RESET, done.user_id)
    notify(services, password_changed, done.email)
    return b"{}"


async def change(services: Services, caller: Caller, command: PasswordChange) -> bytes:
    """Change the caller's password, and end their other logins."""
    assert caller.identity is not None  # noqa: S101 - needs_login
    user = await own_account(services, caller)
    await prove(services, caller, user, command.password)
    refuse_telling(services, command.new_password, user.email, "newPassword")
    new_hash = await services.passwords.hash(command.new_password)
    own_id = caller.identity.family_id
    changing = services.store.change_password(
        user.id,
        old_hash=user.password_hash,
        new_hash=new_hash,
        kept_family_id=own_id,
        at=services.now(),
    )
    family_ids = await _known(services, user.id, changing)
    if family_ids is None:
        msg = "the password was changed elsewhere at this moment"
        raise Conflict(msg)
    _cut(services, user.id, family_ids, kept_id=own_id)
    await write_down(services, caller, Act.PASSWORD_CHANGED, user.id)
    notify(services, password_changed, user.email)
    return b"{}"


async def _known(services: Services, user_id: UUID, change: Awaitable[T]) -> T:
    """Return what a change came to; when nobody knows, all logins end, as they might have."""
    try:
        return await change
    except StoreAmbiguous as trouble:
        unknown = trouble
    family_ids = await services.store.revoke_user(user_id, services.now())
    _cut(services, user_id, family_ids, kept_id=None)
    raise unknown


def _cut(services: Services, user_id: UUID, family_ids: list[UUID], kept_id: UUID | None) -> None:
    """End the sockets and access tokens of revoked logins, and whatever else is live, but one.

    Where one is kept, so are API tokens.
    """
    services.sockets.cut_user(user_id, family_ids, CloseCode.REVOKED, kept=kept_id)


OPERATIONS = (
    Operation(
        "password-forgot",
        PasswordForgot,
        Nothing,
        "Send a link that sets a new password, if the address has an account",
        run=forgot,
        route=Route("POST", "/auth/password/forgot", 202),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
    Operation(
        "password-reset",
        PasswordReset,
        Nothing,
        "Set a new password with a mailed link, and end all logins",
        run=reset,
        route=Route("POST", "/auth/password/reset"),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
    Operation(
        "password-change",
        PasswordChange,
        Nothing,
        "Change the caller's password, and end their other logins",
        run=change,
        route=Route("POST", "/auth/password"),
        is_for_unverified=True,
        rate=Rate(5 / 60, 5),  # a password can be tried here
    ),
)
