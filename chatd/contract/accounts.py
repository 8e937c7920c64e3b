"""The store's contract: accounts, logins and devices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from chatd.rows import DeviceRow, ManualStatus, PasswordProof, RotationRow, UserRow


class AccountStore(Protocol):
    """Accounts, logins and devices."""

    async def insert_user(
        self,
        *,
        user_id: UUID,
        email: str,
        name: str,
        password_hash: str | None,
        created_at: datetime,
    ) -> UserRow | None:
        """Store an account and return it, or None when the (lower-cased) address is taken."""

    async def user_by_email(self, email: str) -> UserRow | None:
        """Return the account of a lower-cased address."""

    async def users_by_ids(self, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that exist, in any order."""

    async def set_password(
        self, user_id: UUID, password_hash: str, at: datetime
    ) -> list[UUID] | None:
        """Set a password and revoke all logins, as `revoke_user` does, in one transaction.

        None when the account has ended.
        """

    async def set_last_seen(self, user_ids: Sequence[UUID], at: datetime) -> None:
        """Remember when users were last there; never moves back."""

    async def set_status(
        self,
        user_id: UUID,
        *,
        manual_status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
    ) -> None:
        """Remember a manual status; None clears it."""

    # Refresh tokens: families, hashes only
    async def open_family(
        self,
        *,
        family_id: UUID,
        user_id: UUID,
        device_id: UUID,
        device_name: str,
        address: str,
        token_hash: bytes,
        at: datetime,
        expires_at: datetime,
        proof: PasswordProof | None = None,
    ) -> bool:
        """Begin a family: one login of one device, with its first refresh token.

        Args:
            proof: against what the user has shown who they are. False, and nothing is begun, when
                the account has another password by now, or has ended: both end also the logins
                that are about to be opened meanwhile.
        """

    async def rotate_refresh_token(
        self,
        *,
        token_hash: bytes,
        successor_hash: bytes,
        at: datetime,
        grace_until: datetime,
        expires_at: datetime,
        max_age: timedelta,
        address: str | None = None,
    ) -> RotationRow:
        """Exchange a refresh token for its successor, in one statement.

        The successor expires at `expires_at`, or `max_age` after its login was opened.

        A token counts as used from its first rotation; it may be repeated while its successor
        is unused and it was first used at or after `grace_until` (that is `at` minus the grace).
        Any other use of a used token revokes the family (REUSED) and is written to the audit log,
        with the address from where it came.
        A repeat that names another successor than the stored one is REFUSED: the key from which
        successors are derived has changed, and nobody holds the stored one.
        """

    async def revoke_family(self, family_id: UUID, at: datetime) -> bool:
        """Revoke one login; return whether it was still open."""

    async def revoke_user(self, user_id: UUID, at: datetime) -> list[UUID]:
        """Revoke all open logins of a user, API tokens and logins under way with them.

        Return the ids of what was revoked, families and tokens: `Sockets.cut_families` takes both.
        """

    async def revoke_oldest(self, user_id: UUID, *, keep: int, at: datetime) -> list[UUID]:
        """Revoke all open logins but those used last and return their family ids."""

    async def devices(self, user_id: UUID, *, at: datetime, limit: int) -> list[DeviceRow]:
        """Return the devices with a login that is open at a time, the last used first.

        A login is open until it is revoked or its last refresh token has expired.
        """

    async def revoke_device(self, user_id: UUID, device_id: UUID, at: datetime) -> list[UUID]:
        """Revoke the logins of a user's device; return their ids, also of those closed before.

        So a call whose answer was lost can be repeated. Another user's device has none.
        """

    async def revoked_since(self, at: datetime) -> list[UUID]:
        """Return the families revoked at or after a time: their access tokens may be alive."""
