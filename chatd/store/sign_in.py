"""Sign-in with an OpenID Connect issuer, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import IdentityRow, Link, OwnIdentityRow, SignInRow
from chatd.store.checks import search_name
from chatd.store.pool import Pool, Transaction
from chatd.store.users import INSERT_USER

# The identity has no row yet that could be locked. The lock ends with the transaction.
_LOCK_IDENTITY = """
    SELECT pg_advisory_xact_lock(hashtextextended(%(issuer)s || ' ' || %(subject)s, 0))
"""

_USER_OF_IDENTITY = """
    SELECT user_id FROM identities WHERE issuer = %(issuer)s AND subject = %(subject)s
"""

# Who has a second factor is not to be found by what the mailbox alone gives.
_OWNER_OF_EMAIL = """
    SELECT id, email_verified_at IS NOT NULL AND NOT EXISTS (
        SELECT FROM second_factors f WHERE f.user_id = users.id AND f.confirmed_at IS NOT NULL
    )
    FROM users
    WHERE lower(email) = lower(%(email)s)
    FOR NO KEY UPDATE
"""

_INSERT_IDENTITY = """
    INSERT INTO identities (issuer, subject, user_id, created_at)
    VALUES (%(issuer)s, %(subject)s, %(owner_id)s, %(created_at)s)
"""

_IDENTITIES_OF = """
    SELECT issuer, subject, created_at FROM identities
    WHERE user_id = %(user_id)s
    ORDER BY issuer COLLATE "C", subject COLLATE "C"
"""

_VERIFY_EMAIL = """
    UPDATE users SET email_verified_at = coalesce(email_verified_at, %(at)s)
    WHERE id = %(user_id)s AND lower(email) = lower(%(email)s)
    RETURNING id
"""

# The expired ones a few at a time, and never those that another node deletes at this moment.
# The lock waits for somebody who ends the account now, and then leaves the row out.
_SAVE_SIGN_IN = """
    WITH expired AS (
        SELECT secret_hash FROM sign_ins WHERE expires_at <= %(at)s
        LIMIT 100 FOR UPDATE SKIP LOCKED
    ), deleted AS (
        DELETE FROM sign_ins USING expired WHERE sign_ins.secret_hash = expired.secret_hash
    )
    INSERT INTO sign_ins (secret_hash, browser_hash, user_id, next_path, expires_at)
    SELECT %(secret_hash)s, %(browser_hash)s, %(user_id)s, %(next_path)s, %(expires_at)s
    WHERE %(user_id)s::uuid IS NULL OR EXISTS (
        SELECT FROM users WHERE id = %(user_id)s AND erased_at IS NULL FOR SHARE
    )
"""

# Of two that ask at once the second waits for the first, and finds the row gone.
_TAKE_SIGN_IN = """
    DELETE FROM sign_ins
    WHERE secret_hash = %(secret_hash)s AND browser_hash = %(browser_hash)s
      AND (user_id IS NOT NULL) = %(is_known)s AND expires_at > %(at)s
    RETURNING user_id, next_path
"""


class SignIns:
    """The statements of sign-ins."""

    _pool: Pool

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
        """Return the account of an identity; open one, or link the one that has the address."""
        identity = {"issuer": issuer, "subject": subject}

        async def work(transaction: Transaction) -> IdentityRow:
            await transaction.fetch(_LOCK_IDENTITY, identity)
            known = await transaction.fetch(_USER_OF_IDENTITY, identity)
            if known:
                return IdentityRow(Link.KNOWN, known[0][0])
            if email is None:
                return IdentityRow(Link.UNVERIFIED)
            row = await _owner(transaction, email=email, name=name, user_id=user_id, at=at)
            if row.user_id is not None:
                params = {**identity, "owner_id": row.user_id, "created_at": at}
                await transaction.fetch(_INSERT_IDENTITY, params)
            return row

        return await self._pool.transact(work)

    async def identities_of(self, user_id: UUID) -> list[OwnIdentityRow]:
        """Return a user's identities."""
        rows = await self._pool.fetch(_IDENTITIES_OF, {"user_id": user_id})
        return [OwnIdentityRow(*row) for row in rows]

    async def verify_email(self, user_id: UUID, email: str, at: datetime) -> bool:
        """Remember that chatd itself has verified an address."""
        params = {"user_id": user_id, "email": email, "at": at}
        return bool(await self._pool.fetch(_VERIFY_EMAIL, params, writes=True))

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
        """Keep a sign-in that is under way, and delete some that expired."""
        params = {
            "secret_hash": secret_hash,
            "browser_hash": browser_hash,
            "user_id": user_id,
            "next_path": next_path,
            "at": at,
            "expires_at": expires_at,
        }
        await self._pool.fetch(_SAVE_SIGN_IN, params, writes=True)

    async def take_sign_in(
        self, secret_hash: bytes, browser_hash: bytes, at: datetime, *, is_known: bool
    ) -> SignInRow | None:
        """Return and delete a sign-in."""
        params = {
            "secret_hash": secret_hash,
            "browser_hash": browser_hash,
            "at": at,
            "is_known": is_known,
        }
        rows = await self._pool.fetch(_TAKE_SIGN_IN, params, writes=True)
        return SignInRow(*rows[0]) if rows else None


async def _owner(
    transaction: Transaction, *, email: str, name: str, user_id: UUID, at: datetime
) -> IdentityRow:
    """Return a new account with this address, or what the one that has it may be."""
    params = {
        "user_id": user_id,
        "email": email,
        "name": name,
        "search_name": search_name(name),
        "password_hash": None,
        "created_at": at,
    }
    if await transaction.fetch(INSERT_USER, params):
        return IdentityRow(Link.OPENED, user_id)
    for owner_id, may_be_linked in await transaction.fetch(_OWNER_OF_EMAIL, {"email": email}):
        if may_be_linked:
            return IdentityRow(Link.LINKED, owner_id)
    return IdentityRow(Link.TAKEN)
