"""The second factor: set it up, use it at a login, take it away (RFC 6238)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import UUID

import trio

from chatd.addresses import address_key
from chatd.context import Caller, Services
from chatd.contract.second_factor import ChallengeRow, SecondFactorRow
from chatd.errors import Conflict, Forbidden, Unauthorized
from chatd.events.accounts import Tokens
from chatd.events.answers import Nothing
from chatd.events.second_factor import (
    LoginTotp,
    RecoveryCodes,
    TotpBegin,
    TotpBegun,
    TotpConfirm,
    TotpProved,
    TotpState,
)
from chatd.handlers.accounts import LOGIN_RATE, open_login
from chatd.handlers.audit import Act, write_down
from chatd.handlers.authenticator import open_secret, password_mark, spend_proof
from chatd.handlers.guarding import begin_guess
from chatd.handlers.operations import Operation, Route, spend
from chatd.handlers.proof import proved_account
from chatd.limits import Rate, rate_of
from chatd.model import dumps, iso_or_none
from chatd.rows import UserRow
from chatd.tokens import hash_token
from chatd.totp import (
    hash_recovery_code,
    matching_step,
    new_recovery_codes,
    new_secret,
    provisioning_uri,
)

MAX_TRIES = 5  # of one challenge: then the password is asked for again
ISSUER = "chatd"  # what an authenticator shows, when the server has no public name
_OVER = "this login is over: begin again with the password"
_IS_OFF = "there is no second factor"
CHANGE_RATE = Rate(5 / 60, 5)  # a password can be tried here


async def state(services: Services, caller: Caller, _command: Nothing) -> bytes:
    """Return whether a login asks for a code."""
    factor = await services.store.second_factor(caller.user_id)
    if factor is None or factor.confirmed_at is None:
        return dumps({"enabled": False, "confirmedAt": None, "recoveryCodesLeft": 0})
    return dumps(
        {
            "enabled": True,
            "confirmedAt": iso_or_none(factor.confirmed_at),
            "recoveryCodesLeft": factor.codes_left,
        }
    )


async def begin(services: Services, caller: Caller, command: TotpBegin) -> bytes:
    """Give a new secret to an authenticator; logins do not ask for it yet."""
    users = await services.store.users_by_ids([caller.user_id])
    if users and users[0].password_hash is None:
        msg = "this account has no password: who signs it in asks for a second factor"
        raise Conflict(msg)
    user = await proved_account(services, caller, command.password)
    secret, sealer = new_secret(), services.sealer
    sealed = sealer.seal(secret.encode(), user.id.bytes)
    if not await services.store.begin_second_factor(user.id, secret=sealed, key_id=sealer.key_id):
        msg = "there is a second factor: disable it first"
        raise Conflict(msg)
    host = urlsplit(services.settings.public_url or "").hostname
    uri = provisioning_uri(secret, account=user.email, issuer=host or ISSUER)
    return dumps({"secret": secret, "uri": uri})


async def confirm(services: Services, caller: Caller, command: TotpConfirm) -> bytes:
    """Ask for codes from the next login on; open logins go on."""
    factor = await services.store.second_factor(caller.user_id)
    if factor is None or factor.confirmed_at is not None:
        msg = "no second factor is being set up"
        raise Conflict(msg)
    secret = open_secret(services, caller.user_id, factor)
    with begin_guess(services, caller, ("code", caller.user_id), _login_of(caller)) as guess:
        step = matching_step(secret, command.code, services.now())
        guess.settle(trio.current_time(), fits=step is not None)
    if step is None:
        raise Forbidden(_wrong(command.code))
    codes = new_recovery_codes()
    is_done = await services.store.confirm_second_factor(
        caller.user_id,
        secret=factor.secret,
        step=step,
        code_hashes=_hashes(caller.user_id, codes),
        at=services.now(),
    )
    if not is_done:
        msg = "the second factor was set up elsewhere at the same time"
        raise Conflict(msg)
    await write_down(services, caller, Act.SECOND_FACTOR_ENABLED, caller.user_id)
    return dumps({"recoveryCodes": codes})


async def new_codes(services: Services, caller: Caller, command: TotpProved) -> bytes:
    """Give new recovery codes in the place of all earlier ones."""
    await _prove(services, caller, command)
    codes = new_recovery_codes()
    hashes = _hashes(caller.user_id, codes)
    if not await services.store.replace_recovery_codes(caller.user_id, hashes):
        raise Conflict(_IS_OFF)
    await write_down(services, caller, Act.RECOVERY_CODES_RENEWED, caller.user_id)
    return dumps({"recoveryCodes": codes})


async def disable(services: Services, caller: Caller, command: TotpProved) -> bytes:
    """Forget the second factor: a password is enough again."""
    await _prove(services, caller, command)
    if await services.store.remove_second_factor(caller.user_id):
        await write_down(services, caller, Act.SECOND_FACTOR_DISABLED, caller.user_id)
    return b"{}"


async def _prove(services: Services, caller: Caller, command: TotpProved) -> None:
    """Return when somebody who is logged in knows the password and has the second factor."""
    await proved_account(services, caller, command.password)
    factor = await services.store.second_factor(caller.user_id)
    if factor is None or factor.confirmed_at is None:
        raise Conflict(_IS_OFF)
    with begin_guess(services, caller, ("code", caller.user_id), _login_of(caller)) as guess:
        fits = await spend_proof(services, caller, caller.user_id, factor, command)
        guess.settle(trio.current_time(), fits=fits)
    if not fits:
        await write_down(services, caller, Act.CODE_REFUSED, caller.user_id)
        raise Forbidden(_wrong(command.code))


# At a login


async def login(services: Services, caller: Caller, command: LoginTotp) -> bytes:
    """Go on with a login whose password was right."""
    settings, clock = services.settings, trio.current_time()
    address = ("code", address_key(caller.address))
    spend(services, caller, "address", address, rate_of(settings.login_rate), clock)
    challenge_hash = hash_token(command.challenge)
    challenge = await services.store.challenge(challenge_hash, services.now())
    if challenge is None:
        raise Unauthorized(_OVER)
    user, factor = await _waiting(services, challenge)
    with begin_guess(services, caller, ("code", user.id), challenge.device_id) as guess:
        if not await services.store.try_challenge(challenge_hash, MAX_TRIES):
            raise Unauthorized(_OVER)
        fits = await spend_proof(services, caller, user.id, factor, command)
        guess.settle(trio.current_time(), fits=fits)
    if not fits:
        await write_down(services, caller, Act.CODE_REFUSED, user.id)
        left = max(0, MAX_TRIES - 1 - challenge.tries)
        raise Unauthorized(_wrong(command.code), details={"triesLeft": left})
    if not await services.store.end_challenge(challenge_hash):
        raise Unauthorized(_OVER)  # somebody else was first, or the account's logins were ended
    return await open_login(services, caller, user, Act.LOGIN)


async def _waiting(services: Services, challenge: ChallengeRow) -> tuple[UserRow, SecondFactorRow]:
    """Return whose login it is, if the account is still as it was then."""
    users = await services.store.users_by_ids([challenge.user_id])
    factor = await services.store.second_factor(challenge.user_id)
    if (
        not users
        or password_mark(users[0]) != challenge.password_mark
        or factor is None
        or factor.confirmed_at is None
    ):
        raise Unauthorized(_OVER)
    return users[0], factor


def _login_of(caller: Caller) -> UUID:
    assert caller.identity is not None  # noqa: S101 - needs_login
    return caller.identity.family_id


def _hashes(user_id: UUID, codes: Sequence[str]) -> list[bytes]:
    return [hash_recovery_code(user_id, code) for code in codes]


def _wrong(code: str | None) -> str:
    if code is None:
        return "no recovery code of this account, or used before"
    return "wrong code, or used before: wait for the next one"


OPERATIONS = (
    Operation(
        "totp-state",
        Nothing,
        TotpState,
        "Whether a login of the caller asks for a second factor",
        run=state,
        route=Route("GET", "/auth/totp"),
        rate=Rate(1, 20),
    ),
    Operation(
        "totp-begin",
        TotpBegin,
        TotpBegun,
        "Set up a second factor: the secret for an authenticator",
        run=begin,
        route=Route("POST", "/auth/totp"),
        rate=CHANGE_RATE,
    ),
    Operation(
        "totp-confirm",
        TotpConfirm,
        RecoveryCodes,
        "Confirm the second factor with its first code; recovery codes are shown once",
        run=confirm,
        route=Route("POST", "/auth/totp/confirm"),
        rate=Rate(10 / 60, 10),
    ),
    Operation(
        "totp-recovery-codes",
        TotpProved,
        RecoveryCodes,
        "New recovery codes in the place of all earlier ones",
        run=new_codes,
        route=Route("POST", "/auth/totp/recovery-codes"),
        rate=CHANGE_RATE,
    ),
    Operation(
        "totp-disable",
        TotpProved,
        Nothing,
        "Take the second factor away",
        run=disable,
        route=Route("DELETE", "/auth/totp", takes_body=True),
        rate=CHANGE_RATE,
    ),
    Operation(
        "login-totp",
        LoginTotp,
        Tokens,
        "Go on with a login that asks for the second factor",
        run=login,
        route=Route("POST", "/auth/login/totp"),
        needs_login=False,
        rate=LOGIN_RATE,
    ),
)
