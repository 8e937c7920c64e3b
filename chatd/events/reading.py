"""Commands and events of read markers (protocol.md section 4)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from chatd.events.fields import MAX_SEQ, Seq
from chatd.events.sessions import SessionRef
from chatd.model import Message, Shape, Time


class MessageRead(SessionRef):
    """Move the caller's read marker forward; `private` tells the caller's own devices only."""

    seq: Seq
    private: Annotated[bool, Field(strict=True)] = False


class MessageUnread(SessionRef):
    """Set the caller's read marker back: the message at `seq` is the first unread one."""

    seq: Annotated[int, Field(ge=1, le=MAX_SEQ, strict=True)]


class ReadMarker(SessionRef):
    """How far somebody has read; the reader's own devices are told the counts as well."""

    user_id: UUID
    seq: int
    read_at: Time
    unread_count: int | None = None
    mention_count: int | None = None
    marked_unread: bool | None = None


class SessionUnread(SessionRef):
    """What is unread in a session that this socket has not joined: absolute values."""

    unread_count: int
    mention_count: int
    last_read_seq: int
    last_message: Message | None


class SessionHeartbeat(Shape):
    """How far each joined session was sent on this socket; a client behind that joins again."""

    positions: dict[UUID, int]
