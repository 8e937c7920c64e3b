"""The store that marks for a read replica what its callers do not: see `chatd.freshness`.

The daemon marks the events of sessions and who has called a writing operation. Here is what others
are told of, who have called nothing, and what the daemon hears from the primary alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chatd.freshness import Freshness
from chatd.keyring import Keyring
from chatd.rows import ChangesPage, JoinPage, MemberChange, SessionRow, UserRow
from chatd.store.pool import Pool
from chatd.store.postgres import PostgresStore

PROFILES = UUID(int=1)  # the id of no user: marks that somebody's name or picture has changed


class MarkingStore(PostgresStore):
    """A PostgresStore that marks.

    Attributes:
        freshness: what a replica must show before it may answer.
    """

    def __init__(self, pool: Pool, keyring: Keyring | None = None) -> None:
        super().__init__(pool, keyring)
        self.freshness = Freshness()

    async def create_session(
        self, *, creator_id: UUID, member_ids: Sequence[UUID], **rest: Any
    ) -> tuple[SessionRow, bool]:
        """Store a session and its members, who are to find it in their lists."""
        rest |= {"creator_id": creator_id, "member_ids": member_ids}
        try:
            return await super().create_session(**rest)
        finally:
            for user_id in (creator_id, *member_ids):
                self.freshness.wrote(user_id)

    async def add_member(self, session_id: UUID, user_id: UUID, **rest: Any) -> MemberChange | None:
        """Make a user a member, who is to find the session in the list."""
        try:
            return await super().add_member(session_id, user_id, **rest)
        finally:
            self.freshness.wrote(user_id)

    async def update_user(self, user_id: UUID, **changes: Any) -> UserRow | None:
        """Change what others see of a user."""
        try:
            return await super().update_user(user_id, **changes)
        finally:
            self.freshness.wrote(PROFILES)

    async def set_avatar_file(
        self, user_id: UUID, file_id: UUID, *, name: str | None
    ) -> UserRow | None:
        """Make a picture the avatar of its uploader."""
        try:
            return await super().set_avatar_file(user_id, file_id, name=name)
        finally:
            self.freshness.wrote(PROFILES)

    async def join_page(self, session_id: UUID, user_id: UUID, **how: Any) -> JoinPage | None:
        """Read what a member sees at join: from then on the session is not older for anybody."""
        page = await super().join_page(session_id, user_id, **how)
        if page is not None:
            self.freshness.saw(session_id, page.session.seq)
        return page

    async def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        """Return current rows whose `changed_seq` is above `seq`; a room tells them."""
        page = await super().changes_since(session_id, seq, limit)
        self.freshness.saw(session_id, page.seq)
        return page
