"""Tries of a password or a code: how often, and how soon after a wrong one."""

from __future__ import annotations

from uuid import UUID

import trio

from chatd.addresses import address_key
from chatd.context import Caller, Services
from chatd.errors import RateLimited
from chatd.guesses import Guess
from chatd.handlers.operations import spend
from chatd.limits import Rate, rate_of
from chatd.rows import UserRow


def begin_guess(
    services: Services, caller: Caller, target: tuple[object, ...], device_id: UUID | None
) -> Guess:
    """Return a try that may be made now. See `chatd.guesses`.

    Raises:
        RateLimited: it may not, after those that were wrong.
    """
    address, now = address_key(caller.address), trio.current_time()
    try:
        return services.guesses.begin(target, address=address, device=device_id, now=now)
    except RateLimited as refusal:
        wait = refusal.retry_after or 1.0
        caller.spent = (Rate(1 / wait, 1), wait)
        raise


def spend_login(
    services: Services, caller: Caller, account: object, device_id: UUID | None
) -> None:
    """Count a try to log in to an account; who is known there cannot be kept out by others.

    Raises:
        RateLimited: too many.
    """
    settings, now = services.settings, trio.current_time()
    pair = (account, device_id or address_key(caller.address))
    spend(services, caller, "pair", pair, rate_of(settings.pair_login_rate), now)
    if device_id is None:
        account_rate = rate_of(settings.account_login_rate)
        spend(services, caller, "account", (account,), account_rate, now)
        total_rate = rate_of(settings.total_login_rate)
        spend(services, caller, "account", ("everybody",), total_rate, now)


def known_device(services: Services, user: UserRow | None, device_token: str | None) -> UUID | None:
    """Return the device of this account that a `deviceToken` proves, if it does."""
    if user is None or device_token is None:
        return None
    return services.tokens.device_of(device_token, user.id)
