"""Commands and answers of sessions (protocol.md section 3)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from chatd.events.fields import Limit, Name, Seq
from chatd.model import Member, Message, Presence, Session, SessionSummary, Shape
from chatd.rows import SessionKind


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


class Since(Shape):
    """The position that a client has reached."""

    epoch: UUID
    seq: Seq


class SessionJoin(SessionRef):
    """Receive a session's events on this socket, from a position where one is given."""

    since: Since | None = None
    limit: Limit = 50


class Joined(Shape):
    """The state of a session at `seq`; every later event follows on the socket.

    One with more than 200 members has `online`, how many are there, and no `presence`.
    """

    session_id: UUID
    epoch: UUID
    seq: int
    recovered: bool
    messages: list[Message]
    has_more: bool
    members: list[Member]
    presence: list[Presence]
    online: int | None = None
    typing: list[UUID]
    unread_count: int
    mention_count: int
    last_read_seq: int
