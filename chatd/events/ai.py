"""Commands, answers and events of the assistant (protocol.md section 7)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from chatd.ai_rows import AiRole, AiStatus
from chatd.events.fields import MAX_SEQ, ClientMsgId, Content, Limit, Name
from chatd.model import Shape, Time

Model = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Wishes = Annotated[Content, Field(max_length=4000)]  # it goes with every question
Index = Annotated[int, Field(ge=0, le=MAX_SEQ)]


class AiSession(Shape):
    """A conversation of the caller with the assistant; `runningId` is the answer under way.

    `unreadable` is there only when it is true: title or system prompt, then empty, are encrypted
    at rest, and this server cannot decrypt them.
    """

    id: UUID
    title: str | None
    model: str
    system_prompt: str | None
    created_at: Time
    active_at: Time
    running_id: UUID | None
    unreadable: bool = False


class AiUsage(Shape):
    """Tokens that an answer has cost; estimated where the provider does not say."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool


class AiMessage(Shape):
    """A question or an answer.

    An answer is STREAMING while it is under way; COMPLETE; STOPPED by its user; FAILED before any
    text came; INTERRUPTED with the text that had come. `errorCode` tells why of the last two.
    `unreadable` is as of a message: `content` is empty then.
    """

    id: UUID
    ai_session_id: UUID
    seq: int
    role: AiRole
    status: AiStatus
    content: str
    created_at: Time
    client_msg_id: str | None
    model: str | None
    finish_reason: str | None
    error_code: str | None
    usage: AiUsage | None
    unreadable: bool = False


# Commands


class AiSessionCreate(Shape):
    """Begin a conversation; without a title it gets one after its first answer."""

    title: Name | None = None
    model: Model | None = None
    system_prompt: Wishes | None = None


class AiSessionRef(Shape):
    """Names a conversation; one of somebody else is not found."""

    ai_session_id: UUID


class AiSessionUpdate(AiSessionRef):
    """Change what is given, at least one; null takes the system prompt away."""

    title: Name | None = None
    model: Model | None = None
    system_prompt: Wishes | None = None

    @model_validator(mode="after")
    def _something(self) -> AiSessionUpdate:
        if self.title is None and self.model is None and not self.sets_prompt:
            msg = "takes at least one of title, model and systemPrompt"
            raise ValueError(msg)
        return self

    @property
    def sets_prompt(self) -> bool:
        """Whether the system prompt changes."""
        return "system_prompt" in self.model_fields_set


class AiSessionList(Shape):
    """Page through the caller's conversations."""

    cursor: Annotated[str, StringConstraints(max_length=200)] | None = None
    limit: Limit = 50


class AiMessageList(AiSessionRef):
    """Page through a conversation: the newest messages, or those below a `seq`."""

    before_seq: Annotated[int, Field(ge=0, le=MAX_SEQ)] | None = None
    limit: Limit = 50


class AiSend(AiSessionRef):
    """Ask; a repeat with the same `clientMsgId` answers what was asked."""

    content: Content
    client_msg_id: ClientMsgId | None = None


class AiMessageRef(Shape):
    """Names an answer: of the caller's, or of a session that they are in."""

    message_id: UUID


class AiAttach(AiMessageRef):
    """Follow an answer from an index on: UTF-16 units, as strings of JavaScript count."""

    from_index: Index = 0


# Answers


class AiSessionAnswer(Shape):
    """One conversation."""

    ai_session: AiSession


class AiSessionPage(Shape):
    """Conversations, the latest active first; `nextCursor` is null on the last page."""

    ai_sessions: list[AiSession]
    next_cursor: str | None


class AiMessagePage(Shape):
    """Messages of a conversation, oldest first."""

    messages: list[AiMessage]
    has_before: bool


class AiSent(Shape):
    """The stored question, and the id of the answer that is under way.

    `duplicate` tells that it was asked before this call.
    """

    user_message: AiMessage
    message_id: UUID
    duplicate: bool


class AiAttached(Shape):
    """What there is of an answer from `index` on; unless it is `done` the rest follows.

    `unreadable` is as of a message: `text` is empty then.
    """

    message_id: UUID
    text: str
    index: int
    done: bool
    status: AiStatus
    finish_reason: str | None
    error_code: str | None
    unreadable: bool = False


# Events


class AiEvent(Shape):
    """What an event of an answer names: one of a conversation, or one in a session."""

    message_id: UUID
    ai_session_id: UUID | None = None
    session_id: UUID | None = None
    reply_to_id: UUID | None = None  # in a session: the message that asks


class AiStart(AiEvent):
    """An answer begins."""

    model: str


class AiDelta(AiEvent):
    """More of an answer: `text` stands at `index`, in UTF-16 units.

    Who has less than `index` units has missed something, and attaches from there.
    """

    index: int
    text: str


class AiDone(AiEvent):
    """An answer is complete, or was stopped; `content` is all of it.

    `unreadable`, as of a message, is for who asks for it once more.
    """

    content: str
    finish_reason: str | None
    usage: AiUsage | None
    unreadable: bool = False


class AiError(AiEvent):
    """An answer has failed; `partial` is what had come, and is kept; `unreadable` as of its end."""

    code: str
    message: str
    partial: str
    retryable: bool
    retry_after_ms: int | None = None
    unreadable: bool = False


class AiUpdated(Shape):
    """A conversation of the receiver has another title, model or system prompt."""

    ai_session: AiSession
