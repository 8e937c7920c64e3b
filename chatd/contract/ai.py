"""The store's contract: conversations with the assistant, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from chatd.ai_rows import (
    AiMessageRow,
    AiSessionRow,
    BeginRow,
    FinishedAnswer,
    NewAnswer,
    Usage,
)


class AiStore(Protocol):
    """Conversations with the assistant; each belongs to one user, and nobody else reads it."""

    async def insert_assistant(self, user_id: UUID, name: str, at: datetime) -> None:
        """Store the user who answers in sessions, once: nobody can log in as it."""

    async def create_ai_session(
        self,
        *,
        ai_session_id: UUID,
        user_id: UUID,
        title: str | None,
        model: str,
        system_prompt: str | None,
        at: datetime,
    ) -> AiSessionRow | None:
        """Store a conversation; None when the account has ended."""

    async def ai_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations below a (active_at, id), the latest active first."""

    async def ai_session(self, ai_session_id: UUID, user_id: UUID) -> AiSessionRow | None:
        """Return a conversation of this user."""

    async def update_ai_session(
        self,
        ai_session_id: UUID,
        user_id: UUID,
        *,
        title: str | None,
        model: str | None,
        system_prompt: str | None,
        sets_prompt: bool,
    ) -> AiSessionRow | None:
        """Change what is not None, and the system prompt when that is set; None: no such one."""

    async def title_ai_session(self, ai_session_id: UUID, title: str) -> AiSessionRow | None:
        """Name a conversation that has no name yet; None when it has one, or is gone."""

    async def delete_ai_session(self, ai_session_id: UUID, user_id: UUID) -> bool:
        """Delete a conversation with its messages; False when there is none."""

    async def ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[AiMessageRow] | None:
        """Return the newest messages below a `seq`, oldest first; None: no such conversation."""

    async def own_ai_sessions(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations by rising id."""

    async def own_ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, after: int, limit: int
    ) -> list[AiMessageRow]:
        """Return the messages of a user's conversation above a `seq`, by `seq`."""

    async def ai_message(self, message_id: UUID, user_id: UUID) -> AiMessageRow | None:
        """Return a message of this user's, or the answer that has taken its place."""

    async def begin_answer(self, new: NewAnswer) -> BeginRow:
        """Store a question and its answer, STREAMING, or the latter in place of an earlier one.

        Under the session's lock: of a session one answer is under way, a question with the same
        client_msg_id is asked once, and only the last answer can be replaced. A repeat of the same
        call finds what it did.

        Raises:
            StoreAmbiguous: the connection was lost while COMMIT was under way.
        """

    async def checkpoint_answer(self, ai_session_id: UUID, message_id: UUID, content: str) -> None:
        """Keep what has come of an answer that is under way."""

    async def finish_answer(self, finished: FinishedAnswer, *, day: date) -> AiMessageRow | None:
        """End an answer that is under way and count its tokens; None when it is gone.

        One that has ended before stays as it is, and is not counted again.
        """

    async def interrupt_answers(self, living: Sequence[str] = ()) -> int:
        """End all answers that daemons have left under way; return how many.

        Args:
            living: the daemons, this one among them, whose answers are really under way.
        """

    async def ai_tokens(self, user_id: UUID, day: date) -> int:
        """Return how many tokens a user has used on a day."""

    async def count_ai_tokens(self, user_id: UUID, day: date, usage: Usage) -> None:
        """Count tokens that belong to no message of a conversation; not for who is erased."""
