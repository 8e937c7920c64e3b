"""What handlers need of the assistant: answers under way, which belong to the daemon."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol
from uuid import UUID

from chatd.ai_rows import AiMessageRow, AiStatus, Usage
from chatd.errors import ChatError
from chatd.rows import MessageRow


class Ending(NamedTuple):
    """How an answer has ended; `error` is what its user is told of a failure."""

    status: AiStatus
    finish_reason: str | None
    error: ChatError | None
    usage: Usage


class Listener(Protocol):
    """A socket that follows an answer."""

    def push(self, name: str, data: bytes) -> None:
        """Send an event; never waits."""

    def push_ephemeral(self, name: str, data: bytes) -> bool:
        """Send an event that a slow client can do without; return whether it was taken."""


class Answer(Protocol):
    """An answer under way, or one that has just ended: who holds it can read it to its end."""

    id: UUID
    user_id: UUID  # who asked
    ai_session_id: UUID | None  # of which conversation it is a part,
    session_id: UUID | None  # or of which session
    model: str
    end: Ending | None
    readers: int  # streams of REST that follow it; they count themselves

    @property
    def is_over(self) -> bool:
        """Whether it has ended; without an `end` nobody is told of it."""

    def since(self, index: int) -> tuple[str, int]:
        """Return the text from an index in UTF-16 units on, and where it really begins.

        That is the end, where there is less, and one less, where the index is within a pair.
        """

    def watch(self, listener: Listener, index: int) -> None:
        """Send the rest from an index on to a socket of its user's too, and the end."""

    async def news(self, index: int) -> None:
        """Wait until there is text behind an index, or the end."""

    def payload(self, **fields: object) -> bytes:
        """Return the payload of an event of this answer."""

    def last_event(self) -> tuple[str, bytes] | None:
        """Return the event that tells its end, name and payload; None before the end."""

    def stop(self) -> None:
        """End it at once: the provider is left, what has come is kept."""

    async def ended(self) -> None:
        """Wait until its end is stored."""


class Question(NamedTuple):
    """What is asked: a new question, or the answer to an earlier one again."""

    user_id: UUID
    ai_session_id: UUID
    content: str | None = None
    client_msg_id: str | None = None
    replaces_id: UUID | None = None


class Asked(NamedTuple):
    """A question that is stored; `answer` is None when it was answered before."""

    question: AiMessageRow
    message_id: UUID
    answer: Answer | None
    is_duplicate: bool


class Assistant(Protocol):
    """Answers questions; an answer outlives whoever asked for it."""

    @property
    def models(self) -> Collection[str]:
        """The models that people may choose, the usual one first."""

    async def ask(self, question: Question) -> Asked:
        """Store a question and let it be answered. A caller that is cancelled does not undo it.

        Raises:
            NotFound: no such conversation of this user.
            Conflict: an answer of it is under way, `details.messageId`; or what was to be asked
                again is not the last answer.
            IdempotencyConflict: another question had this client_msg_id.
            PayloadTooLarge: the question does not fit into what is sent to a model.
            RateLimited, Overloaded, Unavailable, Draining: not now.
        """

    def mentioned(self, message: MessageRow) -> None:
        """A committed message of a session calls the assistant: answer there; never waits."""

    def answer(self, message_id: UUID) -> Answer | None:
        """Return an answer that is made here now."""

    async def find(self, message_id: UUID) -> Answer | None:
        """Return an answer that is under way, also at another daemon; that is asked for."""

    def end_session(self, ai_session_id: UUID) -> None:
        """End what is under way in a conversation that was deleted."""

    def end_user(self, user_id: UUID) -> None:
        """End what is under way for an account that has ended; nothing of it is kept."""

    def drain(self) -> None:
        """End everything, keep what has come, and take nothing more."""
