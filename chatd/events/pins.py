"""Commands and answers of pins and revisions (protocol.md section 4)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from chatd.events.fields import Limit
from chatd.events.messages import MessageRef
from chatd.events.sessions import SessionRef
from chatd.model import Message, Shape, Time


class MessagePin(MessageRef):
    """Pin a message or take the pin off; a session has at most 50 pins."""

    on: Annotated[bool, Field(strict=True)]


class PinList(SessionRef):
    """Read what is pinned in a session."""


class PinListAnswer(Shape):
    """The pinned messages, the newest pin first."""

    messages: list[Message]


class RevisionList(MessageRef):
    """Page through the earlier texts of a message."""

    before_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    limit: Limit = 50


class Revision(Shape):
    """An earlier text of a message; `createdAt` is when it was written."""

    version: int
    content: str
    unreadable: bool = False  # as of a message
    created_at: Time


class RevisionPage(Shape):
    """Earlier texts, the newest first."""

    message_id: UUID
    revisions: list[Revision]
    has_more: bool
