"""Conversations with the assistant in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from chatd.ai_rows import (
    AiMessageRow,
    AiSessionRow,
    Begin,
    BeginRow,
    FinishedAnswer,
    NewAnswer,
    Usage,
)
from chatd.store.contents import ai_slot, prompt_slot, title_slot
from chatd.store.memory_accounts import MemoryAccounts
from chatd.store.memory_conversation import AiConversation
from chatd.store.memory_state import statement


class MemoryAi(MemoryAccounts):
    """The part of the contract for conversations."""

    @statement
    def insert_assistant(self, user_id: UUID, name: str, at: datetime) -> None:
        """Store the user who answers in sessions, once."""
        if user_id not in self._users:
            self._add_user(user_id, f"bot:{user_id}", name, None, at)

    @statement
    def create_ai_session(
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
        if user_id not in self._users or user_id in self._erasures:
            return None
        sealed = self._sealed(ai_session_id, title, system_prompt)
        row = AiSessionRow(ai_session_id, user_id, sealed[0], model, sealed[1], at, at)
        self._ai_sessions[ai_session_id] = AiConversation(row)
        return self._contents.ai_session(row)

    @statement
    def ai_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations, the latest active first."""
        rows = [self._current(each) for each in self._ai_sessions.values()]
        mine = [
            row
            for row in rows
            if row.user_id == user_id and (before is None or (row.active_at, row.id) < before)
        ]
        return sorted(mine, key=lambda row: (row.active_at, row.id), reverse=True)[:limit]

    @statement
    def ai_session(self, ai_session_id: UUID, user_id: UUID) -> AiSessionRow | None:
        """Return a conversation of this user."""
        found = self._conversation(ai_session_id, user_id)
        return None if found is None else self._current(found)

    @statement
    def update_ai_session(
        self,
        ai_session_id: UUID,
        user_id: UUID,
        *,
        title: str | None,
        model: str | None,
        system_prompt: str | None,
        sets_prompt: bool,
    ) -> AiSessionRow | None:
        """Change what is not None, and the system prompt when that is set."""
        found = self._conversation(ai_session_id, user_id)
        if found is None:
            return None
        row, sealed = found.row, self._sealed(ai_session_id, title, system_prompt)
        found.row = row._replace(
            title=sealed[0] or row.title,
            model=model or row.model,
            system_prompt=sealed[1] if sets_prompt else row.system_prompt,
        )
        return self._current(found)

    @statement
    def title_ai_session(self, ai_session_id: UUID, title: str) -> AiSessionRow | None:
        """Name a conversation that has no name yet."""
        found = self._ai_sessions.get(ai_session_id)
        if found is None or found.row.title is not None:
            return None
        found.row = found.row._replace(title=self._sealed(ai_session_id, title, None)[0])
        return self._current(found)

    @statement
    def delete_ai_session(self, ai_session_id: UUID, user_id: UUID) -> bool:
        """Delete a conversation with its messages."""
        if self._conversation(ai_session_id, user_id) is None:
            return False
        del self._ai_sessions[ai_session_id]
        return True

    @statement
    def ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[AiMessageRow] | None:
        """Return the newest messages below a `seq`, oldest first."""
        found = self._conversation(ai_session_id, user_id)
        if found is None:
            return None
        rows = [row for row in found.messages if before is None or row.seq < before]
        return [self._contents.ai_message(row) for row in rows[-limit:]]

    @statement
    def own_ai_sessions(
        self, user_id: UUID, *, after: UUID | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations by rising id."""
        return [
            self._current(found)
            for key, found in sorted(self._ai_sessions.items())
            if found.row.user_id == user_id and (after is None or key > after)
        ][:limit]

    @statement
    def own_ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, after: int, limit: int
    ) -> list[AiMessageRow]:
        """Return the messages of a user's conversation above a `seq`, by `seq`."""
        found = self._conversation(ai_session_id, user_id)
        rows = [] if found is None else found.messages[after : after + limit]
        return [self._contents.ai_message(row) for row in rows]

    @statement
    def ai_message(self, message_id: UUID, user_id: UUID) -> AiMessageRow | None:
        """Return a message of this user's, or the answer that has taken its place."""
        rows = [
            row
            for found in self._ai_sessions.values()
            if found.row.user_id == user_id
            for row in found.messages
            if message_id in {row.id, row.replaces_id}
        ]
        return self._contents.ai_message(rows[0]) if rows else None

    @statement
    def begin_answer(self, new: NewAnswer) -> BeginRow:
        """Store a question and its answer, or the latter in place of an earlier one."""
        found = self._conversation(new.ai_session_id, new.user_id)
        if found is None:
            return BeginRow(Begin.NOT_FOUND)
        earlier = found.earlier(new)
        if earlier is not None:
            return self._begun(earlier)
        running = [row for row in found.messages if row.status == "STREAMING"]
        if running:
            return self._begun(BeginRow(Begin.RUNNING, answer=running[0]))
        if new.replaces_id is not None and found.newest_id() != new.replaces_id:
            return BeginRow(Begin.STALE)
        slot = ai_slot(new.ai_session_id, new.question_id or new.id)
        found.begin(new, self._contents.seal_ai(slot, new.content) or "")
        return self._begun(BeginRow(Begin.BEGUN, found.messages[-2], found.messages[-1]))

    @statement
    def checkpoint_answer(self, ai_session_id: UUID, message_id: UUID, content: str) -> None:
        """Keep what has come of an answer that is under way."""
        sealed = self._contents.seal_ai(ai_slot(ai_session_id, message_id), content)
        self._change_answer(message_id, content=sealed)

    @statement
    def finish_answer(self, finished: FinishedAnswer, *, day: date) -> AiMessageRow | None:
        """End an answer that is under way and count its tokens."""
        slot = ai_slot(finished.ai_session_id, finished.id)
        sealed = self._contents.seal_ai(slot, finished.content)
        said = {} if sealed is None else {"content": sealed}
        user_id = self._change_answer(
            finished.id,
            status=finished.status,
            finish_reason=finished.finish_reason,
            error_code=finished.error_code,
            **finished.usage._asdict(),
            **said,
        )
        if user_id is not None:
            self._count(user_id, day, finished.usage)
        rows = [row for each in self._ai_sessions.values() for row in each.messages]
        return next((self._contents.ai_message(row) for row in rows if row.id == slot.row), None)

    @statement
    def interrupt_answers(self, living: Sequence[str] = ()) -> int:
        """End all answers that daemons have left under way, but for those of the living."""
        running = [
            row.id
            for each in self._ai_sessions.values()
            for row in each.messages
            if row.status == "STREAMING" and each.nodes.get(row.id) not in living
        ]
        for message_id in running:
            self._change_answer(message_id, status="INTERRUPTED", error_code="unavailable")
        return len(running)

    @statement
    def ai_tokens(self, user_id: UUID, day: date) -> int:
        """Return how many tokens a user has used on a day."""
        return sum(self._ai_usage.get((user_id, day), (0, 0)))

    @statement
    def count_ai_tokens(self, user_id: UUID, day: date, usage: Usage) -> None:
        """Count tokens that belong to no message of a conversation."""
        self._count(user_id, day, usage)

    def _current(self, found: AiConversation) -> AiSessionRow:
        return self._contents.ai_session(found.current())

    def _begun(self, begun: BeginRow) -> BeginRow:
        question, answer = begun.question, begun.answer
        return begun._replace(
            question=None if question is None else self._contents.ai_message(question),
            answer=None if answer is None else self._contents.ai_message(answer),
        )

    def _sealed(
        self, ai_session_id: UUID, title: str | None, system_prompt: str | None
    ) -> tuple[str | None, str | None]:
        contents = self._contents
        return (
            contents.seal_ai(title_slot(ai_session_id), title),
            contents.seal_ai(prompt_slot(ai_session_id), system_prompt),
        )

    def _conversation(self, ai_session_id: UUID, user_id: UUID) -> AiConversation | None:
        found = self._ai_sessions.get(ai_session_id)
        return found if found is not None and found.row.user_id == user_id else None

    def _change_answer(self, message_id: UUID, **changes: object) -> UUID | None:
        """Change an answer that is under way; return whose it is, None for any other."""
        for found in self._ai_sessions.values():
            for place, row in enumerate(found.messages):
                if row.id == message_id and row.status == "STREAMING":
                    found.messages[place] = row._replace(**changes)  # type: ignore[arg-type]
                    return found.row.user_id
        return None

    def _count(self, user_id: UUID, day: date, usage: Usage) -> None:
        if user_id in self._users and user_id not in self._erasures:
            prompt, completion = self._ai_usage.get((user_id, day), (0, 0))
            self._ai_usage[user_id, day] = (
                prompt + usage.prompt_tokens,
                completion + usage.completion_tokens,
            )
