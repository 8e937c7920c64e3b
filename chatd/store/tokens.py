"""Refresh tokens in PostgreSQL: a family is one login of one device; only hashes are stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import DeviceRow, PasswordProof, Rotation, RotationRow
from chatd.store.pool import Pool, Transaction

_UPSERT_DEVICE = """
    INSERT INTO devices (id, user_id, name, address, created_at, last_login_at)
    VALUES (%(device_id)s, %(user_id)s, %(device_name)s, %(address)s, %(at)s, %(at)s)
    ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, address = excluded.address, last_login_at = excluded.last_login_at
    WHERE devices.user_id = excluded.user_id
    RETURNING id
"""

# The lock keeps a new password waiting until the login can be seen, and revoked, by who sets it.
_STILL_PROVED = """
    SELECT FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL
      AND password_hash IS NOT DISTINCT FROM %(password_hash)s::text
    FOR SHARE
"""

_INSERT_FAMILY = """
    WITH family AS (
        INSERT INTO refresh_families (id, user_id, device_id, opened_at)
        VALUES (%(family_id)s, %(user_id)s, %(device_id)s, %(at)s)
    )
    INSERT INTO refresh_tokens (token_hash, family_id, created_at, expires_at)
    VALUES (%(token_hash)s, %(family_id)s, %(at)s, %(expires_at)s)
"""

_ROTATE = """
    SELECT outcome, family_id, user_id, device_id
    FROM rotate_refresh_token(
        %(token_hash)s, %(successor_hash)s, %(at)s, %(grace_until)s,
        LEAST(%(expires_at)s, (
            SELECT f.opened_at + %(max_age)s
            FROM refresh_families f JOIN refresh_tokens t ON t.family_id = f.id
            WHERE t.token_hash = %(token_hash)s
        )),
        %(address)s
    )
"""

_REVOKE_FAMILY = """
    UPDATE refresh_families SET revoked_at = %(at)s
    WHERE id = %(family_id)s AND revoked_at IS NULL
    RETURNING id
"""

# Behind the lock of the account, in a statement of its own: see `chatd.store.api_tokens`.
REVOKE_USER = """
    WITH revoked AS (
        UPDATE refresh_families SET revoked_at = %(at)s
        WHERE user_id = %(user_id)s AND revoked_at IS NULL
        RETURNING id
    ), deleted AS (
        DELETE FROM api_tokens WHERE user_id = %(user_id)s RETURNING id
    ), under_way AS (
        DELETE FROM login_challenges WHERE user_id = %(user_id)s
    )
    SELECT id FROM revoked UNION ALL SELECT id FROM deleted ORDER BY id
"""

_LOCK_USER = """
    SELECT FROM users WHERE id = %(user_id)s FOR NO KEY UPDATE
"""

FORGET_LINKS = """
    DELETE FROM mail_tokens WHERE user_id = %(user_id)s
"""

# Counted first: most have few, and every refresh leaves a row that would be looked at.
_REVOKE_OLDEST = """
    WITH open AS (
        SELECT f.id, max(t.created_at) AS used_at
        FROM refresh_families f
        JOIN refresh_tokens t ON t.family_id = f.id
        WHERE f.user_id = %(user_id)s AND f.revoked_at IS NULL AND %(keep)s < (
            SELECT count(*) FROM refresh_families
            WHERE user_id = %(user_id)s AND revoked_at IS NULL
        )
        GROUP BY f.id
        ORDER BY used_at DESC, f.id DESC
        OFFSET %(keep)s
    ), revoked AS (
        UPDATE refresh_families SET revoked_at = %(at)s
        WHERE id IN (SELECT id FROM open) AND revoked_at IS NULL
        RETURNING id
    )
    SELECT id FROM revoked ORDER BY id
"""

# Of a family's tokens one is unused, the last.
_DEVICES = """
    SELECT d.id, d.name, d.address, d.created_at, max(t.created_at) AS last_used_at
    FROM refresh_families f
    JOIN refresh_tokens t ON t.family_id = f.id
    JOIN devices d ON d.id = f.device_id
    WHERE f.user_id = %(user_id)s AND f.revoked_at IS NULL
      AND t.used_at IS NULL AND t.expires_at > %(at)s
    GROUP BY d.id
    ORDER BY last_used_at DESC, d.id DESC
    LIMIT %(limit)s
"""

_REVOKE_DEVICE = """
    WITH revoked AS (
        UPDATE refresh_families SET revoked_at = coalesce(revoked_at, %(at)s)
        WHERE user_id = %(user_id)s AND device_id = %(device_id)s
        RETURNING id
    )
    SELECT id FROM revoked ORDER BY id
"""

_REVOKED_SINCE = """
    SELECT id FROM refresh_families WHERE revoked_at >= %(at)s
    UNION
    SELECT unnest(family_ids) FROM erasures WHERE begun_at >= %(at)s
    ORDER BY id
"""


class Tokens:
    """The statements on refresh tokens."""

    _pool: Pool

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
        """Begin a family with its first token."""
        params = {
            "family_id": family_id,
            "user_id": user_id,
            "device_id": device_id,
            "device_name": device_name,
            "address": address,
            "token_hash": token_hash,
            "at": at,
            "expires_at": expires_at,
        }

        async def work(transaction: Transaction) -> bool:
            if proof is not None:
                guard = {"user_id": user_id, "password_hash": proof.password_hash}
                if not await transaction.fetch(_STILL_PROVED, guard):
                    return False
            if not await transaction.fetch(_UPSERT_DEVICE, params):
                msg = f"device {device_id} is another user's"
                raise StoreBug(msg)
            await transaction.fetch(_INSERT_FAMILY, params)
            return True

        return await self._pool.transact(work)

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
        """Exchange a refresh token for its successor."""
        params = {
            "token_hash": token_hash,
            "successor_hash": successor_hash,
            "at": at,
            "grace_until": grace_until,
            "expires_at": expires_at,
            "max_age": max_age,
            "address": address,
        }
        [(outcome, *ids)] = await self._pool.fetch(_ROTATE, params, writes=True)
        return RotationRow(Rotation(outcome), *ids)

    async def revoke_family(self, family_id: UUID, at: datetime) -> bool:
        """Revoke one login; return whether it was open."""
        params = {"family_id": family_id, "at": at}
        return bool(await self._pool.fetch(_REVOKE_FAMILY, params, writes=True))

    async def revoke_user(self, user_id: UUID, at: datetime) -> list[UUID]:
        """Revoke all open logins and API tokens of a user."""
        params = {"user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> list[UUID]:
            await transaction.fetch(_LOCK_USER, params)
            rows = await transaction.fetch(REVOKE_USER, params)
            return [revoked_id for (revoked_id,) in rows]

        return await self._pool.transact(work)

    async def revoke_oldest(self, user_id: UUID, *, keep: int, at: datetime) -> list[UUID]:
        """Revoke all open logins but those used last."""
        params = {"user_id": user_id, "keep": keep, "at": at}
        rows = await self._pool.fetch(_REVOKE_OLDEST, params, writes=True)
        return [family_id for (family_id,) in rows]

    async def devices(self, user_id: UUID, *, at: datetime, limit: int) -> list[DeviceRow]:
        """Return the devices with an open login, the last used first."""
        params = {"user_id": user_id, "at": at, "limit": limit}
        return [DeviceRow(*row) for row in await self._pool.fetch(_DEVICES, params)]

    async def revoke_device(self, user_id: UUID, device_id: UUID, at: datetime) -> list[UUID]:
        """Revoke the logins of a user's device; return their ids, also of those closed before."""
        params = {"user_id": user_id, "device_id": device_id, "at": at}
        rows = await self._pool.fetch(_REVOKE_DEVICE, params, writes=True)
        return [family_id for (family_id,) in rows]

    async def revoked_since(self, at: datetime) -> list[UUID]:
        """Return the families revoked at or after a time."""
        rows = await self._pool.fetch(_REVOKED_SINCE, {"at": at})
        return [family_id for (family_id,) in rows]
