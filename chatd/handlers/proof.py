"""Who does what cannot be taken back shows once more who they are; and what a password may be."""

from __future__ import annotations

import trio

from chatd.context import Caller, Services
from chatd.errors import Forbidden, Unauthorized
from chatd.handlers.audit import Act, write_down
from chatd.handlers.guarding import begin_guess
from chatd.handlers.operations import spend
from chatd.handlers.refusals import wrong
from chatd.limits import Rate
from chatd.password_rules import tells, words_of
from chatd.rows import UserRow

RECENT = 300.0  # seconds: who has signed in elsewhere within them is the one who did
PROOF_RATE = Rate(5 / 60, 5)  # of one user, whatever for: a password can be tried here


async def prove(services: Services, caller: Caller, user: UserRow, password: str | None) -> None:
    """Return if the caller has just shown that the account is theirs.

    Who has a password shows it. Who has none, because they sign in elsewhere, has done so within
    `RECENT`, by the login that asks.

    Raises:
        Forbidden: they have not; `details.reason` says what is missing.
        RateLimited: they have tried too often.
    """
    key = ("proof", caller.user_id)
    spend(services, caller, "user", key, PROOF_RATE, trio.current_time())
    assert caller.identity is not None  # noqa: S101 - needs_login
    if user.password_hash is None:
        opened_at = await services.store.login_opened_at(caller.identity.family_id)
        if opened_at is None or (services.now() - opened_at).total_seconds() > RECENT:
            msg = "sign in again, then do this within five minutes"
            raise Forbidden(msg, details={"reason": "sign_in_again"})
        return
    target = ("password again", caller.user_id)
    with begin_guess(services, caller, target, caller.identity.family_id) as guess:
        fits = await services.passwords.check(password or "", user.password_hash)
        guess.settle(trio.current_time(), fits=fits)
    if not fits:
        await write_down(services, caller, Act.PASSWORD_REFUSED, caller.user_id)
        msg = "wrong password"
        raise Forbidden(msg, details={"reason": "wrong_password"})


async def proved_account(services: Services, caller: Caller, password: str | None) -> UserRow:
    """Return the caller's account, if they have just shown that it is theirs. See `prove`."""
    users = await services.store.users_by_ids([caller.user_id])
    if not users:
        raise Unauthorized
    await prove(services, caller, users[0], password)
    return users[0]


def refuse_telling(services: Services, password: str, email: str, field: str) -> None:
    """Refuse a new password that is little more than the account's address or this server's name.

    Raises:
        ValidationFailed: as for a field that is not what it has to be.
    """
    if tells(password, words_of(email, services.settings.public_url)):
        raise wrong(field, "is little more than your address or our name")
