"""Files in PostgreSQL: what is known of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.files import Bound, Quota, Seen
from chatd.rows import FileRow, SweepRow, UserRow
from chatd.store.checks import passed_bound, search_name
from chatd.store.columns import USER
from chatd.store.pool import Pool, Transaction

_FILE = """f.id, f.key, f.uploader_id, f.session_id, f.name, f.size, f.mime_type, f.created_at,
           f.upload_until, f.completed_at, f.served_type, f.width, f.height, f.has_thumbnail,
           f.message_id"""

# One promise at a time: who asks many times at once does not get more than there is.
_LOCK_USER = """
    SELECT FROM users WHERE id = %(uploader_id)s FOR NO KEY UPDATE
"""

# A link cannot be taken back: to delete what it was for does not make it one less.
_USE = """
    SELECT coalesce(sum(size) FILTER (WHERE revoked_at IS NULL), 0)::bigint,
           count(*) FILTER (WHERE revoked_at IS NULL),
           count(*) FILTER (
               WHERE upload_until > %(created_at)s
                 AND (completed_at IS NULL OR revoked_at IS NOT NULL)
           )
    FROM files
    WHERE uploader_id = %(uploader_id)s
"""

_INSERT_FILE = """
    INSERT INTO files (
        id, key, uploader_id, session_id, name, size, mime_type, created_at, upload_until,
        loose_since
    )
    VALUES (
        %(id)s, %(key)s, %(uploader_id)s, %(session_id)s, %(name)s, %(size)s, %(mime_type)s,
        %(created_at)s, %(upload_until)s, %(created_at)s
    )
"""

_OWN_FILE = f"""
    SELECT {_FILE}
    FROM files f
    WHERE f.id = %(file_id)s AND f.uploader_id = %(user_id)s AND f.revoked_at IS NULL
"""

# The sweep looks once more when no upload can be under way: what came late lies beside.
_COMPLETE_FILE = f"""
    UPDATE files f
    SET completed_at = %(at)s, served_type = %(served_type)s, width = %(width)s,
        height = %(height)s, has_thumbnail = %(has_thumbnail)s, loose_since = %(at)s,
        sweep_at = upload_until
    WHERE f.id = %(file_id)s AND f.uploader_id = %(user_id)s AND f.revoked_at IS NULL
      AND f.completed_at IS NULL
    RETURNING {_FILE}
"""

_FILE_FOR = f"""
    SELECT {_FILE}
    FROM files f
    WHERE f.id = %(file_id)s AND f.revoked_at IS NULL AND f.completed_at IS NOT NULL
      AND CASE WHEN f.session_id IS NULL THEN f.uploader_id = %(user_id)s
          ELSE (f.message_id IS NOT NULL OR f.uploader_id = %(user_id)s) AND EXISTS (
              SELECT FROM session_users m
              WHERE m.session_id = f.session_id AND m.user_id = %(user_id)s AND m.left_at IS NULL
          ) END
"""

_AVATAR_FILE = f"""
    SELECT {_FILE}
    FROM files f
    JOIN users u ON u.id = f.uploader_id AND u.avatar_url = '/avatars/' || f.id
    WHERE f.id = %(file_id)s AND f.revoked_at IS NULL
"""

_CLAIM_AVATAR = """
    UPDATE files SET is_avatar = true
    WHERE id = %(file_id)s AND uploader_id = %(user_id)s AND session_id IS NULL
      AND revoked_at IS NULL AND has_thumbnail
    RETURNING id
"""

_SET_AVATAR = f"""
    UPDATE users u
    SET avatar_url = '/avatars/' || %(file_id)s::uuid, name = coalesce(%(name)s, name),
        search_name = coalesce(%(search_name)s, search_name)
    WHERE id = %(user_id)s AND erased_at IS NULL
    RETURNING {USER}
"""

_FILE_BY_KEY = f"""
    SELECT {_FILE}
    FROM files f
    WHERE f.key = %(key)s AND f.revoked_at IS NULL
      AND (f.session_id IS NULL OR EXISTS (
          SELECT FROM sessions s WHERE s.id = f.session_id AND s.deleted_at IS NULL
      ))
"""

_REVOKE_FILE = """
    UPDATE files SET revoked_at = coalesce(revoked_at, %(at)s), sweep_at = %(at)s
    WHERE id = %(file_id)s AND uploader_id = %(user_id)s AND message_id IS NULL AND NOT is_avatar
    RETURNING id
"""

# An ARRAY is read once. A plan may run `IN (SELECT ... SKIP LOCKED)` again for each row, and then
# it takes those that it has not locked yet.
_REVOKE_LOOSE = """
    WITH revoked AS (
        UPDATE files SET revoked_at = %(at)s, sweep_at = %(at)s
        WHERE id = ANY (ARRAY(
            SELECT id FROM files
            WHERE loose_since < %(before)s AND message_id IS NULL AND NOT is_avatar
              AND revoked_at IS NULL
            ORDER BY loose_since LIMIT %(limit)s
            FOR NO KEY UPDATE SKIP LOCKED
        ))
        RETURNING id
    )
    SELECT count(*) FROM revoked
"""

_FILES_TO_SWEEP = """
    SELECT id, key, revoked_at IS NOT NULL, upload_until FROM files
    WHERE sweep_at <= %(at)s
    ORDER BY sweep_at, id
    LIMIT %(limit)s
"""

_SWEEP_LATER = """
    WITH gone AS (
        DELETE FROM files
        WHERE id = %(file_id)s AND revoked_at IS NOT NULL AND %(again_at)s::timestamptz IS NULL
    )
    UPDATE files SET sweep_at = %(again_at)s
    WHERE id = %(file_id)s AND (revoked_at IS NULL OR %(again_at)s::timestamptz IS NOT NULL)
"""

# Of an account that ends: what is attached is a part of its messages.
FORGET_FILES = """
    UPDATE files SET revoked_at = %(at)s, sweep_at = %(at)s
    WHERE uploader_id = %(user_id)s AND message_id IS NULL AND revoked_at IS NULL
"""

_OWN_FILES = f"""
    SELECT {_FILE}
    FROM files f
    WHERE f.uploader_id = %(user_id)s AND f.completed_at IS NOT NULL AND f.revoked_at IS NULL
      AND (%(after)s::uuid IS NULL OR f.id > %(after)s)
    ORDER BY f.id
    LIMIT %(limit)s
"""


class Files:
    """The statements on files."""

    _pool: Pool

    async def insert_file(self, row: FileRow, quota: Quota) -> Bound | None:
        """Store the promise of a file, within the quota."""
        params = row._asdict()

        async def work(transaction: Transaction) -> Bound | None:
            await transaction.fetch(_LOCK_USER, params)
            [(size, files, uploads)] = await transaction.fetch(_USE, params)
            bound = passed_bound(Quota(size + row.size, files + 1, uploads + 1), quota)
            if bound is None:
                await transaction.fetch(_INSERT_FILE, params)
            return bound

        return await self._pool.transact(work)

    async def own_file(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a file of its uploader."""
        rows = await self._pool.fetch(_OWN_FILE, {"file_id": file_id, "user_id": user_id})
        return FileRow(*rows[0]) if rows else None

    async def complete_file(
        self, file_id: UUID, user_id: UUID, seen: Seen, at: datetime
    ) -> FileRow | None:
        """Note that the bytes are there and good."""
        params = {"file_id": file_id, "user_id": user_id, "at": at, **seen._asdict()}

        async def work(transaction: Transaction) -> FileRow | None:
            rows = await transaction.fetch(_COMPLETE_FILE, params)
            rows = rows or await transaction.fetch(_OWN_FILE, params)
            return FileRow(*rows[0]) if rows else None

        return await self._pool.transact(work)

    async def file_for(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a file that the user may read now."""
        rows = await self._pool.fetch(_FILE_FOR, {"file_id": file_id, "user_id": user_id})
        return FileRow(*rows[0]) if rows else None

    async def avatar_file(self, file_id: UUID) -> FileRow | None:
        """Return a file that is an avatar now."""
        rows = await self._pool.fetch(_AVATAR_FILE, {"file_id": file_id})
        return FileRow(*rows[0]) if rows else None

    async def set_avatar_file(
        self, user_id: UUID, file_id: UUID, *, name: str | None
    ) -> UserRow | None:
        """Make a picture the avatar of its uploader."""
        params = {
            "user_id": user_id,
            "file_id": file_id,
            "name": name,
            "search_name": None if name is None else search_name(name),
        }

        async def work(transaction: Transaction) -> UserRow | None:
            rows = await transaction.fetch(_CLAIM_AVATAR, params)
            rows = rows and await transaction.fetch(_SET_AVATAR, params)
            return UserRow(*rows[0]) if rows else None

        return await self._pool.transact(work)

    async def file_by_key(self, key: str) -> FileRow | None:
        """Return the file whose bytes are at `key`."""
        rows = await self._pool.fetch(_FILE_BY_KEY, {"key": key})
        return FileRow(*rows[0]) if rows else None

    async def revoke_file(self, file_id: UUID, user_id: UUID, at: datetime) -> bool:
        """Revoke a file of its uploader that is attached to nothing."""
        params = {"file_id": file_id, "user_id": user_id, "at": at}
        return bool(await self._pool.fetch(_REVOKE_FILE, params, writes=True))

    async def revoke_loose(self, before: datetime, at: datetime, limit: int) -> int:
        """Revoke files that are attached to nothing."""
        params = {"before": before, "at": at, "limit": limit}
        [(count,)] = await self._pool.fetch(_REVOKE_LOOSE, params, writes=True)
        return int(count)

    async def files_to_sweep(self, at: datetime, limit: int) -> list[SweepRow]:
        """Return files at which the sweep is to look."""
        rows = await self._pool.fetch(_FILES_TO_SWEEP, {"at": at, "limit": limit})
        return [SweepRow(*row) for row in rows]

    async def note_swept(self, file_id: UUID, again_at: datetime | None) -> None:
        """Note when to look at a file again."""
        params = {"file_id": file_id, "again_at": again_at}
        await self._pool.fetch(_SWEEP_LATER, params, writes=True)

    async def own_files(self, user_id: UUID, *, after: UUID | None, limit: int) -> list[FileRow]:
        """Return a user's files."""
        params = {"user_id": user_id, "after": after, "limit": limit}
        return [FileRow(*row) for row in await self._pool.fetch(_OWN_FILES, params)]
