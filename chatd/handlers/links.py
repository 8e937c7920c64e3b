"""Mailed links: made when their letter is written, behind the back of who asked for it.

A link is a page of the web client with the token behind `#`. That part of a URL goes to no server:
it stands in no access log and no Referer, and a scanner of mails that opens links uses nothing up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Literal
from uuid import UUID

import trio

from chatd.context import Caller, Mailer, Services
from chatd.errors import NotSetUp, Overloaded
from chatd.handlers.audit import Act, write_down
from chatd.handlers.operations import spend
from chatd.letters import (
    Letter,
    address_taken,
    email_change,
    password_reset,
    verification,
)
from chatd.limits import rate_of
from chatd.rows import MailPurpose, UserRow
from chatd.tokens import hash_token

VERIFY_PAGE, RESET_PAGE = "/auth/verify", "/auth/reset"
NOTICE_LIFETIME = 86_400.0  # seconds that a notice is tried: later it is old news


def site_url(services: Services) -> str:
    """Return how people reach this server; in development that may not be set."""
    settings = services.settings
    return settings.public_url or f"http://localhost:{settings.port}"


def required_mailer(services: Services) -> Mailer:
    """Return what sends mail.

    Raises:
        NotSetUp: this server sends none.
    """
    if services.mailer is None:
        msg = "this server sends no mail: smtp_url is not set"
        raise NotSetUp(msg)
    return services.mailer


def spend_mail(services: Services, caller: Caller, email: str) -> None:
    """Count a mail that somebody asks for, whether the address is known or not.

    Raises:
        RateLimited: it gets too many.
    """
    rate = rate_of(services.settings.mail_rate)
    spend(services, caller, "account", ("mail", email), rate, trio.current_time())


def post_verification(services: Services, user: UserRow) -> None:
    """Send the link that verifies the address of an account.

    Raises:
        NotSetUp, Overloaded: it cannot be sent now.
    """
    ttl = services.settings.email_verification_ttl
    write = partial(_write_verification, services, user.id, user.email)
    required_mailer(services).post("verification", write, lifetime=ttl)


def ask_to_verify(services: Services, user: UserRow) -> None:
    """Send a new account the link that verifies its address, where the settings want that.

    Where there is no room the log says so, and the account asks again.
    """
    if services.settings.email_verification != "off":
        try:
            post_verification(services, user)
        except Overloaded:
            return  # the mailer has logged and counted it


async def is_unverified(services: Services, user: UserRow) -> bool:
    """Return whether an account is to verify its address before it may write.

    Who signs in elsewhere came with an address that is verified there.
    """
    if services.settings.email_verification != "required" or user.email_verified_at is not None:
        return False
    return not await services.store.identities_of(user.id)


async def _write_verification(services: Services, user_id: UUID, email: str) -> Letter | None:
    ttl, token = services.settings.email_verification_ttl, secrets.token_urlsafe(32)
    if not await _save(services, user_id, MailPurpose.VERIFY, token, email, ttl):
        return None
    return verification(email, site_url(services), _link(services, VERIFY_PAGE, token), ttl)


def post_reset(services: Services, caller: Caller, email: str) -> None:
    """Send the link that sets a new password, if the address has an account.

    Raises:
        NotSetUp, Overloaded: as `post_verification`, whether it has one or not.
    """
    write = partial(_write_reset, services, caller, email)
    lifetime = services.settings.password_reset_ttl
    required_mailer(services).post("password_reset", write, lifetime=lifetime)


async def _write_reset(services: Services, caller: Caller, email: str) -> Letter | None:
    user = await services.store.user_by_email(email)
    ttl, token = services.settings.password_reset_ttl, secrets.token_urlsafe(32)
    if user is None or not await _save(
        services, user.id, MailPurpose.RESET, token, user.email, ttl
    ):
        return None
    await write_down(services, caller, Act.PASSWORD_RESET_ASKED, user.id)
    return password_reset(user.email, site_url(services), _link(services, RESET_PAGE, token), ttl)


def post_email_change(services: Services, user: UserRow, email: str) -> None:
    """Send the link that makes an address that of an account, proved against its password.

    Who has the address already is told instead; who asked learns nothing of it.

    Raises:
        NotSetUp, Overloaded: as `post_verification`.
    """
    ttl = services.settings.email_verification_ttl
    write = partial(_write_email_change, services, user, email)
    required_mailer(services).post("email_change", write, lifetime=ttl)


async def _write_email_change(services: Services, user: UserRow, email: str) -> Letter | None:
    site = site_url(services)
    if await services.store.user_by_email(email) is not None:
        return address_taken(email, site)
    ttl, token = services.settings.email_verification_ttl, secrets.token_urlsafe(32)
    is_kept = await services.store.save_email_change(
        user.id,
        token_hash=hash_token(token),
        email=email,
        password_hash=user.password_hash,
        expires_at=services.now() + timedelta(seconds=ttl),
    )
    return email_change(email, site, _link(services, VERIFY_PAGE, token), ttl) if is_kept else None


def notify(services: Services, make: Callable[..., Letter], email: str, *more: str) -> None:
    """Tell the address of an account what was done to it, if this server sends mail.

    Where there is no room the log says so: what was done is done.
    """
    letter = make(email, site_url(services), *more)

    async def write() -> Letter:
        return letter

    if services.mailer is not None:
        try:
            services.mailer.post(letter.kind, write, lifetime=NOTICE_LIFETIME)
        except Overloaded:
            return  # the mailer has logged and counted it


def _link(services: Services, page: str, token: str) -> str:
    return f"{site_url(services)}{page}#token={token}"


async def _save(
    services: Services,
    user_id: UUID,
    purpose: Literal[MailPurpose.VERIFY, MailPurpose.RESET],
    token: str,
    email: str,
    ttl: float,
) -> bool:
    return await services.store.save_mail_token(
        user_id,
        purpose,
        token_hash=hash_token(token),
        email=email,
        expires_at=services.now() + timedelta(seconds=ttl),
    )
