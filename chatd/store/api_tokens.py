"""API tokens and bots, in PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.api_tokens import ApiTokenRow
from chatd.rows import UserRow
from chatd.store.arrays import Texts
from chatd.store.checks import bot_address, search_name
from chatd.store.columns import USER
from chatd.store.pool import Pool, Transaction

# Those who add something of one user take turns, and nobody adds to an account that has ended.
_LOCK_USER = """
    SELECT FROM users WHERE id = %(user_id)s AND erased_at IS NULL FOR NO KEY UPDATE
"""

# Asked behind that lock, which `revoke_user` and all that set a password take ahead of their end of
# the logins: what is stored before it they see and delete, what comes behind it sees them.
_IS_REVOKED = """
    SELECT FROM refresh_families WHERE id = %(asked_by)s AND revoked_at IS NOT NULL
"""

_INSERT = """
    INSERT INTO api_tokens (
        id, user_id, name, token_hash, scopes, created_at, expires_at, last_used_at
    )
    SELECT %(id)s, %(user_id)s, %(name)s, %(token_hash)s, %(scopes)s, %(created_at)s,
           %(expires_at)s, %(last_used_at)s
    WHERE (SELECT count(*) FROM api_tokens WHERE user_id = %(user_id)s) < %(limit)s
    RETURNING id
"""

_USE = """
    WITH used AS (
        UPDATE api_tokens SET last_used_at = %(at)s
        WHERE token_hash = %(token_hash)s
          AND (last_used_at IS NULL OR last_used_at < %(used_before)s)
    )
    SELECT id, user_id, name, scopes, created_at, expires_at, last_used_at FROM api_tokens
    WHERE token_hash = %(token_hash)s AND (expires_at IS NULL OR expires_at > %(at)s)
"""

_LIST = """
    SELECT id, user_id, name, scopes, created_at, expires_at, last_used_at FROM api_tokens
    WHERE user_id = %(user_id)s
       OR user_id IN (SELECT id FROM users WHERE owner_id = %(user_id)s)
    ORDER BY created_at DESC, id DESC
"""

_REVOKE = """
    DELETE FROM api_tokens
    WHERE id = %(token_id)s AND (
        user_id = %(user_id)s OR user_id IN (SELECT id FROM users WHERE owner_id = %(user_id)s)
    )
    RETURNING id, user_id, name, scopes, created_at, expires_at, last_used_at
"""

_INSERT_BOT = f"""
    INSERT INTO users AS u (id, email, name, search_name, created_at, owner_id)
    SELECT %(bot_id)s, %(email)s, %(name)s, %(search_name)s, %(created_at)s, %(user_id)s
    WHERE %(user_id)s::uuid IS NULL OR (
        SELECT count(*) FROM users WHERE owner_id = %(user_id)s AND erased_at IS NULL
    ) < %(limit)s
    RETURNING {USER}
"""

_BOTS_OF = f"""
    SELECT {USER}
    FROM users u
    WHERE owner_id = %(owner_id)s AND erased_at IS NULL
    ORDER BY id
"""


class ApiTokens:
    """The statements on API tokens and bots."""

    _pool: Pool

    async def insert_api_token(
        self, row: ApiTokenRow, token_hash: bytes, *, limit: int, asked_by: UUID | None = None
    ) -> bool:
        """Store a token, unless its user has too many."""
        params = {
            **row._asdict(),
            "scopes": Texts(row.scopes),
            "token_hash": token_hash,
            "limit": limit,
            "asked_by": asked_by,
        }

        async def work(transaction: Transaction) -> bool:
            if not await transaction.fetch(_LOCK_USER, params):
                return False
            if asked_by is not None and await transaction.fetch(_IS_REVOKED, params):
                return False
            return bool(await transaction.fetch(_INSERT, params))

        return await self._pool.transact(work)

    async def use_api_token(
        self, token_hash: bytes, at: datetime, *, used_before: datetime
    ) -> ApiTokenRow | None:
        """Return a token that is good, and remember that it was used."""
        params = {"token_hash": token_hash, "at": at, "used_before": used_before}
        rows = await self._pool.fetch(_USE, params, writes=True)
        return _token(*rows[0]) if rows else None

    async def api_tokens(self, user_id: UUID) -> list[ApiTokenRow]:
        """Return the tokens of a user and of the user's bots."""
        return [_token(*row) for row in await self._pool.fetch(_LIST, {"user_id": user_id})]

    async def revoke_api_token(self, token_id: UUID, user_id: UUID) -> ApiTokenRow | None:
        """Delete a token of a user, or of one of the user's bots."""
        params = {"token_id": token_id, "user_id": user_id}
        rows = await self._pool.fetch(_REVOKE, params, writes=True)
        return _token(*rows[0]) if rows else None

    async def insert_bot(
        self, *, user_id: UUID, owner_id: UUID | None, name: str, created_at: datetime, limit: int
    ) -> UserRow | None:
        """Store a bot's account, unless its owner has too many."""
        params = {
            "bot_id": user_id,
            "user_id": owner_id,
            "email": bot_address(user_id),
            "name": name,
            "search_name": search_name(name),
            "created_at": created_at,
            "limit": limit,
        }

        async def work(transaction: Transaction) -> UserRow | None:
            if owner_id is not None and not await transaction.fetch(_LOCK_USER, params):
                return None
            rows = await transaction.fetch(_INSERT_BOT, params)
            return UserRow(*rows[0]) if rows else None

        return await self._pool.transact(work)

    async def bots_of(self, owner_id: UUID) -> list[UserRow]:
        """Return the bots of a user."""
        return [UserRow(*row) for row in await self._pool.fetch(_BOTS_OF, {"owner_id": owner_id})]


def _token(
    token_id: UUID,
    user_id: UUID,
    name: str,
    scopes: list[str],
    created_at: datetime,
    expires_at: datetime | None,
    last_used_at: datetime | None,
) -> ApiTokenRow:
    return ApiTokenRow(token_id, user_id, name, tuple(scopes), created_at, expires_at, last_used_at)
