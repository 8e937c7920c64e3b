"""The store's contract: what is known of files. Their bytes are with `chatd.context.Blobs`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from chatd.rows import FileRow, SweepRow, UserRow

Bound = Literal["bytes", "files", "uploads"]


class Quota(NamedTuple):
    """What one user may have: bytes and files in all, and links to upload that are still good.

    Of a complete file the link counts no more, of a revoked one it does: it may still be used.
    """

    size: int
    files: int
    uploads: int


class Seen(NamedTuple):
    """What a look at the bytes of a file has shown."""

    served_type: str | None
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False


class FileStore(Protocol):
    """Files. What is revoked is known to the sweep only: all else does not find it."""

    async def insert_file(self, row: FileRow, quota: Quota) -> Bound | None:
        """Store the promise of a file; return the bound that it would pass, and then it is not.

        Exact also when a user asks many times at once.
        """

    async def own_file(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a file of its uploader, complete or not."""

    async def complete_file(
        self, file_id: UUID, user_id: UUID, seen: Seen, at: datetime
    ) -> FileRow | None:
        """Note that the bytes are there and good; of a complete file nothing changes."""

    async def file_for(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a complete file that the user may read now.

        That is one of a session in which they are a member now; before it is attached it is its
        uploader's alone. One that is to become an avatar is its uploader's.
        """

    async def avatar_file(self, file_id: UUID) -> FileRow | None:
        """Return a file that is somebody's avatar now."""

    async def set_avatar_file(
        self, user_id: UUID, file_id: UUID, *, name: str | None
    ) -> UserRow | None:
        """Make a picture the avatar of its uploader, and set the name where one is given.

        None when there is no such file: complete, of the user, of no session, with a thumbnail.
        """

    async def file_by_key(self, key: str) -> FileRow | None:
        """Return the file whose bytes are at `key`, unless its session was deleted."""

    async def revoke_file(self, file_id: UUID, user_id: UUID, at: datetime) -> bool:
        """Revoke a file of its uploader that is attached to nothing; return whether there is one.

        A repeat returns True as long as the row is there.
        """

    async def revoke_loose(self, before: datetime, at: datetime, limit: int) -> int:
        """Revoke files that are attached to nothing since `before`; return how many."""

    async def files_to_sweep(self, at: datetime, limit: int) -> list[SweepRow]:
        """Return files at which the sweep is to look now, the longest due first."""

    async def note_swept(self, file_id: UUID, again_at: datetime | None) -> None:
        """Note when to look at a file again; None: never. The row of a revoked file goes then."""

    async def own_files(self, user_id: UUID, *, after: UUID | None, limit: int) -> list[FileRow]:
        """Return a user's complete files, by rising id."""
