"""Accounts in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.rows import ManualStatus, UserRow
from chatd.store.arrays import Uuids
from chatd.store.checks import search_name
from chatd.store.columns import USER
from chatd.store.pool import Pool, Transaction
from chatd.store.tokens import FORGET_LINKS, REVOKE_USER

INSERT_USER = f"""
    INSERT INTO users AS u (id, email, name, search_name, password_hash, created_at)
    VALUES (
        %(user_id)s, %(email)s, %(name)s, %(search_name)s, %(password_hash)s, %(created_at)s
    )
    ON CONFLICT (lower(email)) DO NOTHING
    RETURNING {USER}
"""

_USER_BY_EMAIL = f"""
    SELECT {USER}
    FROM users u
    WHERE lower(email) = lower(%(email)s)
"""

_USERS_BY_IDS = f"""
    SELECT {USER}
    FROM users u
    WHERE id = ANY (%(user_ids)s)
"""

_SET_HASH = """
    UPDATE users SET password_hash = %(password_hash)s
    WHERE id = %(user_id)s AND erased_at IS NULL
    RETURNING id
"""

# Locked in id order: two nodes that flush the same people at once do not deadlock.
_SET_LAST_SEEN = """
    UPDATE users SET last_seen = %(at)s
    WHERE id IN (
        SELECT id FROM users
        WHERE id = ANY (%(user_ids)s) AND (last_seen IS NULL OR last_seen < %(at)s)
          AND erased_at IS NULL
        ORDER BY id FOR NO KEY UPDATE
    )
"""

_SET_STATUS = """
    UPDATE users
    SET manual_status = %(manual_status)s, status_text = %(text)s, status_until = %(until)s
    WHERE id = %(user_id)s AND erased_at IS NULL
"""


class Users:
    """The statements on users."""

    _pool: Pool

    async def insert_user(
        self,
        *,
        user_id: UUID,
        email: str,
        name: str,
        password_hash: str | None,
        created_at: datetime,
    ) -> UserRow | None:
        """Store an account and return it, or None when the address is taken."""
        params = {
            "user_id": user_id,
            "email": email,
            "name": name,
            "search_name": search_name(name),
            "password_hash": password_hash,
            "created_at": created_at,
        }
        rows = await self._pool.fetch(INSERT_USER, params, writes=True)
        return UserRow(*rows[0]) if rows else None

    async def user_by_email(self, email: str) -> UserRow | None:
        """Return the account of an address."""
        rows = await self._pool.fetch(_USER_BY_EMAIL, {"email": email})
        return UserRow(*rows[0]) if rows else None

    async def users_by_ids(self, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that exist."""
        rows = await self._pool.fetch(_USERS_BY_IDS, {"user_ids": Uuids(user_ids)})
        return [UserRow(*row) for row in rows]

    async def set_password(
        self, user_id: UUID, password_hash: str, at: datetime
    ) -> list[UUID] | None:
        """Set a password, revoke all logins and API tokens, forget all mailed links."""
        params = {"user_id": user_id, "password_hash": password_hash, "at": at}

        async def work(transaction: Transaction) -> list[UUID] | None:
            if not await transaction.fetch(_SET_HASH, params):
                return None
            await transaction.fetch(FORGET_LINKS, params)
            rows = await transaction.fetch(REVOKE_USER, params)
            return [revoked_id for (revoked_id,) in rows]

        return await self._pool.transact(work)

    async def set_last_seen(self, user_ids: Sequence[UUID], at: datetime) -> None:
        """Move the last_seen of users forward."""
        params = {"user_ids": Uuids(user_ids), "at": at}
        await self._pool.fetch(_SET_LAST_SEEN, params, writes=True)

    async def set_status(
        self,
        user_id: UUID,
        *,
        manual_status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
    ) -> None:
        """Remember a manual status."""
        params = {"user_id": user_id, "manual_status": manual_status, "text": text, "until": until}
        await self._pool.fetch(_SET_STATUS, params, writes=True)
