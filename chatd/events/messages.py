"""Commands and answers of messages (protocol.md section 4)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator, model_validator

from chatd.events.fields import (
    MAX_SEQ,
    Attached,
    Caption,
    ClientMsgId,
    Content,
    Emoji,
    Limit,
    Mentioned,
)
from chatd.events.sessions import SessionRef
from chatd.model import Message, Shape


class MessageSend(SessionRef):
    """Send a message; a repeat with the same `clientMsgId` answers what is stored.

    `attachments` are complete files of the caller in this session, each in one message; beside them
    `content` may be empty.
    """

    attachments: Annotated[Attached, Field(default_factory=list)]
    content: Annotated[Caption, Field(validate_default=True)] = ""
    client_msg_id: ClientMsgId | None = None
    reply_to_id: UUID | None = None
    mentions: Annotated[Mentioned, Field(default_factory=list)]
    deadline_ms: Annotated[int, Field(ge=1, le=60_000, strict=True)] | None = None

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str, info: ValidationInfo) -> str:
        if not content and not info.data.get("attachments"):
            msg = "is empty, and nothing is attached"
            raise ValueError(msg)
        return content


class SendAnswer(Shape):
    """The stored message; `duplicate` tells that it was stored before this call.

    `ignoredMentions`, absent when there are none, are no members of the session.
    """

    message: Message
    duplicate: bool
    ignored_mentions: Annotated[list[UUID], Field(default_factory=list)]


class MessageRef(Shape):
    """Names a message; one of a session that the caller is not in is not found."""

    message_id: UUID


class MessageDelete(MessageRef):
    """Delete a message: a tombstone without content stays in its place."""


class MessageEdit(MessageRef):
    """Replace a message's text, if `expectedVersion` (where given) is the current one.

    `mentions`, where given, take the place of those there were.
    """

    content: Content
    expected_version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = None
    mentions: Mentioned | None = None


class MessageReact(MessageRef):
    """Give a reaction or take it back; a message takes at most 20 different emoji."""

    emoji: Emoji
    on: Annotated[bool, Field(strict=True)]


class MessageAnswer(Shape):
    """The message as it is now."""

    message: Message


class EditAnswer(MessageAnswer):
    """The message as it is now; `ignoredMentions`, absent when there are none, are no members."""

    ignored_mentions: Annotated[list[UUID], Field(default_factory=list)]


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
