"""Mailed links and what their use changes, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import MailedRow, MailPurpose, ResetRow, UserRow
from chatd.store.columns import USER
from chatd.store.pool import Pool, Transaction
from chatd.store.sqlstates import constraint_of
from chatd.store.tokens import FORGET_LINKS, REVOKE_USER

# The lock waits for whoever changes address or password now, and then looks at the row again.
_IN_PLACE = """
    FOR SHARE
    ON CONFLICT (user_id, purpose) DO UPDATE
    SET token_hash = excluded.token_hash, email = excluded.email, expires_at = excluded.expires_at
    RETURNING user_id
"""

_SAVE_LINK = f"""
    INSERT INTO mail_tokens (user_id, purpose, token_hash, email, expires_at)
    SELECT id, %(purpose)s, %(token_hash)s, %(email)s, %(expires_at)s
    FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL AND lower(email) = lower(%(email)s)
    {_IN_PLACE}
"""

_SAVE_CHANGE = f"""
    INSERT INTO mail_tokens (user_id, purpose, token_hash, email, expires_at)
    SELECT id, 'CHANGE', %(token_hash)s, %(email)s, %(expires_at)s
    FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL
      AND password_hash IS NOT DISTINCT FROM %(password_hash)s::text
    {_IN_PLACE}
"""

_OWNER_OF_RESET = f"""
    SELECT {USER}
    FROM mail_tokens t
    JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = %(token_hash)s AND t.purpose = 'RESET' AND t.expires_at > %(at)s
"""

# The account ahead of its link, as those do who save one: nobody waits for each other in a circle.
_LOCK_OWNER = """
    SELECT u.email
    FROM mail_tokens t
    JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = %(token_hash)s
    FOR NO KEY UPDATE OF u
"""

_TAKE_LINK = """
    DELETE FROM mail_tokens t USING users u
    WHERE t.token_hash = %(token_hash)s AND t.expires_at > %(at)s
      AND (t.purpose = 'RESET') = %(is_reset)s AND u.id = t.user_id
    RETURNING u.id AS user_id, t.purpose, t.email, u.email
"""

_RESET = """
    UPDATE users
    SET password_hash = %(password_hash)s, email_verified_at = coalesce(email_verified_at, %(at)s)
    WHERE id = %(user_id)s
"""

_CHANGE_IF_SAME = """
    UPDATE users SET password_hash = %(new_hash)s
    WHERE id = %(user_id)s AND erased_at IS NULL
      AND password_hash IS NOT DISTINCT FROM %(old_hash)s::text
    RETURNING id
"""

_REVOKE_OTHERS = """
    WITH revoked AS (
        UPDATE refresh_families SET revoked_at = %(at)s
        WHERE user_id = %(user_id)s AND revoked_at IS NULL AND id <> %(kept_family_id)s
        RETURNING id
    )
    SELECT id FROM revoked ORDER BY id
"""

_VERIFY = """
    UPDATE users SET email_verified_at = coalesce(email_verified_at, %(at)s)
    WHERE id = %(user_id)s
"""

_SET_EMAIL = """
    UPDATE users SET email = %(email)s, email_verified_at = %(at)s WHERE id = %(user_id)s
"""

_HAS_OWNER = """
    SELECT FROM users WHERE lower(email) = lower(%(email)s) AND id <> %(user_id)s
"""

_OPENED_AT = """
    SELECT opened_at FROM refresh_families WHERE id = %(family_id)s AND revoked_at IS NULL
"""


class Mail:
    """The statements on mailed links."""

    _pool: Pool

    async def save_mail_token(
        self,
        user_id: UUID,
        purpose: Literal[MailPurpose.VERIFY, MailPurpose.RESET],
        *,
        token_hash: bytes,
        email: str,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to an account's own address, in place of an older one."""
        params = {
            "user_id": user_id,
            "purpose": purpose.value,
            "token_hash": token_hash,
            "email": email,
            "expires_at": expires_at,
        }
        return bool(await self._pool.fetch(_SAVE_LINK, params, writes=True))

    async def save_email_change(
        self,
        user_id: UUID,
        *,
        token_hash: bytes,
        email: str,
        password_hash: str | None,
        expires_at: datetime,
    ) -> bool:
        """Keep a link to a new address of an account, in place of an older one."""
        params = {
            "user_id": user_id,
            "token_hash": token_hash,
            "email": email,
            "password_hash": password_hash,
            "expires_at": expires_at,
        }
        return bool(await self._pool.fetch(_SAVE_CHANGE, params, writes=True))

    async def reset_owner(self, token_hash: bytes, at: datetime) -> UserRow | None:
        """Return whose password a link may set."""
        rows = await self._pool.fetch(_OWNER_OF_RESET, {"token_hash": token_hash, "at": at})
        return UserRow(*rows[0]) if rows else None

    async def reset_password(
        self, token_hash: bytes, password_hash: str, at: datetime
    ) -> ResetRow | None:
        """Use a link for a new password."""

        async def work(transaction: Transaction) -> ResetRow | None:
            taken = await _take(transaction, token_hash, at, is_reset=True)
            if taken is None:
                return None
            user_id, _, _, email = taken
            params = {"user_id": user_id, "password_hash": password_hash, "at": at}
            await transaction.fetch(_RESET, params)
            await transaction.fetch(FORGET_LINKS, params)
            revoked = await transaction.fetch(REVOKE_USER, params)
            return ResetRow(user_id, email, [family_id for (family_id,) in revoked])

        return await self._pool.transact(work)

    async def change_password(
        self,
        user_id: UUID,
        *,
        old_hash: str | None,
        new_hash: str,
        kept_family_id: UUID,
        at: datetime,
    ) -> list[UUID] | None:
        """Set a password and revoke the logins but one."""
        params = {
            "user_id": user_id,
            "old_hash": old_hash,
            "new_hash": new_hash,
            "kept_family_id": kept_family_id,
            "at": at,
        }

        async def work(transaction: Transaction) -> list[UUID] | None:
            if not await transaction.fetch(_CHANGE_IF_SAME, params):
                return None
            await transaction.fetch(FORGET_LINKS, params)
            revoked = await transaction.fetch(_REVOKE_OTHERS, params)
            return [family_id for (family_id,) in revoked]

        return await self._pool.transact(work)

    async def use_email_token(self, token_hash: bytes, at: datetime) -> MailedRow | None:
        """Use a link that shows that an address is read."""

        async def work(transaction: Transaction) -> MailedRow | None:
            taken = await _take(transaction, token_hash, at, is_reset=False)
            if taken is None:
                return None
            user_id, purpose, email, old_email = taken
            params = {"user_id": user_id, "email": email, "at": at}
            if purpose == MailPurpose.VERIFY.value:
                await transaction.fetch(_VERIFY, params)
                return MailedRow(user_id, old_email)
            if await transaction.fetch(_HAS_OWNER, params):
                return MailedRow(user_id, old_email, is_taken=True)
            await transaction.fetch(_SET_EMAIL, params)
            await transaction.fetch(FORGET_LINKS, params)
            return MailedRow(user_id, email, old_email)

        try:
            return await self._pool.transact(work)
        except StoreBug as bug:
            if constraint_of(bug) != "users_email_key":
                raise
            # Somebody took the address in between: now it is seen.
            return await self._pool.transact(work)

    async def login_opened_at(self, family_id: UUID) -> datetime | None:
        """Return when a login was opened that is not revoked."""
        rows = await self._pool.fetch(_OPENED_AT, {"family_id": family_id})
        return rows[0][0] if rows else None


async def _take(
    transaction: Transaction, token_hash: bytes, at: datetime, *, is_reset: bool
) -> tuple[UUID, str, str, str] | None:
    """Return and delete a link: whose, for what, its address, the account's address."""
    params = {"token_hash": token_hash, "at": at, "is_reset": is_reset}
    await transaction.fetch(_LOCK_OWNER, params)
    for user_id, purpose, email, own in await transaction.fetch(_TAKE_LINK, params):
        return user_id, purpose, email, own
    return None
