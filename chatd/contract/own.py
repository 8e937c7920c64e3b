"""The store's contract: what belongs to one account, read in pages of bounded size.

Messages are reached through the sessions that their sender is or was in, and within a session by
a span of `seq`: an index by sender would cost every message for what is asked once a year. What
is written meanwhile may be seen or not.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from chatd.rows import DeviceRow, Mentions, Role, SessionKind


class OwnSessionRow(NamedTuple):
    """A session that a user is or was in, and how far they have read it."""

    session_id: UUID
    kind: SessionKind
    name: str | None
    seq: int
    role: Role
    joined_at: datetime
    left_at: datetime | None
    last_read_seq: int
    muted: bool
    favourite: bool


class OwnMessageRow(NamedTuple):
    """A message as its sender wrote it; `content` may be UNREADABLE."""

    id: UUID
    session_id: UUID
    seq: int
    content: str
    created_at: datetime
    client_msg_id: str | None
    reply_to_id: UUID | None
    version: int
    edited_at: datetime | None
    deleted_at: datetime | None
    mentions: Mentions | None


class OwnRevisionRow(NamedTuple):
    """An earlier text of a message; `content` may be UNREADABLE."""

    message_id: UUID
    seq: int
    version: int
    content: str
    created_at: datetime


class OwnReactionRow(NamedTuple):
    """A reaction that the user gave."""

    message_id: UUID
    seq: int
    emoji: str


class OwnMentionRow(NamedTuple):
    """A message that mentions the user."""

    message_id: UUID
    seq: int


class OwnStore(Protocol):
    """What belongs to one account."""

    async def own_devices(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[DeviceRow]:
        """Return all devices that ever logged in, by rising id; last used is the last login."""

    async def own_sessions(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[OwnSessionRow]:
        """Return the sessions that a user is or was in, by rising id."""

    async def own_messages(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMessageRow]:
        """Return a user's messages with a `seq` above `after` and up to `until`, by `seq`."""

    async def own_revisions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, int],
        until: int,
        limit: int,
    ) -> list[OwnRevisionRow]:
        """Return the earlier texts of such messages, above a (`seq`, version)."""

    async def own_reactions(
        self,
        user_id: UUID,
        session_id: UUID,
        *,
        after: tuple[int, str],
        until: int,
        limit: int,
    ) -> list[OwnReactionRow]:
        """Return a user's reactions to messages of that span, above a (`seq`, emoji)."""

    async def own_mentions(
        self, user_id: UUID, session_id: UUID, *, after: int, until: int, limit: int
    ) -> list[OwnMentionRow]:
        """Return the messages of such a span that mention a user, by `seq`."""
