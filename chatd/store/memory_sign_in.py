"""Sign-in with an OpenID Connect issuer in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import IdentityRow, Link, OwnIdentityRow, SignInRow
from chatd.store.memory_accounts import MemoryAccounts
from chatd.store.memory_state import SignIn, statement


class MemorySignIns(MemoryAccounts):
    """The part of the contract for sign-ins."""

    @statement
    def account_of_identity(
        self,
        *,
        issuer: str,
        subject: str,
        email: str | None,
        name: str,
        user_id: UUID,
        at: datetime,
    ) -> IdentityRow:
        """Return the account of an identity; open one, or link the one that has the address."""
        known = self._identities.get((issuer, subject))
        if known is not None:
            return IdentityRow(Link.KNOWN, known[0])
        if email is None:
            return IdentityRow(Link.UNVERIFIED)
        row = IdentityRow(Link.OPENED, user_id)
        if self._add_user(user_id, email, name, None, at) is None:
            owner_id = self._emails[email.lower()]
            factor = self._second_factors.get(owner_id)
            has_factor = factor is not None and factor.confirmed_at is not None
            if self._users[owner_id].email_verified_at is None or has_factor:
                return IdentityRow(Link.TAKEN)
            row = IdentityRow(Link.LINKED, owner_id)
        assert row.user_id is not None  # noqa: S101 - TAKEN has left
        self._identities[issuer, subject] = row.user_id, at
        return row

    @statement
    def identities_of(self, user_id: UUID) -> list[OwnIdentityRow]:
        """Return a user's identities."""
        return [
            OwnIdentityRow(*identity, at)
            for identity, (whose, at) in sorted(self._identities.items())
            if whose == user_id
        ]

    @statement
    def verify_email(self, user_id: UUID, email: str, at: datetime) -> bool:
        """Remember that chatd itself has verified an address."""
        if self._emails.get(email.lower()) != user_id:
            return False
        self._verify(user_id, at)
        return True

    @statement
    def save_sign_in(
        self,
        *,
        secret_hash: bytes,
        browser_hash: bytes,
        user_id: UUID | None,
        next_path: str,
        at: datetime,
        expires_at: datetime,
    ) -> None:
        """Keep a sign-in that is under way, and delete those that expired."""
        alive = {key: each for key, each in self._sign_ins.items() if each.expires_at > at}
        if user_id is not None and (user_id not in self._users or user_id in self._erasures):
            self._sign_ins = alive
            return
        if secret_hash in self._sign_ins:
            msg = "there is such a sign-in already"
            raise StoreBug(msg)
        row = SignIn(browser_hash, user_id, next_path, expires_at)
        self._sign_ins = alive | {secret_hash: row}

    @statement
    def take_sign_in(
        self, secret_hash: bytes, browser_hash: bytes, at: datetime, *, is_known: bool
    ) -> SignInRow | None:
        """Return and delete a sign-in."""
        row = self._sign_ins.get(secret_hash)
        if (
            row is None
            or row.browser_hash != browser_hash
            or row.expires_at <= at
            or (row.user_id is not None) != is_known
        ):
            return None
        del self._sign_ins[secret_hash]
        return SignInRow(row.user_id, row.next_path)
