"""The store's contract: the second factor of an account, and logins that wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID


class SecondFactorRow(NamedTuple):
    """What an account shares with an authenticator; `confirmed_at` is None while it is set up."""

    secret: bytes  # sealed
    key_id: str
    confirmed_at: datetime | None
    last_step: int  # of the last code that was good
    codes_left: int  # recovery codes


class SealedRow(NamedTuple):
    """A sealed secret, to be sealed anew."""

    user_id: UUID
    secret: bytes
    key_id: str


class ChallengeRow(NamedTuple):
    """A login whose password was right."""

    user_id: UUID
    device_id: UUID | None  # a device that the caller has proved to know
    password_mark: bytes
    tries: int


class SecondFactorStore(Protocol):
    """Secrets, recovery codes, challenges."""

    async def second_factor(self, user_id: UUID) -> SecondFactorRow | None:
        """Return the second factor of an account, also one that is being set up."""

    async def begin_second_factor(self, user_id: UUID, *, secret: bytes, key_id: str) -> bool:
        """Keep a secret until it is confirmed, in place of an earlier one that was not.

        False, and nothing changes, when one is confirmed or the account has ended.
        """

    async def confirm_second_factor(
        self,
        user_id: UUID,
        *,
        secret: bytes,
        step: int,
        code_hashes: Sequence[bytes],
        at: datetime,
    ) -> bool:
        """Confirm exactly this secret, with its first code and its recovery codes.

        False, and nothing changes, when it has been confirmed or replaced meanwhile.
        """

    async def spend_step(self, user_id: UUID, step: int) -> bool:
        """Take the code of a time step; False when it, or a later one, was taken before.

        Of two at once one wins.
        """

    async def spend_recovery_code(self, user_id: UUID, code_hash: bytes) -> int | None:
        """Take a recovery code and return how many are left; None when it is not there any more.

        Of two at once one wins.
        """

    async def replace_recovery_codes(self, user_id: UUID, code_hashes: Sequence[bytes]) -> bool:
        """Put new recovery codes in the place of all; False without a confirmed second factor."""

    async def remove_second_factor(self, user_id: UUID) -> bool:
        """Forget the secret, the recovery codes and the challenges; return whether it was there."""

    async def sealed_otherwise(self, key_id: str, limit: int) -> list[SealedRow]:
        """Return secrets that are sealed under another key than this, by user id."""

    async def reseal(self, old: SealedRow, *, secret: bytes, key_id: str) -> None:
        """Put the same secret, sealed anew, in the place of the old one, if that is still there."""

    # Challenges
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
        """Keep a challenge until it is ended, and delete some that expired.

        Nothing is kept for an account that has ended. `revoke_user` ends those of a user.
        """

    async def challenge(self, challenge_hash: bytes, at: datetime) -> ChallengeRow | None:
        """Return a challenge that is alive."""

    async def try_challenge(self, challenge_hash: bytes, max_tries: int) -> bool:
        """Count one try of a challenge; False when it is gone or has been tried so often."""

    async def end_challenge(self, challenge_hash: bytes) -> bool:
        """Delete a challenge; of two at once one is told that it was there."""
