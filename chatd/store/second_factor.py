"""The second factor of accounts, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.contract.second_factor import ChallengeRow, SealedRow, SecondFactorRow
from chatd.store.pool import Pool, Transaction

_SECOND_FACTOR = """
    SELECT secret, key_id, confirmed_at, last_step,
           (SELECT count(*) FROM recovery_codes c WHERE c.user_id = f.user_id)
    FROM second_factors f
    WHERE user_id = %(user_id)s
"""

# The lock waits for somebody who ends the account now, and then leaves the row out.
_BEGIN = """
    INSERT INTO second_factors (user_id, secret, key_id)
    SELECT id, %(secret)s, %(key_id)s
    FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL
    FOR SHARE
    ON CONFLICT (user_id) DO UPDATE
    SET secret = excluded.secret, key_id = excluded.key_id
    WHERE second_factors.confirmed_at IS NULL
    RETURNING user_id
"""

_CONFIRM = """
    UPDATE second_factors SET confirmed_at = %(at)s, last_step = %(step)s
    WHERE user_id = %(user_id)s AND secret = %(secret)s AND confirmed_at IS NULL
    RETURNING user_id
"""

_LOCK = """
    SELECT FROM second_factors
    WHERE user_id = %(user_id)s AND confirmed_at IS NOT NULL
    FOR UPDATE
"""

_FORGET_CODES = """
    DELETE FROM recovery_codes WHERE user_id = %(user_id)s
"""

_ADD_CODES = """
    INSERT INTO recovery_codes (user_id, code_hash)
    SELECT %(user_id)s, unnest(%(code_hashes)s::bytea[])
"""

# Of two at once the second waits for the first, and finds the step taken.
_SPEND_STEP = """
    UPDATE second_factors SET last_step = %(step)s
    WHERE user_id = %(user_id)s AND confirmed_at IS NOT NULL AND last_step < %(step)s
    RETURNING user_id
"""

# The count is of before the deletion: a statement sees one state.
_SPEND_CODE = """
    WITH spent AS (
        DELETE FROM recovery_codes
        WHERE user_id = %(user_id)s AND code_hash = %(code_hash)s
        RETURNING user_id
    )
    SELECT (SELECT count(*) FROM recovery_codes c WHERE c.user_id = spent.user_id) - 1
    FROM spent
"""

_REMOVE = """
    WITH under_way AS (
        DELETE FROM login_challenges WHERE user_id = %(user_id)s
    )
    DELETE FROM second_factors WHERE user_id = %(user_id)s RETURNING user_id
"""

_SEALED_OTHERWISE = """
    SELECT user_id, secret, key_id FROM second_factors
    WHERE key_id <> %(key_id)s
    ORDER BY user_id
    LIMIT %(limit)s
"""

_RESEAL = """
    UPDATE second_factors SET secret = %(secret)s, key_id = %(key_id)s
    WHERE user_id = %(user_id)s AND secret = %(old_secret)s
"""

# The expired ones a few at a time, and never those that another node deletes at this moment.
_OPEN_CHALLENGE = """
    WITH expired AS (
        SELECT challenge_hash FROM login_challenges WHERE expires_at <= %(at)s
        LIMIT 100 FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM login_challenges l USING expired WHERE l.challenge_hash = expired.challenge_hash
    )
    INSERT INTO login_challenges (challenge_hash, user_id, device_id, password_mark, expires_at)
    SELECT %(challenge_hash)s, id, %(device_id)s, %(password_mark)s, %(expires_at)s
    FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL
    FOR SHARE
"""

_CHALLENGE = """
    SELECT user_id, device_id, password_mark, tries FROM login_challenges
    WHERE challenge_hash = %(challenge_hash)s AND expires_at > %(at)s
"""

_TRY_CHALLENGE = """
    UPDATE login_challenges SET tries = tries + 1
    WHERE challenge_hash = %(challenge_hash)s AND tries < %(max_tries)s
    RETURNING tries
"""

_END_CHALLENGE = """
    DELETE FROM login_challenges WHERE challenge_hash = %(challenge_hash)s RETURNING user_id
"""


class SecondFactors:
    """The statements on second factors."""

    _pool: Pool

    async def second_factor(self, user_id: UUID) -> SecondFactorRow | None:
        """Return the second factor of an account."""
        rows = await self._pool.fetch(_SECOND_FACTOR, {"user_id": user_id})
        return SecondFactorRow(*rows[0]) if rows else None

    async def begin_second_factor(self, user_id: UUID, *, secret: bytes, key_id: str) -> bool:
        """Keep a secret until it is confirmed."""
        params = {"user_id": user_id, "secret": secret, "key_id": key_id}
        return bool(await self._pool.fetch(_BEGIN, params, writes=True))

    async def confirm_second_factor(
        self,
        user_id: UUID,
        *,
        secret: bytes,
        step: int,
        code_hashes: Sequence[bytes],
        at: datetime,
    ) -> bool:
        """Confirm exactly this secret."""
        params = {"user_id": user_id, "secret": secret, "step": step, "at": at}
        codes = {"user_id": user_id, "code_hashes": list(code_hashes)}

        async def work(transaction: Transaction) -> bool:
            if not await transaction.fetch(_CONFIRM, params):
                return False
            await transaction.fetch(_ADD_CODES, codes)
            return True

        return await self._pool.transact(work)

    async def spend_step(self, user_id: UUID, step: int) -> bool:
        """Take the code of a time step."""
        params = {"user_id": user_id, "step": step}
        return bool(await self._pool.fetch(_SPEND_STEP, params, writes=True))

    async def spend_recovery_code(self, user_id: UUID, code_hash: bytes) -> int | None:
        """Take a recovery code and return how many are left."""
        params = {"user_id": user_id, "code_hash": code_hash}
        rows = await self._pool.fetch(_SPEND_CODE, params, writes=True)
        left: int | None = rows[0][0] if rows else None
        return left

    async def replace_recovery_codes(self, user_id: UUID, code_hashes: Sequence[bytes]) -> bool:
        """Put new recovery codes in the place of all."""
        params = {"user_id": user_id, "code_hashes": list(code_hashes)}

        async def work(transaction: Transaction) -> bool:
            if not await transaction.fetch(_LOCK, params):
                return False
            await transaction.fetch(_FORGET_CODES, params)
            await transaction.fetch(_ADD_CODES, params)
            return True

        return await self._pool.transact(work)

    async def remove_second_factor(self, user_id: UUID) -> bool:
        """Forget the secret, the recovery codes and the challenges."""
        return bool(await self._pool.fetch(_REMOVE, {"user_id": user_id}, writes=True))

    async def sealed_otherwise(self, key_id: str, limit: int) -> list[SealedRow]:
        """Return secrets that are sealed under another key."""
        params = {"key_id": key_id, "limit": limit}
        return [SealedRow(*row) for row in await self._pool.fetch(_SEALED_OTHERWISE, params)]

    async def reseal(self, old: SealedRow, *, secret: bytes, key_id: str) -> None:
        """Put the same secret, sealed anew, in the place of the old one."""
        params = {
            "user_id": old.user_id,
            "old_secret": old.secret,
            "secret": secret,
            "key_id": key_id,
        }
        await self._pool.fetch(_RESEAL, params, writes=True)

    async def open_challenge(
        self,
        *,
        challenge_hash: bytes,
        user_id: UUID,
        device_id: UUID | None,
        password_mark: bytes,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Keep a challenge until it is ended, and delete some that expired."""
        params = {
            "challenge_hash": challenge_hash,
            "user_id": user_id,
            "device_id": device_id,
            "password_mark": password_mark,
            "at": at,
            "expires_at": expires_at,
        }
        await self._pool.fetch(_OPEN_CHALLENGE, params, writes=True)

    async def challenge(self, challenge_hash: bytes, at: datetime) -> ChallengeRow | None:
        """Return a challenge that is alive."""
        params = {"challenge_hash": challenge_hash, "at": at}
        rows = await self._pool.fetch(_CHALLENGE, params)
        return ChallengeRow(*rows[0]) if rows else None

    async def try_challenge(self, challenge_hash: bytes, max_tries: int) -> bool:
        """Count one try of a challenge."""
        params = {"challenge_hash": challenge_hash, "max_tries": max_tries}
        return bool(await self._pool.fetch(_TRY_CHALLENGE, params, writes=True))

    async def end_challenge(self, challenge_hash: bytes) -> bool:
        """Delete a challenge."""
        params = {"challenge_hash": challenge_hash}
        return bool(await self._pool.fetch(_END_CHALLENGE, params, writes=True))
