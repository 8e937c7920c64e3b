"""The store's contract: links that were mailed, and what their use changes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from chatd.rows import MailedRow, MailPurpose, ResetRow, UserRow


class MailStore(Protocol):
    """Mailed links: a user has one of each purpose, which is good once and until it expires.

    The end of an account ends its links; so does whatever else takes the address from it to which
    they were sent.
    """

    async def save_mail_token(
        self,
        user_id: UUID,
        purpose: Literal[MailPurpose.VERIFY, MailPurpose.RESET],
        *,
        token_hash: bytes,
        email: str,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to an account's own address, in place of an older one.

        False, and nothing is kept, when the account has ended or has another address by now.
        """

    async def save_email_change(
        self,
        user_id: UUID,
        *,
        token_hash: bytes,
        email: str,
        password_hash: str | None,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to a new address of an account, in place of an older one.

        Args:
            password_hash: the one against which its owner was proved; False, and nothing is kept,
                when the account has another one by now, or has ended.
        """

    async def reset_owner(self, token_hash: bytes, at: datetime) -> UserRow | None:
        """Return whose password a link may set; it stays good."""

    async def reset_password(
        self, token_hash: bytes, password_hash: str, at: datetime
    ) -> ResetRow | None:
        """Use a link for a new password, all in one transaction; None when it is not good.

        The address counts as verified from now on. All logins of the account are revoked, and
        its other links are gone: one to another address would take the account over.
        """

    async def change_password(
        self,
        user_id: UUID,
        *,
        old_hash: str | None,
        new_hash: str,
        kept_family_id: UUID,
        at: datetime,
    ) -> list[UUID] | None:
        """Set a password, revoke the logins but one, and return those; all links are gone.

        None, and nothing is changed, when the password is not the old one any more, or the account
        has ended.
        """

    async def use_email_token(self, token_hash: bytes, at: datetime) -> MailedRow | None:
        """Use a link that shows that an address is read; None when it is not good.

        For a VERIFY the address counts as verified from now on, for a CHANGE it becomes the
        account's, and all its other links are gone.
        """

    async def login_opened_at(self, family_id: UUID) -> datetime | None:
        """Return when a login was opened that is not revoked."""
