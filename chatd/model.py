"""Public shapes: what clients see of users, sessions, members and messages.

The pydantic models are the contract (they become OpenAPI and AsyncAPI). The `*_json` functions
write the same shapes straight from rows with orjson, because a message is encoded once for its
ack, for every member and for history; `tests/test_model.py` holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from chatd.avatars import avatar_of
from chatd.ids import is_bot
from chatd.rows import (
    UNREADABLE,
    AttachmentRow,
    DeviceRow,
    MarkerRow,
    MemberRow,
    MessageRow,
    PositionRow,
    ReactionRow,
    ReplyRow,
    Role,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)


def iso(at: datetime) -> str:
    """Return a time as the wire writes it: ISO 8601, UTC, milliseconds, `Z`."""
    text = at.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):  # what the store gives is UTC: 2 µs less for each message
        text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text[:-6] + "Z"


def iso_or_none(at: datetime | None) -> str | None:
    """Return a time as the wire writes it, if there is one."""
    return None if at is None else iso(at)


Time = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Shape(BaseModel):
    """Base of all public shapes: camelCase on the wire, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
    )


class User(Shape):
    """A user as others see them; `avatarColor` is for where no picture is shown.

    `isBot` is there, and true, when a program speaks: people's have none.
    """

    id: UUID
    name: str
    avatar_url: str | None
    avatar_color: str
    is_bot: bool = False


class Account(User):
    """A user as they see themselves."""

    email: str
    email_verified: bool
    created_at: Time


class Device(Shape):
    """A device with an open login of the caller; `isCurrent` is the one that asks."""

    id: UUID
    name: str
    address: str
    created_at: Time
    last_used_at: Time
    is_current: bool


class Reaction(Shape):
    """One emoji under a message; `userIds` are the first 20 who reacted, the earliest first."""

    emoji: str
    count: int
    user_ids: list[UUID]


class Reply(Shape):
    """The message that another answers; `excerpt` is of then, and null when it is deleted."""

    id: UUID
    seq: int
    sender: User
    excerpt: str | None


class Attachment(Shape):
    """A file of a message; `width` and `height` are those of an image, as it is to be shown.

    Its bytes are at `/files/{id}`, a small picture of an image with `hasThumbnail` at
    `/files/{id}/thumbnail`: both for who is a member then.
    """

    id: UUID
    name: str
    size: int
    mime_type: str
    width: int | None
    height: int | None
    has_thumbnail: bool


class Message(Shape):
    """A message; `seq` orders it within its session, `createdAt` never does.

    One that was never changed has none of the fields with a default, one that was has them all:
    `changedSeq` is the `seq` of its last change. `unreadable` is there only when it is true: the
    text is encrypted at rest, and this server cannot decrypt it; `content` is empty then.
    """

    id: UUID
    session_id: UUID
    seq: int
    sender: User
    content: str
    created_at: Time
    client_msg_id: str | None
    reply_to: Reply | None
    mentions: list[UUID] | Literal["ALL"]
    attachments: list[Attachment]
    changed_seq: int | None = None
    version: int = 1
    edited_at: Time | None = None
    deleted_at: Time | None = None
    deleted_by: UUID | None = None
    pinned_at: Time | None = None
    pinned_by: UUID | None = None
    reactions: list[Reaction] = []
    unreadable: bool = False


class Session(Shape):
    """A chat room as stored."""

    id: UUID
    kind: SessionKind
    name: str | None
    seq: int
    member_count: int
    created_at: Time
    read_only: bool
    archived_at: Time | None
    slow_mode_seconds: int


class SessionSummary(Session):
    """A line of the caller's session list."""

    role: Role
    last_message: Message | None
    unread_count: int
    mention_count: int
    last_read_seq: int
    muted: bool
    marked_unread: bool
    favourite: bool


class Position(Shape):
    """Where the caller stands in one session."""

    session_id: UUID
    epoch: UUID
    seq: int
    unread_count: int
    mention_count: int
    last_read_seq: int


class Member(Shape):
    """A user in a session; before `mutedUntil` they may not write."""

    user: User
    role: Role
    joined_at: Time
    muted_until: Time | None = None


class Presence(Shape):
    """Whether a user is there; `lastSeen` is null for somebody never seen."""

    user_id: UUID
    status: str
    last_seen: Time | None
    text: str | None


def dumps(value: Any) -> bytes:
    """Return a JSON-ready value as bytes; UUIDs are written as strings, fragments as they are."""
    return orjson.dumps(value)


def user_dict(user: UserRow) -> dict[str, Any]:
    """Return a `User`."""
    return public_user(user.id, user.name, user.avatar_url)


def public_user(user_id: UUID, name: str, avatar: str | None) -> dict[str, Any]:
    """Return a `User`; `avatar` as it is stored."""
    url, color = avatar_of(user_id, avatar)
    user = {"id": user_id, "name": name, "avatarUrl": url, "avatarColor": color}
    if is_bot(user_id):
        user["isBot"] = True
    return user


def account_dict(user: UserRow) -> dict[str, Any]:
    """Return an `Account`."""
    return user_dict(user) | {
        "email": user.email,
        "emailVerified": user.email_verified_at is not None,
        "createdAt": iso(user.created_at),
    }


def device_dict(row: DeviceRow, current_id: UUID) -> dict[str, Any]:
    """Return a `Device`, seen from another or the same."""
    return {
        "id": row.id,
        "name": row.name,
        "address": row.address,
        "createdAt": iso(row.created_at),
        "lastUsedAt": iso(row.last_used_at),
        "isCurrent": row.id == current_id,
    }


def message_dict(row: MessageRow) -> dict[str, Any]:
    """Return a `Message`."""
    message = {
        "id": row.id,
        "sessionId": row.session_id,
        "seq": row.seq,
        "sender": public_user(row.sender_id, row.sender_name, row.sender_avatar_url),
        "content": row.content,
        "createdAt": iso(row.created_at),
        "clientMsgId": row.client_msg_id,
        "replyTo": None if row.reply_to is None else reply_dict(row.reply_to),
        "mentions": row.mentions or (),
        "attachments": ()
        if row.attachments is None
        else [attachment_dict(each) for each in row.attachments],
    }
    if row.changed_seq != row.seq:
        message |= {
            "changedSeq": row.changed_seq,
            "version": row.version,
            "editedAt": iso_or_none(row.edited_at),
            "deletedAt": iso_or_none(row.deleted_at),
            "deletedBy": row.deleted_by,
            "pinnedAt": iso_or_none(row.pinned_at),
            "pinnedBy": row.pinned_by,
            "reactions": [reaction_dict(each) for each in row.reactions or ()],
        }
    if row.content is UNREADABLE:
        message["unreadable"] = True
    return message


def attachment_dict(row: AttachmentRow) -> dict[str, Any]:
    """Return an `Attachment`."""
    return {
        "id": row.id,
        "name": row.name,
        "size": row.size,
        "mimeType": row.mime_type,
        "width": row.width,
        "height": row.height,
        "hasThumbnail": row.has_thumbnail,
    }


def reply_dict(row: ReplyRow) -> dict[str, Any]:
    """Return a `Reply`."""
    return {
        "id": row.id,
        "seq": row.seq,
        "sender": public_user(row.sender_id, row.sender_name, row.sender_avatar_url),
        "excerpt": row.excerpt,
    }


def reaction_dict(row: ReactionRow) -> dict[str, Any]:
    """Return a `Reaction`."""
    return {"emoji": row.emoji, "count": row.total, "userIds": row.user_ids}


def session_dict(row: SessionRow) -> dict[str, Any]:
    """Return a `Session`."""
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "seq": row.seq,
        "memberCount": row.member_count,
        "createdAt": iso(row.created_at),
        "readOnly": row.is_read_only,
        "archivedAt": iso_or_none(row.archived_at),
        "slowModeSeconds": row.slow_mode_seconds,
    }


def session_event(row: SessionRow, seq: int) -> dict[str, Any]:
    """Return the payload of `session:updated`: a session's current state, told at `seq`."""
    return {"sessionId": row.id, "seq": seq, "session": session_dict(row)}


def summary_dict(row: SessionListRow) -> dict[str, Any]:
    """Return a `SessionSummary`."""
    return session_dict(row.session) | {
        "role": row.role,
        "lastMessage": None if row.last_message is None else message_dict(row.last_message),
        "unreadCount": row.unread_count,
        "mentionCount": row.mention_count,
        "lastReadSeq": row.last_read_seq,
        "muted": row.muted,
        "markedUnread": row.marked_unread,
        "favourite": row.favourite,
    }


def position_dict(row: PositionRow | MarkerRow, epoch: UUID) -> dict[str, Any]:
    """Return a `Position`."""
    return {
        "sessionId": row.session_id,
        "epoch": epoch,
        "seq": row.seq,
        "unreadCount": row.unread_count,
        "mentionCount": row.mention_count,
        "lastReadSeq": row.last_read_seq,
    }


def member_dict(row: MemberRow) -> dict[str, Any]:
    """Return a `Member`."""
    member = {
        "user": public_user(row.user_id, row.name, row.avatar_url),
        "role": row.role,
        "joinedAt": iso(row.joined_at),
    }
    if row.muted_until is not None:
        member["mutedUntil"] = iso(row.muted_until)
    return member
