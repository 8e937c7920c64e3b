"""The store's contract: sign-in with an OpenID Connect issuer."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import IdentityRow, OwnIdentityRow, SignInRow


class SignInStore(Protocol):
    """Identities at an issuer, and sign-ins that are under way."""

    async def account_of_identity(
        self,
        *,
        issuer: str,
        subject: str,
        email: str | None,
        name: str,
        user_id: UUID,
        at: datetime,
    ) -> IdentityRow:
        """Return the account of an identity; open one, or link the one that has the address.

        All of it in one transaction; of several calls for one identity at once the first decides.

        Args:
            email: lower-cased, and verified by the issuer; None when it is not: then only an
                identity that is known has an account. An account that has the address already
                is linked only when chatd has verified the address itself, and it has no second
                factor: that is not given up for who has the mailbox.
            name, user_id: of the account, if one is opened; it has no password.
        """

    async def identities_of(self, user_id: UUID) -> list[OwnIdentityRow]:
        """Return a user's identities, by issuer and subject: each was signed in with, so few."""

    async def verify_email(self, user_id: UUID, email: str, at: datetime) -> bool:
        """Remember that chatd itself has seen that a user reads mail at their address.

        False, and nothing is remembered, when the account has another address by now.
        """

    async def save_sign_in(
        self,
        *,
        secret_hash: bytes,
        browser_hash: bytes,
        user_id: UUID | None,
        next_path: str,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Keep a sign-in that is under way until it is taken, and delete some that expired.

        Args:
            user_id: whom a one-time code logs in, and when that account has ended nothing is kept;
                None for one that has just begun.
        """

    async def take_sign_in(
        self, secret_hash: bytes, browser_hash: bytes, at: datetime, *, is_known: bool
    ) -> SignInRow | None:
        """Return and delete a sign-in; None when there is none, not of this browser, not any more.

        Args:
            is_known: whether one with a user is asked for; the other kind is not found.
        """
