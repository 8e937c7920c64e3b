"""What is known of files, in the memory twin."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chatd.contract.files import Bound, Quota, Seen
from chatd.errors import StoreBug
from chatd.rows import FileRow, SweepRow, UserRow
from chatd.store.checks import passed_bound
from chatd.store.memory_state import File, Tables, statement


class MemoryFiles(Tables):
    """The part of the contract about files."""

    @statement
    def insert_file(self, row: FileRow, quota: Quota) -> Bound | None:
        """Store the promise of a file, within the quota."""
        mine = [each for each in self._all_files() if each.row.uploader_id == row.uploader_id]
        kept = [each.row for each in mine if each.revoked_at is None]
        links = [
            each
            for each in mine
            if each.row.upload_until > row.created_at
            and (each.row.completed_at is None or each.revoked_at is not None)
        ]
        size = sum(each.size for each in kept) + row.size
        use = Quota(size, len(kept) + 1, len(links) + 1)
        bound = passed_bound(use, quota)
        if bound is None:
            self._user(row.uploader_id)
            if any(row.id == each.row.id or row.key == each.row.key for each in self._all_files()):
                msg = "a file's id or key is taken"
                raise StoreBug(msg)
            self._files[row.id] = File(row, row.created_at)
        return bound

    @statement
    def own_file(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a file of its uploader."""
        return self._own_file(file_id, user_id)

    @statement
    def complete_file(
        self, file_id: UUID, user_id: UUID, seen: Seen, at: datetime
    ) -> FileRow | None:
        """Note that the bytes are there and good."""
        row = self._own_file(file_id, user_id)
        if row is None or row.completed_at is not None:
            return row
        file = self._files[file_id]
        file.row = row._replace(completed_at=at, **seen._asdict())
        file.loose_since, file.sweep_at = at, row.upload_until
        return file.row

    @statement
    def file_for(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        """Return a file that the user may read now."""
        row = self._live_file(file_id)
        if row is None or row.completed_at is None:
            return None
        is_own = row.uploader_id == user_id
        if row.session_id is None:
            return row if is_own else None
        session = self._sessions.get(row.session_id)
        is_member = session is not None and session.member(user_id) is not None
        return row if is_member and (is_own or row.message_id is not None) else None

    @statement
    def avatar_file(self, file_id: UUID) -> FileRow | None:
        """Return a file that is an avatar now."""
        row = self._live_file(file_id)
        return row if row is not None and self._is_avatar(row) else None

    @statement
    def set_avatar_file(self, user_id: UUID, file_id: UUID, *, name: str | None) -> UserRow | None:
        """Make a picture the avatar of its uploader."""
        row = self._own_file(file_id, user_id)
        if row is None or row.session_id is not None or not row.has_thumbnail:
            return None
        user = self._users[user_id]
        user = replace(user, name=name or user.name, avatar_url=f"/avatars/{file_id}")
        self._users[user_id] = user
        return user

    @statement
    def file_by_key(self, key: str) -> FileRow | None:
        """Return the file whose bytes are at `key`."""
        for file in self._live_files():
            if file.row.key == key:
                session_id = file.row.session_id
                return file.row if session_id is None or self._is_living(session_id) else None
        return None

    @statement
    def revoke_file(self, file_id: UUID, user_id: UUID, at: datetime) -> bool:
        """Revoke a file of its uploader that is attached to nothing."""
        file = self._files.get(file_id)
        if (
            file is None
            or file.row.uploader_id != user_id
            or file.row.message_id is not None
            or self._is_avatar(file.row)
        ):
            return False
        file.revoke(at)
        file.sweep_at = at
        return True

    @statement
    def revoke_loose(self, before: datetime, at: datetime, limit: int) -> int:
        """Revoke files that are attached to nothing."""
        loose = [
            file
            for file in self._live_files()
            if file.loose_since < before
            and file.row.message_id is None
            and not self._is_avatar(file.row)
        ]
        loose.sort(key=lambda file: file.loose_since)
        for file in loose[:limit]:
            file.revoke(at)
        return len(loose[:limit])

    @statement
    def files_to_sweep(self, at: datetime, limit: int) -> list[SweepRow]:
        """Return files at which the sweep is to look."""
        due = sorted(
            (file.sweep_at, file.row.id)
            for file in self._files.values()
            if file.sweep_at is not None and file.sweep_at <= at
        )
        found = [self._files[file_id] for _, file_id in due[:limit]]
        return [
            SweepRow(each.row.id, each.row.key, each.revoked_at is not None, each.row.upload_until)
            for each in found
        ]

    @statement
    def note_swept(self, file_id: UUID, again_at: datetime | None) -> None:
        """Note when to look at a file again."""
        file = self._files.get(file_id)
        if file is None:
            return
        file.sweep_at = again_at
        if again_at is None and file.revoked_at is not None:
            del self._files[file_id]

    @statement
    def own_files(self, user_id: UUID, *, after: UUID | None, limit: int) -> list[FileRow]:
        """Return a user's files."""
        mine = sorted(
            file.row
            for file in self._live_files()
            if file.row.uploader_id == user_id
            and file.row.completed_at is not None
            and (after is None or file.row.id > after)
        )
        return mine[:limit]

    def _all_files(self) -> list[File]:
        return list(self._files.values())

    def _live_files(self) -> list[File]:
        return [file for file in self._files.values() if file.revoked_at is None]

    def _live_file(self, file_id: UUID) -> FileRow | None:
        file = self._files.get(file_id)
        return None if file is None or file.revoked_at is not None else file.row

    def _own_file(self, file_id: UUID, user_id: UUID) -> FileRow | None:
        row = self._live_file(file_id)
        return row if row is not None and row.uploader_id == user_id else None

    def _is_avatar(self, row: FileRow) -> bool:
        return self._users[row.uploader_id].avatar_url == f"/avatars/{row.id}"

    def _is_living(self, session_id: UUID) -> bool:
        session = self._sessions.get(session_id)
        return session is not None and session.deleted_at is None
