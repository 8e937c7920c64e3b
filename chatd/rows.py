"""Typed rows: what the store gives back. Frozen, without behaviour; SQL names, Python types.

Those of which there are many are named tuples: a frozen dataclass of eleven fields costs 1.8 µs to
make, a named tuple 0.4, and a page of history has fifty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

SessionKind = Literal["DIRECT", "GROUP", "PUBLIC"]
Role = Literal["OWNER", "ADMIN", "MEMBER", "READ_ONLY"]
Mentions = tuple[UUID, ...] | Literal["ALL"]
ManualStatus = Literal["BUSY", "INVISIBLE"]
LeftReason = Literal["left", "removed", "banned"]


class _Unreadable(str):
    __slots__ = ()


# In place of a text that is sealed and does not open: empty for who does not look, and `is` for who
# does. A field of its own would stand in every row for what never happens.
UNREADABLE: Final = _Unreadable()


@dataclass(frozen=True, slots=True)
class UserRow:
    """One account."""

    id: UUID
    email: str
    name: str
    avatar_url: str | None
    password_hash: str | None
    created_at: datetime
    last_seen: datetime | None
    manual_status: ManualStatus | None
    status_text: str | None
    status_until: datetime | None
    email_verified_at: datetime | None  # when chatd itself saw that mail there is read


class FoundUser(NamedTuple):
    """An account that a search has found, with its place: they come by rising `(rank, key, id)`.

    `rank` is 0 where the name begins with what was searched for, and 1 where it holds it.
    """

    user: UserRow
    rank: int
    key: str  # the name as it is searched for


class AuditRow(NamedTuple):
    """One act on an account; `details` is JSON-ready and holds no content and no secret."""

    id: int
    at: datetime
    action: str
    address: str | None  # None: not known, or the account is gone
    details: dict[str, Any]


class Rotation(Enum):
    """What presenting a refresh token came to (protocol.md section 2)."""

    ROTATED = "rotated"  # first use: the successor is stored
    REPEATED = "repeated"  # used before, within the grace, successor unused: the same successor
    REUSED = "reused"  # theft: the whole family has been revoked by this call
    REFUSED = "refused"  # unknown, expired or revoked


@dataclass(frozen=True, slots=True)
class RotationRow:
    """The outcome of `rotate_refresh_token`; the ids are None only when REFUSED."""

    outcome: Rotation
    family_id: UUID | None = None
    user_id: UUID | None = None
    device_id: UUID | None = None


class PasswordProof(NamedTuple):
    """The password that an account had when its user showed who they are; None: it had none."""

    password_hash: str | None


class DeviceRow(NamedTuple):
    """A device with an open login; it was last used when a token of it was last given out."""

    id: UUID
    name: str
    address: str
    created_at: datetime
    last_used_at: datetime


class Link(Enum):
    """How an identity at an issuer came to its account, or why it has none."""

    KNOWN = "known"  # it had one
    OPENED = "opened"  # there is a new one, without a password
    LINKED = "linked"  # that of the address, which issuer and chatd have both verified
    TAKEN = "taken"  # the address is unverified here, or its account has a second factor
    UNVERIFIED = "unverified"  # an unknown identity without an address that the issuer verified


class IdentityRow(NamedTuple):
    """The account of an identity; `user_id` is None when there is none."""

    link: Link
    user_id: UUID | None = None


class OwnIdentityRow(NamedTuple):
    """With whom a user signs in, and who they are there."""

    issuer: str
    subject: str
    created_at: datetime


class SignInRow(NamedTuple):
    """A sign-in under way, as it is taken; `user_id` is None before the issuer's answer."""

    user_id: UUID | None
    next_path: str


class MailPurpose(Enum):
    """What a mailed link is for."""

    VERIFY = "VERIFY"  # shows that mail to the account's address is read
    CHANGE = "CHANGE"  # shows that of a new address, which then becomes the account's
    RESET = "RESET"  # sets a new password


class MailedRow(NamedTuple):
    """What became of an address whose link was used."""

    user_id: UUID
    email: str  # the account's from now on
    old_email: str | None = None  # the one before, if the link was for a CHANGE
    is_taken: bool = False  # somebody else has the new address meanwhile: nothing has changed


class ResetRow(NamedTuple):
    """A password that was set: whose, and the logins that ended by it."""

    user_id: UUID
    email: str
    family_ids: list[UUID]


class SessionRow(NamedTuple):
    """One chat room as stored."""

    id: UUID
    kind: SessionKind
    name: str | None
    seq: int
    member_count: int
    created_at: datetime
    is_read_only: bool = False  # only OWNER and ADMIN write
    archived_at: datetime | None = None  # nobody writes
    slow_mode_seconds: int = 0


class Size(NamedTuple):
    """How many members a session has, as of a `seq`: of what comes in any order the last holds."""

    members: int
    seq: int


class ReactionRow(NamedTuple):
    """One emoji under a message; of its users the first 20, in the order in which they reacted."""

    emoji: str
    total: int
    user_ids: tuple[UUID, ...]


class ReplyRow(NamedTuple):
    """The message that another answers; `excerpt` is of then, and None when it is deleted."""

    id: UUID
    seq: int
    sender_id: UUID
    sender_name: str
    sender_avatar_url: str | None
    excerpt: str | None


class AttachmentRow(NamedTuple):
    """A file of a message, as it never changes; the last three are of an image that was read."""

    id: UUID
    name: str
    size: int
    mime_type: str
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False


class FileRow(NamedTuple):
    """A file, or the promise of one: `key` is where its bytes lie, or are to lie.

    Without a `session_id` it is to become an avatar. `served_type` is what its bytes are, None when
    that is not known or a browser is not to show it.
    """

    id: UUID
    key: str
    uploader_id: UUID
    session_id: UUID | None
    name: str
    size: int
    mime_type: str
    created_at: datetime
    upload_until: datetime
    completed_at: datetime | None = None
    served_type: str | None = None
    width: int | None = None
    height: int | None = None
    has_thumbnail: bool = False
    message_id: UUID | None = None

    @property
    def attachment(self) -> AttachmentRow:
        """What a message holds of it."""
        return AttachmentRow(
            self.id,
            self.name,
            self.size,
            self.mime_type,
            self.width,
            self.height,
            self.has_thumbnail,
        )


class SweepRow(NamedTuple):
    """A file at which the sweep is to look: all its bytes go when it is revoked."""

    id: UUID
    key: str
    is_revoked: bool
    upload_until: datetime


class MessageRow(NamedTuple):
    """One message; `client_msg_id` is unique per sender, `content` may be UNREADABLE.

    The defaults are those of a message that was never changed: `changed_seq` is its `seq`.
    """

    id: UUID
    session_id: UUID
    seq: int
    changed_seq: int
    sender_id: UUID
    sender_name: str
    sender_avatar_url: str | None
    content: str
    created_at: datetime
    client_msg_id: str | None
    reply_to: ReplyRow | None = None
    mentions: Mentions | None = None  # None: nobody
    version: int = 1
    edited_at: datetime | None = None
    deleted_at: datetime | None = None  # a tombstone: `content` is empty
    deleted_by: UUID | None = None
    pinned_at: datetime | None = None
    pinned_by: UUID | None = None
    attachments: tuple[AttachmentRow, ...] | None = None  # None when there are none
    reactions: tuple[ReactionRow, ...] | None = None  # None when there are none


class MemberRow(NamedTuple):
    """A user in a session; `left_at` is set on the trace that a member who left leaves behind."""

    session_id: UUID
    user_id: UUID
    name: str
    avatar_url: str | None
    role: Role
    joined_at: datetime
    changed_seq: int
    left_at: datetime | None
    last_seen: datetime | None
    muted_until: datetime | None = None  # may not write before
    joined_seq: int = 0  # the `changed_seq` of the last join
    left_reason: LeftReason | None = None


@dataclass(frozen=True, slots=True)
class SessionListRow:
    """One line of a user's session list."""

    session: SessionRow
    role: Role
    unread_count: int
    mention_count: int
    last_read_seq: int
    muted: bool
    last_message: MessageRow | None
    marked_unread: bool = False
    favourite: bool = False


class PositionRow(NamedTuple):
    """Where a user stands in one session: the first state of a connection."""

    session_id: UUID
    seq: int
    unread_count: int
    mention_count: int
    last_read_seq: int
    member_count: int = 0  # of the session; only a first state says it


class MarkerRow(NamedTuple):
    """Where a member stands after their marker was to be moved; the first fields are a position's.

    `is_changed` without `is_moved`: the marker stands where it was, it is marked unread or no more.
    """

    session_id: UUID
    seq: int
    unread_count: int
    mention_count: int
    last_read_seq: int
    member_count: int
    is_moved: bool
    is_changed: bool


class UnreadRow(NamedTuple):
    """What one member has not read in one session."""

    session_id: UUID
    user_id: UUID
    unread_count: int
    mention_count: int
    last_read_seq: int


@dataclass(frozen=True, slots=True)
class UnreadPage:
    """What members have not read, and the last message of each of their sessions that has one."""

    counts: dict[tuple[UUID, UUID], UnreadRow]  # by session and user
    last_messages: dict[UUID, MessageRow]


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages oldest first; `seq` is the session's at the moment of the read."""

    messages: list[MessageRow]
    has_before: bool
    has_after: bool
    seq: int


@dataclass(frozen=True, slots=True)
class JoinPage:
    """All that `session:join` answers from the store, read in one snapshot.

    `recovered` is True when `messages` is every message with a `changed_seq` above the `since`
    that was asked for, ordered by it; otherwise `messages` is the newest page in `seq` order.
    """

    session: SessionRow
    role: Role
    messages: list[MessageRow]
    has_more: bool
    recovered: bool
    members: list[MemberRow]
    unread_count: int
    mention_count: int
    last_read_seq: int


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """What changed in a session above a `seq`, as current rows, for a room's catch-up.

    `seq` is how far the page reaches: apply all rows and the reader stands there. `is_complete`
    is False when more rows wait above it.
    """

    seq: int
    is_complete: bool
    messages: list[MessageRow]
    members: list[MemberRow]
    session: SessionRow | None  # None: the session is gone


class NewMessage(NamedTuple):
    """A message on its way into the store. `id` and `created_at` are made by the daemon."""

    id: UUID
    session_id: UUID
    sender_id: UUID
    content: str
    created_at: datetime
    client_msg_id: str | None = None
    reply_to_id: UUID | None = None
    mentions: Mentions = ()
    attachments: tuple[UUID, ...] = ()


class Append(Enum):
    """What became of one message of a batch."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # this (sender, client_msg_id) is stored already: `row` is that message
    NOT_A_MEMBER = "not_a_member"  # no such session, not in it, or left while waiting
    READ_ONLY = "read_only"  # the session is archived, or only others write in it
    MUTED = "muted"  # the sender may not write yet
    SLOW_MODE = "slow_mode"  # the sender may write again at `until`
    TOO_MANY = "too_many"  # the sender may not mention everybody in so large a session
    NO_SUCH_REPLY = "no_such_reply"  # reply_to_id names no message of this session
    NO_SUCH_FILE = "no_such_file"  # not the sender's, of another session, not complete, or taken
    INVALID = "invalid"  # text that the store cannot hold: NUL, lone surrogates, far too long


class RevisionRow(NamedTuple):
    """An earlier text of a message, which may be UNREADABLE, and when it was written."""

    version: int
    content: str
    created_at: datetime


class AppendRow(NamedTuple):
    """The outcome of one message of `append_messages`; `row` is set when STORED or DUPLICATE."""

    outcome: Append
    row: MessageRow | None = None
    until: datetime | None = None  # SLOW_MODE: when the sender may write again
    told: tuple[UUID, ...] = ()  # whom a message mentions that is STORED by this call


class RecoveryRow(NamedTuple):
    """What a Socket.IO client needs to be recovered after a restart.

    `pid` is the private id of the connection, 24 URL-safe characters that only its client knows;
    `state` is JSON, up to some 10 KiB, and nothing in the store looks inside.
    """

    pid: str
    user_id: UUID
    state: bytes
    expires_at: datetime


class RulesRow(NamedTuple):
    """What a session lets one of its members do."""

    role: Role
    is_archived: bool = False  # nobody writes
    is_read_only: bool = False  # only OWNER and ADMIN write
    muted_until: datetime | None = None  # this member may not write before


class MessageAccess(NamedTuple):
    """A message, and what its reader is in its session."""

    message: MessageRow
    rules: RulesRow
    kind: SessionKind

    @property
    def role(self) -> Role:
        """What its reader is in the session."""
        return self.rules.role


class MessageChange(NamedTuple):
    """A message as it is after a change was asked for; `changed_seq` is the `seq` it took."""

    message: MessageRow
    is_changed: bool  # False: it was so already, or may not become so; no `seq` was taken
    refusal: Append | None = None  # why it may not, where that is a rule of the session
    is_stale: bool = False  # nor did it: it has another version than was expected
    told: tuple[UUID, ...] = ()  # whom the message mentions now and did not before


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A committed change of membership, with the last `seq` it took.

    `others` changed with it: who was given the role that a leaving OWNER had, or has given it away.
    """

    member: MemberRow
    seq: int
    member_count: int  # of the session, behind the change
    is_changed: bool  # False: it was so already, no `seq` was taken
    others: tuple[MemberRow, ...] = ()

    @property
    def size(self) -> Size:
        """The session's behind the change."""
        return Size(self.member_count, self.seq)


class DeletionRow(NamedTuple):
    """A deleted session: the last `seq` that it took, and who was in it."""

    seq: int
    member_ids: tuple[UUID, ...]


class BanRow(NamedTuple):
    """Somebody who may not come back into a session; `until` None: before it is lifted."""

    session_id: UUID
    user_id: UUID
    name: str
    avatar_url: str | None
    by: UUID
    at: datetime
    until: datetime | None
    reason: str | None


class BanChange(NamedTuple):
    """A ban as it stands, and what became of the membership; None: there was none to end."""

    ban: BanRow
    change: MemberChange | None


class InviteRow(NamedTuple):
    """A way into a session for everybody who knows its code."""

    code: str
    session_id: UUID
    by: UUID
    at: datetime
    expires_at: datetime | None
    role: Role
    max_uses: int | None
    uses: int


class InviteUse(NamedTuple):
    """A way in that was taken, and what it led into."""

    session: SessionRow
    change: MemberChange


class SessionAuditRow(NamedTuple):
    """What somebody did in a session, and to whom."""

    id: int
    at: datetime
    action: str
    user_id: UUID
    target_id: UUID | None
    details: dict[str, Any]
