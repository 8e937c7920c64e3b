"""Mailed links in the memory twin."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import MailedRow, MailPurpose, ResetRow, UserRow
from chatd.store.memory_accounts import MemoryAccounts
from chatd.store.memory_state import MailToken, statement


class MemoryMail(MemoryAccounts):
    """The part of the contract for mailed links."""

    @statement
    def save_mail_token(
        self,
        user_id: UUID,
        purpose: Literal[MailPurpose.VERIFY, MailPurpose.RESET],
        *,
        token_hash: bytes,
        email: str,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to an account's own address, in place of an older one."""
        if self._emails.get(email.lower()) != user_id:
            return False
        self._save_token(user_id, purpose, MailToken(token_hash, email, expires_at))
        return True

    @statement
    def save_email_change(
        self,
        user_id: UUID,
        *,
        token_hash: bytes,
        email: str,
        password_hash: str | None,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to a new address of an account, in place of an older one."""
        user = self._users.get(user_id)
        if user is None or user_id in self._erasures or user.password_hash != password_hash:
            return False
        self._save_token(user_id, MailPurpose.CHANGE, MailToken(token_hash, email, expires_at))
        return True

    def _save_token(self, user_id: UUID, purpose: MailPurpose, token: MailToken) -> None:
        for place, other in self._mail_tokens.items():
            if other.token_hash == token.token_hash and place != (user_id, purpose):
                msg = "there is such a link already"
                raise StoreBug(msg)
        self._mail_tokens[user_id, purpose] = token

    @statement
    def reset_owner(self, token_hash: bytes, at: datetime) -> UserRow | None:
        """Return whose password a link may set."""
        found = self._find_token(token_hash, at, is_reset=True)
        return None if found is None else self._users[found[0]]

    @statement
    def reset_password(
        self, token_hash: bytes, password_hash: str, at: datetime
    ) -> ResetRow | None:
        """Use a link for a new password."""
        found = self._find_token(token_hash, at, is_reset=True)
        if found is None:
            return None
        user_id, _ = found
        self._users[user_id] = replace(self._users[user_id], password_hash=password_hash)
        self._verify(user_id, at)
        self._forget_mail_tokens(user_id)
        return ResetRow(user_id, self._users[user_id].email, self._revoke(user_id, at))

    @statement
    def change_password(
        self,
        user_id: UUID,
        *,
        old_hash: str | None,
        new_hash: str,
        kept_family_id: UUID,
        at: datetime,
    ) -> list[UUID] | None:
        """Set a password and revoke the logins but one."""
        user = self._users.get(user_id)
        if user is None or user_id in self._erasures or user.password_hash != old_hash:
            return None
        self._users[user_id] = replace(user, password_hash=new_hash)
        self._forget_mail_tokens(user_id)
        return self._revoke(user_id, at, kept_family_id)

    @statement
    def use_email_token(self, token_hash: bytes, at: datetime) -> MailedRow | None:
        """Use a link that shows that an address is read."""
        found = self._find_token(token_hash, at, is_reset=False)
        if found is None:
            return None
        user_id, purpose = found
        email, user = self._mail_tokens.pop(found).email, self._users[user_id]
        if purpose is MailPurpose.VERIFY:
            self._verify(user_id, at)
            return MailedRow(user_id, user.email)
        if self._emails.get(email.lower(), user_id) != user_id:
            return MailedRow(user_id, user.email, is_taken=True)
        del self._emails[user.email.lower()]
        self._emails[email.lower()] = user_id
        self._users[user_id] = replace(user, email=email, email_verified_at=at)
        self._forget_mail_tokens(user_id)
        return MailedRow(user_id, email, user.email)

    @statement
    def login_opened_at(self, family_id: UUID) -> datetime | None:
        """Return when a login was opened that is not revoked."""
        family = self._families.get(family_id)
        return None if family is None or family.revoked_at is not None else family.opened_at

    def _find_token(
        self, token_hash: bytes, at: datetime, *, is_reset: bool
    ) -> tuple[UUID, MailPurpose] | None:
        for place, token in self._mail_tokens.items():
            is_wanted = (place[1] is MailPurpose.RESET) == is_reset
            if token.token_hash == token_hash and is_wanted and token.expires_at > at:
                return place
        return None
