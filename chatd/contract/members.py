"""The store's contract: who is in a session."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import MemberChange, MemberRow, Role


class MemberStore(Protocol):
    """Who is in a session."""

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id above `after`."""

    async def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`; None when session or user do not exist.

        Takes the session's row lock, as every durable change does. Who is a member already keeps
        their role (`is_changed` is False). A DIRECT session takes no third member: None as well.
        """

    async def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> MemberChange | None:
        """End a membership and take a `seq`; None when the user is no member.

        The two of a DIRECT session stay, or asking for it again would find it without them: None.
        """
