"""The address of an account: verified by a link, changed by one (docs/security.md)."""

from __future__ import annotations

from chatd.context import Caller, Services
from chatd.errors import Conflict, Unauthorized
from chatd.events.answers import Nothing
from chatd.events.mail import EmailChange, EmailVerified, EmailVerify
from chatd.handlers.accounts import LOGIN_RATE
from chatd.handlers.audit import Act, write_down
from chatd.handlers.links import (
    notify,
    post_email_change,
    post_verification,
    required_mailer,
    spend_mail,
)
from chatd.handlers.operations import Operation, Route
from chatd.handlers.proof import prove
from chatd.letters import email_change_asked, email_changed
from chatd.limits import Rate
from chatd.model import dumps
from chatd.rows import UserRow
from chatd.tokens import hash_token

NOT_GOOD = "this link is not good, or not any more: ask for a new one"
MAIL_RATE = Rate(6 / 3600, 5)  # of a user, to whatever addresses: strangers get mail by it


async def ask(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Send the link that verifies the caller's address, once more."""
    required_mailer(services)
    user = await own_account(services, caller)
    if user.email_verified_at is not None:
        msg = "this address is verified"
        raise Conflict(msg)
    spend_mail(services, caller, user.email)
    post_verification(services, user)
    return b"{}"


async def verify(services: Services, caller: Caller, command: EmailVerify) -> bytes:
    """Use a link: the address is verified, or the new one is the account's.

    Nobody needs to be logged in where they read their mail.
    """
    required_mailer(services)
    row = await services.store.use_email_token(hash_token(command.token), services.now())
    if row is None:
        raise Unauthorized(NOT_GOOD)
    if row.is_taken:
        msg = "somebody else has this address by now"
        raise Conflict(msg)
    services.verified.add(row.user_id)
    act = Act.EMAIL_VERIFIED if row.old_email is None else Act.EMAIL_CHANGED
    await write_down(services, caller, act, row.user_id)
    if row.old_email is not None and row.old_email != row.email:
        notify(services, email_changed, row.old_email, row.email)
    return dumps({"email": row.email})


async def change(services: Services, caller: Caller, command: EmailChange) -> bytes:
    """Send a link to a new address; the account has it when that is used. The old one is told."""
    required_mailer(services)
    user = await own_account(services, caller)
    await prove(services, caller, user, command.password)
    if command.email == user.email:
        msg = "the account has this address"
        raise Conflict(msg)
    spend_mail(services, caller, command.email)
    post_email_change(services, user, command.email)
    await write_down(services, caller, Act.EMAIL_CHANGE_ASKED, user.id)
    notify(services, email_change_asked, user.email, command.email)
    return b"{}"


async def own_account(services: Services, caller: Caller) -> UserRow:
    """Return the caller's account.

    Raises:
        Unauthorized: there is none any more.
    """
    users = await services.store.users_by_ids([caller.user_id])
    if not users:
        raise Unauthorized
    return users[0]


OPERATIONS = (
    Operation(
        "email-verification",
        Nothing,
        Nothing,
        "Send the link that verifies the caller's address",
        run=ask,
        route=Route("POST", "/auth/email/verification", 202),
        is_for_unverified=True,
        rate=MAIL_RATE,
    ),
    Operation(
        "email-verify",
        EmailVerify,
        EmailVerified,
        "Use a mailed link: the address is verified, or becomes the account's",
        run=verify,
        route=Route("POST", "/auth/email/verify"),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
    Operation(
        "email-change",
        EmailChange,
        Nothing,
        "Send a link to a new address, which is the account's when it is used",
        run=change,
        route=Route("POST", "/auth/email", 202),
        is_for_unverified=True,
        rate=MAIL_RATE,
    ),
)
