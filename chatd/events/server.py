"""What the server says without being asked (protocol.md)."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chatd.events.ai import AiDelta, AiDone, AiError, AiStart, AiUpdated
from chatd.events.answers import Refusal
from chatd.events.reading import ReadMarker, SessionHeartbeat, SessionUnread
from chatd.events.sessions import SessionRef
from chatd.events.settings import Prefs
from chatd.model import Member, Message, Position, Presence, Session, Shape, Time, User


class OwnStatus(Shape):
    """What the caller has set; ONLINE is nothing."""

    status: Literal["ONLINE", "BUSY", "INVISIBLE"]
    text: str | None
    until: Time | None


class ConnectionReady(Shape):
    """First event of every connection.

    `presence` is of those in scope who are there, at most 200: who is not in it is not there, or
    not known. It takes the place of all that the client knew before. `expiresAt` is null with an
    API token that does not expire.
    """

    connection_id: str
    device_id: UUID
    server_time: Time
    recovered: bool
    expires_at: Time | None
    epoch: UUID
    limits: dict[str, int]
    timings: dict[str, int]
    sessions: list[Position]
    status: OwnStatus
    presence: list[Presence]


class ConnectionClosing(Shape):
    """Last event of a connection that the server ends."""

    code: int
    reason: str
    reconnect: bool
    retry_after_ms: int | None = None


class RequestFailed(Shape):
    """A request over Socket.IO that asked for no ack was refused."""

    event: str
    error: Refusal


class AuthExpiring(Shape):
    """The access token of this socket expires soon."""

    expires_at: Time
    in_ms: int


class ServerDraining(Shape):
    """The server is going down; connections close evenly until the deadline."""

    deadline: Time


class UserTyping(Shape):
    """Somebody types, or no longer."""

    session_id: UUID
    user_id: UUID
    is_typing: bool
    expires_in_ms: int


class SessionPresence(SessionRef):
    """How many are there in a large session, instead of the `user:status` of its members."""

    online: int


class MessageUpdated(Shape):
    """A message has a new text; `message` comes with what was missed: all of its state."""

    id: UUID
    session_id: UUID
    seq: int
    version: int
    content: str
    mentions: list[UUID] | Literal["ALL"]
    edited_at: Time | None
    message: Message | None = None


class MessageDeleted(Shape):
    """A message is a tombstone now; `message` comes with what was missed: all of its state."""

    id: UUID
    session_id: UUID
    seq: int
    deleted_at: Time
    deleted_by: UUID
    message: Message | None = None


class MessageReaction(SessionRef):
    """Somebody reacted or took it back; `count` and `userIds` are what this emoji has now."""

    message_id: UUID
    seq: int
    emoji: str
    count: int
    user_ids: list[UUID]
    user_id: UUID
    on: bool


class MessagePinned(SessionRef):
    """A message was pinned, or its pin taken off: then `pinnedAt` and `pinnedBy` are null."""

    id: UUID
    seq: int
    pinned_at: Time | None
    pinned_by: UUID | None
    on: bool


class MemberJoined(SessionRef):
    """Somebody is now a member; `by` is who brought them in, if it was not themselves."""

    seq: int
    member: Member
    by: UUID | None = None


class MemberUpdated(SessionRef):
    """A member has another role or `mutedUntil`; `by` comes live only, not with what was missed."""

    seq: int
    member: Member
    by: UUID | None = None


class MemberLeft(SessionRef):
    """Somebody is no longer a member; `by` is who took them out, if it was not themselves."""

    seq: int
    user_id: UUID
    by: UUID | None = None


class SessionUpdated(Shape):
    """A session changed."""

    session_id: UUID
    seq: int
    session: Session


class UserUpdated(Shape):
    """A user who shares a session with the receiver, or the receiver, has a new name or avatar."""

    user: User


class SessionRemoved(SessionRef):
    """The receiver is no longer in this session: its stream ends here."""

    reason: Literal["removed", "banned", "deleted", "left"]


class NotificationNew(SessionRef):
    """Somebody mentions the receiver; `seq` is the place of the message."""

    type: Literal["MENTION"]
    message_id: UUID
    seq: int
    from_: Annotated[User, Field(alias="from")]
    excerpt: str


SERVER_EVENTS: dict[str, type[Shape]] = {
    "connection:ready": ConnectionReady,
    "connection:closing": ConnectionClosing,
    "request:failed": RequestFailed,
    "auth:expiring": AuthExpiring,
    "server:draining": ServerDraining,
    "message:new": Message,
    "message:updated": MessageUpdated,
    "message:deleted": MessageDeleted,
    "message:reaction": MessageReaction,
    "message:pinned": MessagePinned,
    "member:joined": MemberJoined,
    "member:left": MemberLeft,
    "member:updated": MemberUpdated,
    "session:updated": SessionUpdated,
    "session:removed": SessionRemoved,
    "session:presence": SessionPresence,
    "session:prefs": Prefs,
    "user:status": Presence,
    "user:updated": UserUpdated,
    "user:typing": UserTyping,
    "notification:new": NotificationNew,
    "message:read": ReadMarker,
    "session:unread": SessionUnread,
    "session:heartbeat": SessionHeartbeat,
    "ai:start": AiStart,
    "ai:delta": AiDelta,
    "ai:done": AiDone,
    "ai:error": AiError,
    "ai:updated": AiUpdated,
}

# Each takes the next `seq` of its session; on Socket.IO they have an offset, and are recovered.
DURABLE_EVENTS = frozenset(
    {
        "message:new",
        "message:updated",
        "message:deleted",
        "message:reaction",
        "message:pinned",
        "member:joined",
        "member:left",
        "member:updated",
        "session:updated",
    }
)
