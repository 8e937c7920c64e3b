"""The tables of the memory twin, and the hook through which every call of it passes."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

import orjson
import trio

from chatd.audit_chain import AuditLine, AuditLink, erasable_digest, link_hash
from chatd.contract.api_tokens import ApiTokenRow
from chatd.contract.encryption import KeyRow, Pass
from chatd.errors import StoreAmbiguous, StoreBug
from chatd.keyring import MARK, Keyring, Purpose, purpose_of, version_of
from chatd.rows import (
    AuditRow,
    FileRow,
    InviteRow,
    LeftReason,
    MailPurpose,
    MemberRow,
    Mentions,
    MessageRow,
    ReactionRow,
    RecoveryRow,
    ReplyRow,
    Role,
    RulesRow,
    SessionAuditRow,
    SessionKind,
    SessionRow,
    UserRow,
)
from chatd.store.checks import EXCERPT, REACTORS
from chatd.store.contents import Contents
from chatd.store.memory_conversation import AiConversation

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Tables")


@dataclass(slots=True)
class Member:
    """A row of session_users."""

    user_id: UUID
    role: Role
    joined_at: datetime
    left_at: datetime | None = None
    last_read_seq: int = 0
    last_read_ordinal: int = 0
    muted: bool = False
    changed_seq: int = 0
    muted_until: datetime | None = None
    last_sent_at: datetime | None = None
    mention_count: int = 0
    marked_unread_at: int | None = None  # the ordinal at which the marker then stood
    favourite: bool = False
    joined_seq: int = 0
    left_reason: LeftReason | None = None


@dataclass(slots=True)
class File:
    """A row of files; whether it is an avatar is the user's to say."""

    row: FileRow
    loose_since: datetime
    revoked_at: datetime | None = None
    sweep_at: datetime | None = None

    def revoke(self, at: datetime) -> None:
        """Give it to nobody any more, and let the sweep find it; once."""
        if self.revoked_at is None:
            self.revoked_at = self.sweep_at = at


@dataclass(slots=True)
class Message:
    """A row of messages; the sender's name is joined when it is read."""

    id: UUID
    seq: int
    changed_seq: int
    ordinal: int
    sender_id: UUID
    content: str
    created_at: datetime
    client_msg_id: str | None
    reply_to_id: UUID | None
    reply_excerpt: str | None = None
    mentions: Mentions | None = None
    told: frozenset[UUID] = frozenset()  # whom the table `mentions` has
    version: int = 1
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    deleted_by: UUID | None = None
    pinned_at: datetime | None = None
    pinned_by: UUID | None = None
    revisions: list[tuple[int, str, datetime]] = field(default_factory=list)
    reactions: dict[str, list[UUID]] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ban:
    """A row of session_bans."""

    by: UUID
    at: datetime
    until: datetime | None
    reason: str | None


@dataclass(slots=True)
class Session:
    """A row of sessions with what belongs to it; `messages` is in `seq` order."""

    id: UUID
    kind: SessionKind
    name: str | None
    created_at: datetime
    active_at: datetime
    seq: int = 0
    changed_seq: int = 0
    is_read_only: bool = False
    archived_at: datetime | None = None
    slow_mode_seconds: int = 0
    members: dict[UUID, Member] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    deleted_at: datetime | None = None
    bans: dict[UUID, Ban] = field(default_factory=dict)
    invites: dict[str, InviteRow] = field(default_factory=dict)

    def member(self, user_id: UUID) -> Member | None:
        """Return a current member."""
        member = self.members.get(user_id)
        return member if member is not None and member.left_at is None else None

    def mentionable(self, mentions: Mentions) -> Mentions | None:
        """Return those of the mentioned who are members, None when nobody is."""
        if mentions == "ALL":
            return "ALL"
        return tuple(each for each in mentions if self.member(each) is not None) or None

    def mention(self, message: Message) -> tuple[UUID, ...]:
        """Count a message for those whom it mentions now; return who is new among them."""
        mentioned = message.mentions or ()
        now = {
            user_id
            for user_id, member in self.members.items()
            if member.left_at is None
            and user_id != message.sender_id
            and (mentioned == "ALL" or user_id in mentioned)
        }
        for user_id in now ^ message.told:
            member = self.members[user_id]
            if member.last_read_ordinal < message.ordinal:
                step = 1 if user_id in now else -1
                member.mention_count = max(member.mention_count + step, 0)
        told, message.told = sorted(now - message.told), frozenset(now)
        return tuple(told)

    def wipe(self, message: Message, user_id: UUID, at: datetime) -> None:
        """Make a message a tombstone, its words nowhere any more."""
        message.content, message.mentions = "", None
        message.pinned_at, message.pinned_by = None, None
        self.mention(message)
        message.revisions.clear()
        message.reactions.clear()
        for file in message.files:
            file.revoke(at)
        message.files.clear()
        for reply in self.messages:
            if reply.reply_to_id == message.id:
                reply.reply_excerpt = None
        message.deleted_at, message.deleted_by = at, user_id

    def next_seq(self) -> int:
        """Take the next `seq`, for a durable change."""
        self.seq += 1
        return self.seq

    def row(self) -> SessionRow:
        """Return the session as the store gives it back."""
        count = sum(member.left_at is None for member in self.members.values())
        return SessionRow(
            self.id,
            self.kind,
            self.name,
            self.seq,
            count,
            self.created_at,
            self.is_read_only,
            self.archived_at,
            self.slow_mode_seconds,
        )


@dataclass(frozen=True, slots=True)
class Device:
    """A row of devices."""

    user_id: UUID
    name: str
    address: str
    created_at: datetime
    last_login_at: datetime


@dataclass(slots=True)
class Family:
    """A login: one device of one user."""

    user_id: UUID
    device_id: UUID
    opened_at: datetime
    revoked_at: datetime | None = None


@dataclass(slots=True)
class Token:
    """A row of refresh_tokens."""

    family_id: UUID
    created_at: datetime
    expires_at: datetime
    used: tuple[datetime, bytes] | None = None  # when, and the successor


@dataclass(slots=True)
class Erasure:
    """A row of erasures."""

    deletes_messages: bool
    family_ids: list[UUID]
    begun_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    """A row of sign_ins."""

    browser_hash: bytes
    user_id: UUID | None
    next_path: str
    expires_at: datetime


@dataclass(slots=True)
class SecondFactor:
    """A row of second_factors with its recovery codes."""

    secret: bytes
    key_id: str
    confirmed_at: datetime | None = None
    last_step: int = 0
    code_hashes: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Challenge:
    """A row of login_challenges."""

    user_id: UUID
    device_id: UUID | None
    password_mark: bytes
    expires_at: datetime
    tries: int = 0


@dataclass(frozen=True, slots=True)
class MailToken:
    """A row of mail_tokens."""

    token_hash: bytes
    email: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Fault:
    error: Exception
    is_committed: bool


class Tables:
    """All tables, and the faults that a test wants.

    Attributes:
        latency: seconds on Trio's clock that each call takes before it does its work.
        calls: how often each method was called.
        audit: the audit log as (user id, row), the oldest first.
    """

    def __init__(
        self, *, epoch: UUID | None = None, latency: float = 0, keyring: Keyring | None = None
    ) -> None:
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self.audit: list[tuple[UUID | None, AuditRow]] = []
        self._epoch = epoch or uuid4()
        self._faults: defaultdict[str, deque[_Fault]] = defaultdict(deque)
        self._users: dict[UUID, UserRow] = {}
        self._emails: dict[str, UUID] = {}
        self._devices: dict[UUID, Device] = {}
        self._families: dict[UUID, Family] = {}
        self._tokens: dict[bytes, Token] = {}
        self._identities: dict[tuple[str, str], tuple[UUID, datetime]] = {}
        self._mail_tokens: dict[tuple[UUID, MailPurpose], MailToken] = {}
        self._sign_ins: dict[bytes, SignIn] = {}
        self._second_factors: dict[UUID, SecondFactor] = {}
        self._challenges: dict[bytes, Challenge] = {}
        self._api_tokens: dict[bytes, ApiTokenRow] = {}
        self._owners: dict[UUID, UUID] = {}  # of bots
        self._sessions: dict[UUID, Session] = {}
        self._erasures: dict[UUID, Erasure] = {}
        self._direct: dict[str, UUID] = {}
        self._recoveries: dict[str, RecoveryRow] = {}
        self._files: dict[UUID, File] = {}
        self._acts: list[tuple[UUID, SessionAuditRow]] = []  # session, what was done in it
        self._contents = Contents(keyring or Keyring())
        self._content_keys: dict[str, KeyRow] = {}
        self._content_pass: Pass | None = None
        self._content_place = (UUID(int=0), 0)  # the session and `seq` that the pass has reached
        self._chain: list[AuditLink] = []
        self._lines: list[tuple[int, bool, UUID | None]] = []  # place, whether in _acts, salt
        self._ai_sessions: dict[UUID, AiConversation] = {}
        self._ai_usage: dict[tuple[UUID, date], tuple[int, int]] = {}
        self._by_id: dict[UUID, tuple[Session, Message]] = {}
        self._by_key: dict[tuple[UUID, str], tuple[Session, Message]] = {}

    def fail_next(
        self, method: str, error: Exception, *, times: int = 1, is_committed: bool | None = None
    ) -> None:
        """Make the next calls of a method raise `error`; several wait in a queue.

        Args:
            method: the name of a method of the contract.
            error: what is raised.
            times: how many calls fail.
            is_committed: whether the call does its work before it raises; by default only a
                `StoreAmbiguous` does: it commits and the answer is lost.
        """
        getattr(self, method)  # AttributeError now rather than a fault that never comes
        if is_committed is None:
            is_committed = isinstance(error, StoreAmbiguous)
        self._faults[method].extend([_Fault(error, is_committed)] * times)

    async def _before(self, method: str) -> _Fault | None:
        self.calls[method] += 1
        await trio.lowlevel.checkpoint()
        if self.latency:
            await trio.sleep(self.latency)
        waiting = self._faults[method]
        return waiting.popleft() if waiting else None

    def _user(self, user_id: UUID) -> UserRow:
        if user_id not in self._users:
            msg = f"there is no user {user_id}"
            raise StoreBug(msg)
        return self._users[user_id]

    def _is_open(self, user_id: UUID) -> bool:
        """Tell whether there is an account that has not ended."""
        return user_id in self._users and user_id not in self._erasures

    def _forget_credentials(self, user_id: UUID) -> list[UUID]:
        """Forget a user's challenges and API tokens; return the ids of these."""
        self._challenges = {k: row for k, row in self._challenges.items() if row.user_id != user_id}
        gone = [row.id for row in self._api_tokens.values() if row.user_id == user_id]
        self._api_tokens = {k: row for k, row in self._api_tokens.items() if row.user_id != user_id}
        return gone

    def _forget_mail_tokens(self, user_id: UUID) -> None:
        self._mail_tokens = {k: row for k, row in self._mail_tokens.items() if k[0] != user_id}

    def _write_audit(
        self,
        action: str,
        user_id: UUID | None,
        address: str | None,
        at: datetime,
        details: dict[str, Any],
    ) -> None:
        row = AuditRow(len(self.audit) + 1, at, action, address, details)
        self.audit.append((user_id, row))
        self._link(len(self.audit) - 1, is_act=False)

    def _link(self, place: int, *, is_act: bool) -> None:
        """Put a line of the audit log into the chain."""
        position, before = len(self._chain) + 1, self._chain[-1].hash if self._chain else b""
        self._lines.append((place, is_act, uuid4()))
        line = self._audit_line(position)
        erasable = erasable_digest(line.salt, line.address, line.details)
        digest = link_hash(before, position, line, erasable)
        self._chain.append(AuditLink(position, position, erasable, digest, None))

    def _audit_line(self, position: int) -> AuditLine:
        place, is_act, salt = self._lines[position - 1]
        user_id: UUID | None
        session_id: UUID | None
        target_id: UUID | None
        address: str | None
        if is_act:
            session_id, act = self._acts[place]
            user_id, target_id, address = act.user_id, act.target_id, None
            at, action, details = act.at, act.action, act.details
        else:
            user_id, row = self.audit[place]
            session_id, target_id, address = None, None, row.address
            at, action, details = row.at, row.action, row.details
        text = orjson.dumps(details).decode()
        return AuditLine(
            position,
            at,
            action,
            user_id,
            session_id,
            target_id,
            address,
            text,
            salt,
            is_account_erased=user_id in self._erasures,
        )

    def _message_row(self, session: Session, message: Message) -> MessageRow:
        sender = self._users[message.sender_id]
        return MessageRow(
            id=message.id,
            session_id=session.id,
            seq=message.seq,
            changed_seq=message.changed_seq,
            sender_id=message.sender_id,
            sender_name=sender.name,
            sender_avatar_url=sender.avatar_url,
            content=self._text(session.id, message),
            created_at=message.created_at,
            client_msg_id=message.client_msg_id,
            reply_to=self._reply_row(session.id, message),
            mentions=message.mentions,
            version=message.version,
            edited_at=message.edited_at,
            deleted_at=message.deleted_at,
            deleted_by=message.deleted_by,
            pinned_at=message.pinned_at,
            pinned_by=message.pinned_by,
            attachments=tuple(file.row.attachment for file in message.files) or None,
            reactions=tuple(
                ReactionRow(emoji, len(who), tuple(who[:REACTORS]))
                for emoji, who in sorted(message.reactions.items())
            )
            or None,
        )

    def _text(self, session_id: UUID, message: Message) -> str:
        return self._contents.text(session_id, message.id, message.version, message.content)

    def _quoted(self, parent_id: UUID, stored: str) -> str:
        """Return what an excerpt comes to that may point to the text of its message."""
        if purpose_of(stored) != Purpose.MESSAGE.value:
            return stored
        _, parent = self._by_id[parent_id]
        texts = {version: text for version, text, _ in parent.revisions}
        texts[parent.version] = parent.content
        text = texts.get(version_of(stored), stored)
        return text if text.startswith(MARK) else text[:EXCERPT]

    def _reply_row(self, session_id: UUID, message: Message) -> ReplyRow | None:
        if message.reply_to_id is None:
            return None
        _, parent = self._by_id[message.reply_to_id]
        user = self._users[parent.sender_id]
        said = message.reply_excerpt
        if said is not None:
            quoted = self._quoted(parent.id, said)
            said = self._contents.excerpt(session_id, message.id, parent.id, quoted)
        return ReplyRow(parent.id, parent.seq, user.id, user.name, user.avatar_url, said)

    def _rules(self, session: Session, member: Member) -> RulesRow:
        is_archived = session.archived_at is not None
        return RulesRow(member.role, is_archived, session.is_read_only, member.muted_until)

    def _member_row(self, session: Session, member: Member) -> MemberRow:
        user = self._users[member.user_id]
        return MemberRow(
            session_id=session.id,
            user_id=user.id,
            name=user.name,
            avatar_url=user.avatar_url,
            role=member.role,
            joined_at=member.joined_at,
            changed_seq=member.changed_seq,
            left_at=member.left_at,
            last_seen=user.last_seen,
            muted_until=member.muted_until,
            joined_seq=member.joined_seq,
            left_reason=member.left_reason,
        )


def statement(
    body: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a method of the contract out of a plain function: it runs whole, as a transaction.

    The call has a checkpoint before its work and none inside, so what it does is atomic and the
    order of calls is Trio's order of tasks.
    """

    @functools.wraps(body)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        fault = await self._before(body.__name__)
        if fault is not None and not fault.is_committed:
            raise fault.error
        result = body(self, *args, **kwargs)
        if fault is not None:
            raise fault.error
        return result

    return call
