"""Second factors and challenges in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.contract.second_factor import ChallengeRow, SealedRow, SecondFactorRow
from chatd.errors import StoreBug
from chatd.store.memory_accounts import MemoryAccounts
from chatd.store.memory_state import Challenge, SecondFactor, statement


class MemorySecondFactors(MemoryAccounts):
    """The part of the contract for second factors."""

    def _confirmed(self, user_id: UUID) -> SecondFactor | None:
        factor = self._second_factors.get(user_id)
        return None if factor is None or factor.confirmed_at is None else factor

    @statement
    def second_factor(self, user_id: UUID) -> SecondFactorRow | None:
        """Return the second factor of an account."""
        row = self._second_factors.get(user_id)
        if row is None:
            return None
        return SecondFactorRow(
            row.secret, row.key_id, row.confirmed_at, row.last_step, len(row.code_hashes)
        )

    @statement
    def begin_second_factor(self, user_id: UUID, *, secret: bytes, key_id: str) -> bool:
        """Keep a secret until it is confirmed."""
        if not self._is_open(user_id) or self._confirmed(user_id) is not None:
            return False
        self._second_factors[user_id] = SecondFactor(secret, key_id)
        return True

    @statement
    def confirm_second_factor(
        self,
        user_id: UUID,
        *,
        secret: bytes,
        step: int,
        code_hashes: Sequence[bytes],
        at: datetime,
    ) -> bool:
        """Confirm exactly this secret."""
        factor = self._second_factors.get(user_id)
        if factor is None or factor.secret != secret or factor.confirmed_at is not None:
            return False
        factor.confirmed_at, factor.last_step = at, step
        factor.code_hashes = set(code_hashes)
        return True

    @statement
    def spend_step(self, user_id: UUID, step: int) -> bool:
        """Take the code of a time step."""
        factor = self._confirmed(user_id)
        if factor is None or factor.last_step >= step:
            return False
        factor.last_step = step
        return True

    @statement
    def spend_recovery_code(self, user_id: UUID, code_hash: bytes) -> int | None:
        """Take a recovery code and return how many are left."""
        factor = self._second_factors.get(user_id)
        if factor is None or code_hash not in factor.code_hashes:
            return None
        factor.code_hashes.remove(code_hash)
        return len(factor.code_hashes)

    @statement
    def replace_recovery_codes(self, user_id: UUID, code_hashes: Sequence[bytes]) -> bool:
        """Put new recovery codes in the place of all."""
        factor = self._confirmed(user_id)
        if factor is None:
            return False
        factor.code_hashes = set(code_hashes)
        return True

    @statement
    def remove_second_factor(self, user_id: UUID) -> bool:
        """Forget the secret, the recovery codes and the challenges."""
        self._challenges = {k: row for k, row in self._challenges.items() if row.user_id != user_id}
        return self._second_factors.pop(user_id, None) is not None

    @statement
    def sealed_otherwise(self, key_id: str, limit: int) -> list[SealedRow]:
        """Return secrets that are sealed under another key."""
        found = [
            SealedRow(user_id, row.secret, row.key_id)
            for user_id, row in sorted(self._second_factors.items())
            if row.key_id != key_id
        ]
        return found[:limit]

    @statement
    def reseal(self, old: SealedRow, *, secret: bytes, key_id: str) -> None:
        """Put the same secret, sealed anew, in the place of the old one."""
        factor = self._second_factors.get(old.user_id)
        if factor is not None and factor.secret == old.secret:
            factor.secret, factor.key_id = secret, key_id

    @statement
    def open_challenge(
        self,
        *,
        challenge_hash: bytes,
        user_id: UUID,
        device_id: UUID | None,
        password_mark: bytes,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Keep a challenge until it is ended, and delete those that expired."""
        is_kept = self._is_open(user_id)
        if is_kept and challenge_hash in self._challenges:
            msg = "there is such a challenge already"
            raise StoreBug(msg)
        alive = {key: row for key, row in self._challenges.items() if row.expires_at > at}
        self._challenges = alive
        if is_kept:
            alive[challenge_hash] = Challenge(user_id, device_id, password_mark, expires_at)

    @statement
    def challenge(self, challenge_hash: bytes, at: datetime) -> ChallengeRow | None:
        """Return a challenge that is alive."""
        row = self._challenges.get(challenge_hash)
        if row is None or row.expires_at <= at:
            return None
        return ChallengeRow(row.user_id, row.device_id, row.password_mark, row.tries)

    @statement
    def try_challenge(self, challenge_hash: bytes, max_tries: int) -> bool:
        """Count one try of a challenge."""
        row = self._challenges.get(challenge_hash)
        if row is None or row.tries >= max_tries:
            return False
        row.tries += 1
        return True

    @statement
    def end_challenge(self, challenge_hash: bytes) -> bool:
        """Delete a challenge."""
        return self._challenges.pop(challenge_hash, None) is not None
