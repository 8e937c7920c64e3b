"""Client events, server events and the answers between them, as pydantic models.

A client event is an operation's command: REST bodies, query strings and socket payloads are all
validated by it. Names are those of protocol.md; a model's alias is its wire name. One long file,
because it is the catalogue of the wire: whoever writes a client reads it from top to bottom.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    EmailStr,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from chatd.errors import ERROR_CODES
from chatd.model import (
    Account,
    Device,
    Member,
    Message,
    Position,
    Presence,
    Session,
    SessionSummary,
    Shape,
    Time,
    User,
)
from chatd.rows import SessionKind

MAX_CONTENT = 16_384  # characters: Mattermost's limit, four printed pages
MAX_EMOJI = 32  # bytes of UTF-8: the flag of Wales has 28, a family of four 25
MAX_SEQ = 2**53 - 1  # what a JavaScript number holds exactly

# Control characters other than tab and newline, and surrogates, which UTF-8 cannot carry.
_FORBIDDEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")


def _clean_text(text: str) -> str:
    cleaned = text.replace("\r\n", "\n").strip()
    if not cleaned.isascii():
        cleaned = unicodedata.normalize("NFC", cleaned)
    if not cleaned:
        msg = "is empty"
        raise ValueError(msg)
    if _FORBIDDEN.search(cleaned):
        msg = "holds control characters"
        raise ValueError(msg)
    return cleaned


def _clean_content(text: str) -> str:
    cleaned = _clean_text(text)
    if len(cleaned) > MAX_CONTENT:  # NFC makes three characters of some
        msg = "is too long"
        raise ValueError(msg)
    return cleaned


def _clean_emoji(text: str) -> str:
    cleaned = unicodedata.normalize("NFC", text)
    if _FORBIDDEN.search(cleaned) or any(map(str.isspace, cleaned)):
        msg = "holds control characters or space"
        raise ValueError(msg)
    if len(cleaned.encode()) > MAX_EMOJI:
        msg = "is too long"
        raise ValueError(msg)
    return cleaned


def _clean_name(text: str) -> str:
    cleaned = unicodedata.normalize("NFKC", _clean_text(text))
    if "\n" in cleaned or "\t" in cleaned:
        msg = "is one line"
        raise ValueError(msg)
    return cleaned


def _lower(address: str) -> str:
    return address.lower()


Content = Annotated[
    str, Field(min_length=1, max_length=MAX_CONTENT), AfterValidator(_clean_content)
]
Emoji = Annotated[str, Field(min_length=1, max_length=MAX_EMOJI), AfterValidator(_clean_emoji)]
Name = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(_clean_name)]
Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(_lower)]
Password = Annotated[str, StringConstraints(min_length=8, max_length=256)]
ClientMsgId = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$", description="unique per sender"),
]
Seq = Annotated[int, Field(ge=0, le=MAX_SEQ, strict=True)]
Limit = Annotated[int, Field(ge=1, le=100)]


class Nothing(Shape):
    """No fields."""


class Refusal(Shape):
    """Why a call was refused; clients branch on `code`, never on `message`."""

    code: Annotated[str, Field(json_schema_extra={"enum": [*ERROR_CODES]})]
    message: str
    retryable: bool
    request_id: str
    retry_after_ms: int | None = None
    details: dict[str, Any] | None = None


class ErrorAnswer(Shape):
    """What REST answers to a call that is refused."""

    error: Refusal


# Accounts


class Register(Shape):
    """Open an account."""

    email: Email
    password: Password
    name: Name | None = None


class Login(Shape):
    """Log in with a password."""

    email: Email
    password: Annotated[str, StringConstraints(max_length=256)]


class Refresh(Shape):
    """Exchange a refresh token for a new pair."""

    refresh_token: Annotated[str, StringConstraints(max_length=128)]


class Tokens(Shape):
    """A login: the account and its token pair."""

    user: Account
    access_token: str
    refresh_token: str
    expires_at: Time
    device_id: UUID


class Me(Shape):
    """The caller's account."""

    user: Account


class Devices(Shape):
    """The devices with an open login, the last used first."""

    devices: list[Device]


class DeviceRef(Shape):
    """Names a device of the caller."""

    device_id: UUID


class UserQuery(Shape):
    """Find somebody; `query` is their whole e-mail address."""

    query: Email


class UserRef(Shape):
    """Names a user."""

    user_id: UUID


class UserAnswer(Shape):
    """One user."""

    user: User


class Users(Shape):
    """The users found."""

    users: list[User]


class AuthRefresh(Shape):
    """Renew the access token of a live socket."""

    access_token: Annotated[str, StringConstraints(max_length=8192)]


class AuthRefreshed(Shape):
    """How long the live socket is now good for."""

    expires_at: Time


# Sessions


class SessionCreate(Shape):
    """Open a session; a DIRECT one takes exactly one other member and is unique."""

    kind: SessionKind
    name: Name | None = None
    member_ids: Annotated[list[UUID], Field(default_factory=list, max_length=100)]

    @model_validator(mode="after")
    def _fits_kind(self) -> SessionCreate:
        if self.kind == "DIRECT" and (len(self.member_ids) != 1 or self.name is not None):
            msg = "a DIRECT session takes exactly one memberId and no name"
            raise ValueError(msg)
        if self.kind != "DIRECT" and self.name is None:
            msg = "a GROUP or PUBLIC session takes a name"
            raise ValueError(msg)
        return self


class SessionAnswer(Shape):
    """One session."""

    session: Session


class SessionList(Shape):
    """Page through the caller's sessions."""

    cursor: Annotated[str, StringConstraints(max_length=200)] | None = None
    limit: Limit = 50


class SessionPage(Shape):
    """The caller's sessions, latest activity first; `nextCursor` is null on the last page."""

    sessions: list[SessionSummary]
    next_cursor: str | None


class SessionRef(Shape):
    """Names a session."""

    session_id: UUID


class SessionRename(SessionRef):
    """Rename a session."""

    name: Name


class Since(Shape):
    """The position that a client has reached."""

    epoch: UUID
    seq: Seq


class SessionJoin(SessionRef):
    """Receive a session's events on this socket, from a position where one is given."""

    since: Since | None = None
    limit: Limit = 50


class Joined(Shape):
    """The state of a session at `seq`; every later event follows on the socket."""

    session_id: UUID
    epoch: UUID
    seq: int
    recovered: bool
    messages: list[Message]
    has_more: bool
    members: list[Member]
    presence: list[Presence]
    typing: list[UUID]
    unread_count: int
    mention_count: int
    last_read_seq: int


class MemberList(SessionRef):
    """Page through the members of a session."""

    after: UUID | None = None
    limit: Limit = 100


class MemberPage(Shape):
    """Members by rising user id; `nextAfter` is null on the last page."""

    members: list[Member]
    next_after: UUID | None


class MemberRef(SessionRef):
    """Names a user in a session; without `userId` the caller."""

    user_id: UUID | None = None


class MemberAnswer(Shape):
    """One member and the session's `seq` after the change."""

    member: Member
    seq: int


class LeftAnswer(Shape):
    """The session's `seq` after the change."""

    seq: int


# Messages


class MessageSend(SessionRef):
    """Send a message; a repeat with the same `clientMsgId` answers what is stored."""

    content: Content
    client_msg_id: ClientMsgId | None = None


class SendAnswer(Shape):
    """The stored message; `duplicate` tells that it was stored before this call."""

    message: Message
    duplicate: bool


class MessageRef(Shape):
    """Names a message; one of a session that the caller is not in is not found."""

    message_id: UUID


class MessageDelete(MessageRef):
    """Delete a message: a tombstone without content stays in its place."""


class MessageEdit(MessageRef):
    """Replace a message's text, if `expectedVersion` (where given) is the current one."""

    content: Content
    expected_version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = None


class MessageReact(MessageRef):
    """Give a reaction or take it back; a message takes at most 20 different emoji."""

    emoji: Emoji
    on: Annotated[bool, Field(strict=True)]


class MessageAnswer(Shape):
    """The message as it is now."""

    message: Message


class MessageRead(SessionRef):
    """Move the caller's read marker forward."""

    seq: Seq


class History(SessionRef):
    """Page through messages; at most one of the three bounds, the newest page without."""

    before_seq: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    after_seq: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    around_id: UUID | None = None
    limit: Limit = 50

    @model_validator(mode="after")
    def _one_bound(self) -> History:
        if (
            sum(bound is not None for bound in (self.before_seq, self.after_seq, self.around_id))
            > 1
        ):
            msg = "beforeSeq, afterSeq and aroundId exclude each other"
            raise ValueError(msg)
        return self


class HistoryAnswer(Shape):
    """Messages oldest first, and where the session stands."""

    messages: list[Message]
    has_before: bool
    has_after: bool
    epoch: UUID
    seq: int


# Presence and typing


class StatusSet(Shape):
    """Set the caller's status: ONLINE clears a manual one, AWAY is this device's."""

    status: Literal["ONLINE", "AWAY", "BUSY", "INVISIBLE"]
    text: Annotated[str, Field(max_length=120), AfterValidator(_clean_name)] | None = None
    until: datetime | None = None

    @field_validator("until")
    @classmethod
    def _in_utc(cls, until: datetime | None) -> datetime | None:
        if until is None:
            return None
        if until.tzinfo is None:
            msg = "needs a time zone"
            raise ValueError(msg)
        try:
            return until.astimezone(UTC)
        except OverflowError:
            msg = "is beyond the calendar"
            raise ValueError(msg) from None


class StatusAnswer(Shape):
    """The caller's presence as others see it now."""

    presence: Presence


# What only the server says


class ConnectionReady(Shape):
    """First event of every connection."""

    connection_id: str
    device_id: UUID
    server_time: Time
    recovered: bool
    expires_at: Time
    epoch: UUID
    limits: dict[str, int]
    timings: dict[str, int]
    sessions: list[Position]


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


class MessageUpdated(Shape):
    """A message has a new text; `message` comes with what was missed: all of its state."""

    id: UUID
    session_id: UUID
    seq: int
    version: int
    content: str
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


class MemberJoined(SessionRef):
    """Somebody is now a member, or their role changed."""

    seq: int
    member: Member


class MemberLeft(SessionRef):
    """Somebody is no longer a member."""

    seq: int
    user_id: UUID


class SessionUpdated(Shape):
    """A session changed."""

    session_id: UUID
    seq: int
    session: Session


class SessionRemoved(SessionRef):
    """The receiver is no longer in this session: its stream ends here."""

    reason: str


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
    "member:joined": MemberJoined,
    "member:left": MemberLeft,
    "session:updated": SessionUpdated,
    "session:removed": SessionRemoved,
    "user:status": Presence,
    "user:typing": UserTyping,
}

# Each takes the next `seq` of its session; on Socket.IO they have an offset, and are recovered.
DURABLE_EVENTS = frozenset(
    {
        "message:new",
        "message:updated",
        "message:deleted",
        "message:reaction",
        "member:joined",
        "member:left",
        "session:updated",
    }
)
