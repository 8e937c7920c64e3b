"""One question of a conversation with the assistant, from its storing to its answer's."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from uuid import UUID

import trio

from chatd.ai_rows import (
    AiMessageRow,
    AiSessionRow,
    Begin,
    BeginRow,
    FinishedAnswer,
    NewAnswer,
    Usage,
)
from chatd.context import Services
from chatd.contract.assistant import Asked, Ending, Question
from chatd.errors import (
    Conflict,
    IdempotencyConflict,
    NotFound,
    PayloadTooLarge,
    StoreAmbiguous,
    StoreError,
    StoreRetryable,
)
from chatd.handlers.ai_sessions import tell_updated
from chatd.ids import uuid7
from chatd.nurseries.generation import Generation
from chatd.nurseries.provider import ModelRequest
from chatd.prompts import TooLong, Turn, conversation
from chatd.rows import UNREADABLE

CONTEXT_MESSAGES = 50  # that are read for a question: what fits into a context is rarely more
MAX_ANSWER = 65_536  # characters of an answer: four times what one of ai_max_tokens usually has
STORE_PAUSE = 0.2  # seconds between two attempts to store an answer's end


class Conversation:
    """A question, and the conversation that it belongs to."""

    def __init__(self, services: Services, question: Question, node: str | None = None) -> None:
        self._services = services
        self._node = node  # who makes the answer, where there are several
        self._store = services.store
        self.question = question
        self.id = uuid7()  # of the answer
        self.session: AiSessionRow
        self.asked: AiMessageRow  # set by `begin`
        self._messages: list[AiMessageRow] = []

    # Before the answer

    async def read(self) -> Asked | None:
        """Read the conversation; return what was asked before, None for something new.

        Raises:
            NotFound, Conflict, IdempotencyConflict: see `chatd.contract.assistant.Assistant`.
        """
        question = self.question
        session = await self._store.ai_session(question.ai_session_id, question.user_id)
        messages = await self._store.ai_messages(
            question.ai_session_id, question.user_id, before=None, limit=CONTEXT_MESSAGES
        )
        if session is None or messages is None:
            raise NotFound(NO_CONVERSATION)
        self.session, self._messages = session, messages
        return self._known()

    def _known(self) -> Asked | None:
        question, messages = self.question, self._messages
        if question.replaces_id is not None:
            if messages and messages[-1].replaces_id == question.replaces_id:
                return Asked(messages[-2], messages[-1].id, None, is_duplicate=True)
        elif question.client_msg_id is not None:
            for asked, answer in pairwise(messages):
                if asked.client_msg_id == question.client_msg_id:
                    return self._repeated(asked, answer)
        return None

    def _repeated(self, asked: AiMessageRow, answer: AiMessageRow) -> Asked:
        if asked.content is UNREADABLE:  # it cannot be compared: the same id is the same question
            return Asked(asked, answer.id, None, is_duplicate=True)
        if self.question.content not in {None, asked.content}:
            raise IdempotencyConflict
        return Asked(asked, answer.id, None, is_duplicate=True)

    @property
    def running_id(self) -> UUID | None:
        """The answer that was under way when the conversation was read."""
        return self.session.running_id

    @property
    def wants_title(self) -> bool:
        """Whether this is the first question of a conversation that nobody has named."""
        return self.session.title is None and self.asked.seq == 1

    def request(self) -> ModelRequest:
        """Return what is asked of the model.

        Raises:
            PayloadTooLarge: the question does not fit.
            Conflict: it does not decrypt.
        """
        settings = self._services.settings
        said = self._messages
        if self.question.content is None:
            said = said[:-1]  # without the answer that is asked for again
        else:
            said = [*said, _question(self.question.content)]
        if not said:
            raise NotFound(NO_ANSWER)
        if said[-1].content is UNREADABLE:
            msg = "the question cannot be decrypted: ask it anew"
            raise Conflict(msg)
        try:
            turns: tuple[Turn, ...] = conversation(
                said,
                instructions=settings.ai_instructions,
                system_prompt=self.session.system_prompt,
                budget=settings.ai_context_tokens,
            )
        except TooLong as excess:
            details = {"tokens": excess.tokens, "limit": settings.ai_context_tokens}
            msg = "the question is longer than a model is given"
            raise PayloadTooLarge(msg, details=details) from None
        return ModelRequest(self.session.model, turns, settings.ai_max_tokens)

    async def begin(self) -> Asked | None:
        """Store the question and its answer; return what was asked before, None when it is new.

        Raises:
            NotFound, Conflict, IdempotencyConflict: as `read`.
        """
        question = self.question
        new = NewAnswer(
            id=self.id,
            ai_session_id=question.ai_session_id,
            user_id=question.user_id,
            model=self.session.model,
            at=self._services.now(),
            question_id=None if question.content is None else uuid7(),
            content=question.content or "",
            client_msg_id=question.client_msg_id,
            replaces_id=question.replaces_id,
            node=self._node,
        )
        begun = await self._begin(new)
        if begun.outcome is Begin.NOT_FOUND:
            raise NotFound(NO_CONVERSATION)
        if begun.outcome is Begin.STALE:
            msg = "only the last answer can be asked for again"
            raise Conflict(msg)
        assert begun.answer is not None  # noqa: S101 - of all other outcomes
        if begun.outcome is Begin.RUNNING:
            raise running(begun.answer.id)
        assert begun.question is not None  # noqa: S101 - of both other outcomes
        if begun.outcome is Begin.DUPLICATE:
            return self._repeated(begun.question, begun.answer)
        self.asked = begun.question
        return None

    async def _begin(self, new: NewAnswer) -> BeginRow:
        try:
            return await self._store.begin_answer(new)
        except (StoreAmbiguous, StoreRetryable):  # what it has done it finds
            return await self._store.begin_answer(new)

    def generation(self) -> Generation:
        """Return the answer that is to come."""
        session = self.session
        return Generation(
            self.id,
            session.user_id,
            session.model,
            max_chars=MAX_ANSWER,
            ai_session_id=session.id,
        )

    # The answer

    async def save(self, text: str) -> None:
        """Keep the text so far."""
        await self._store.checkpoint_answer(self.session.id, self.id, text)

    async def finish(self, end: Ending, text: str) -> None:
        """Store the end, again until the store takes it or the caller is cancelled."""
        finished = FinishedAnswer(
            self.id,
            self.session.id,
            end.status,
            text,
            end.finish_reason,
            None if end.error is None else end.error.code,
            end.usage,
        )
        while True:
            try:
                await self._store.finish_answer(finished, day=self._services.now().date())
            except StoreError:
                await trio.sleep(STORE_PAUSE)
            else:
                return

    async def abandon(self) -> None:
        """End the answer that was under way when the conversation was read."""
        left = self._messages[-1]
        cost = Usage(0, 0, is_estimated=True)
        ended = FinishedAnswer(
            left.id, self.session.id, "INTERRUPTED", None, None, "unavailable", cost
        )
        await self._store.finish_answer(ended, day=self._services.now().date())

    async def set_title(self, title: str) -> None:
        """Name the conversation, if nobody has, and tell its user."""
        row = await self._store.title_ai_session(self.session.id, title)
        if row is not None:
            tell_updated(self._services, row)


NO_CONVERSATION = "no such conversation"
NO_ANSWER = "no such answer"


def running(message_id: UUID) -> Conflict:
    """Return the refusal of a second answer at once."""
    msg = "an answer of this conversation is under way"
    return Conflict(msg, details={"messageId": str(message_id)})


def _question(content: str) -> AiMessageRow:
    """Return a question that is not stored yet."""
    none, epoch = UUID(int=0), datetime.min  # noqa: DTZ901 - read by nobody
    return AiMessageRow(none, none, 0, "USER", "COMPLETE", content, epoch)
