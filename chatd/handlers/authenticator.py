"""What is done with the second factor of an account: demanded at a login, spent, kept readable."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from chatd.context import Caller, Services
from chatd.contract import Store
from chatd.contract.second_factor import SecondFactorRow
from chatd.errors import NotSetUp, SecondFactorRequired
from chatd.handlers.audit import Act, write_down
from chatd.model import iso
from chatd.rows import UserRow
from chatd.sealing import Sealer
from chatd.tokens import hash_token, new_refresh_token
from chatd.totp import hash_recovery_code, matching_step

CHALLENGE_TTL = 300.0  # seconds to find the phone
METHODS = ("totp", "recovery_code")
SECRETS_PURPOSE = "chatd second factor"
RESEAL_BATCH = 500  # secrets of one read

log = structlog.get_logger("chatd.second_factor")


class Proof(Protocol):
    """A code of the authenticator, or else a recovery code."""

    @property
    def code(self) -> str | None:
        """Six digits."""

    @property
    def recovery_code(self) -> str | None:
        """As it was typed."""


async def demand_second_factor(services: Services, user: UserRow, device_id: UUID | None) -> None:
    """Return when the password is enough for this account.

    Args:
        device_id: the device that the caller has proved to be known to the account.

    Raises:
        SecondFactorRequired: with a challenge, the way on.
    """
    factor = await services.store.second_factor(user.id)
    if factor is None or factor.confirmed_at is None:
        return
    now, challenge = services.now(), new_refresh_token()
    expires_at = now + timedelta(seconds=CHALLENGE_TTL)
    await services.store.open_challenge(
        challenge_hash=hash_token(challenge),
        user_id=user.id,
        device_id=device_id,
        password_mark=password_mark(user),
        at=now,
        expires_at=expires_at,
    )
    details = {"challenge": challenge, "expiresAt": iso(expires_at), "methods": METHODS}
    raise SecondFactorRequired(details=details)


def password_mark(user: UserRow) -> bytes:
    """Return what tells this password of an account from the next one."""
    return hashlib.sha256((user.password_hash or "").encode()).digest()


async def spend_proof(
    services: Services, caller: Caller, user_id: UUID, factor: SecondFactorRow, proof: Proof
) -> bool:
    """Tell whether a code or recovery code is good; from now on it is not, for anybody.

    Raises:
        NotSetUp: the secret cannot be read: its key is gone.
    """
    if proof.recovery_code is not None:
        code_hash = hash_recovery_code(user_id, proof.recovery_code)
        left = await services.store.spend_recovery_code(user_id, code_hash)
        if left is not None:
            await write_down(services, caller, Act.RECOVERY_CODE_USED, user_id, codesLeft=left)
        return left is not None
    secret = open_secret(services, user_id, factor)
    step = matching_step(secret, proof.code or "", services.now(), after=factor.last_step)
    return step is not None and await services.store.spend_step(user_id, step)


def open_secret(services: Services, user_id: UUID, factor: SecondFactorRow) -> str:
    """Return the secret that an authenticator shares.

    Raises:
        NotSetUp: as `spend_proof`.
    """
    secret = services.sealer.open(factor.secret, factor.key_id, user_id.bytes)
    if secret is None:
        log.warning("unreadable", user=str(user_id), key=factor.key_id)
        msg = "this server has no key to the second factor of the account: take a recovery code"
        raise NotSetUp(msg)
    return secret.decode()


async def reseal_secrets(store: Store, sealer: Sealer) -> None:
    """Seal all secrets under the first signing key, so that the others can be taken away.

    What no key opens stays as it is, for the day on which its key comes back.
    """
    unreadable: set[UUID] = set()
    while True:
        rows = await store.sealed_otherwise(sealer.key_id, RESEAL_BATCH + len(unreadable))
        work = [row for row in rows if row.user_id not in unreadable]
        if not work:
            break
        for row in work:
            plain = sealer.open(row.secret, row.key_id, row.user_id.bytes)
            if plain is None:
                unreadable.add(row.user_id)
                continue
            secret = sealer.seal(plain, row.user_id.bytes)
            await store.reseal(row, secret=secret, key_id=sealer.key_id)
    if unreadable:
        log.warning("second factors whose signing key is gone", count=len(unreadable))
