"""The assistant: answers under way, in a nursery of the daemon's.

An answer outlives whoever has asked for it. What ends it, other than the provider, is its cancel
scope with a reason: its user, the end of its conversation or account, the stop of the daemon.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from uuid import UUID

import structlog
import trio

from chatd.ai_rows import ASSISTANT_ID
from chatd.context import Services
from chatd.contract.assistant import Asked, Ending, Question
from chatd.errors import ChatError, Draining, StoreError, Unavailable
from chatd.nurseries.budgets import Budgets
from chatd.nurseries.conversations import Conversation, running
from chatd.nurseries.generating import generate
from chatd.nurseries.generation import Generation, StopReason
from chatd.nurseries.mirrors import Mirrors
from chatd.nurseries.outcomes import Outcome
from chatd.nurseries.provider import Breaker, ModelRequest, Provider
from chatd.nurseries.session_answers import SessionAnswer, refuse, tell_failure
from chatd.nurseries.titles import Titles
from chatd.rows import MessageRow

NAME = "AI"  # of the user who answers in sessions: `@ai` calls it
BEGIN_TIMEOUT = 15.0  # seconds to store a question; the store's own deadlines add up to less
FINISH_TIMEOUT = 10.0  # seconds to store an answer's end while the store is away
DRAIN_TIMEOUT = 5.0  # seconds for the same when the daemon stops: commit_drain_seconds come behind

log = structlog.get_logger("chatd.assistant")


class Answering:
    """See `chatd.contract.assistant.Assistant`; made by `open_answering`."""

    def __init__(
        self,
        services: Services,
        provider: Provider,
        nursery: trio.Nursery,
        mirrors: Mirrors | None,
    ) -> None:
        settings = services.settings
        self.models = tuple(dict.fromkeys((settings.openai_model or "", *settings.openai_models)))
        self._services = services
        self._settings = settings
        self._provider = provider
        self._nursery = nursery
        self._budgets = Budgets(settings, services.store, services.limiter, services.now)
        self._breaker = Breaker(settings.ai_breaker_failures, settings.ai_breaker_seconds)
        self._live: dict[UUID, Generation] = {}
        self._titles = Titles(provider, self._budgets, settings)
        self._tasks = 0
        self._has_ended = trio.Event()
        self._is_draining = False
        self._mirrors = mirrors
        if mirrors is not None:
            mirrors.own, mirrors.ends = self._live.get, self

    # What handlers ask for

    async def ask(self, question: Question) -> Asked:
        """Store a question and let it be answered. See `chatd.contract.assistant.Assistant`."""
        if self._is_draining:
            raise Draining(retry_after=self._settings.drain_seconds)
        self._budgets.count_all()
        outcome = Outcome()
        self._nursery.start_soon(_guarded, self._converse, question, outcome)
        return await outcome.wait()

    def mentioned(self, message: MessageRow) -> None:
        """Answer a message of a session. See `chatd.contract.assistant.Assistant`."""
        if self._is_draining or message.sender_id == ASSISTANT_ID:
            return
        try:
            self._budgets.count_user(message.sender_id)
            self._budgets.count_all()
            self._budgets.enter(message.sender_id)
        except ChatError as refusal:
            refuse(self._services, message, refusal)
        else:
            self._nursery.start_soon(_guarded, self._answer_in_session, message)

    def answer(self, message_id: UUID) -> Generation | None:
        """Return an answer that is under way."""
        return self._live.get(message_id)

    async def find(self, message_id: UUID) -> Generation | None:
        """Return an answer that is under way, at whatever daemon."""
        own = self._live.get(message_id)
        return (
            own
            if own is not None or self._mirrors is None
            else await self._mirrors.find(message_id)
        )

    def end_session(self, ai_session_id: UUID) -> None:
        """End what is under way in a conversation, or a session, that was deleted."""
        self.end_session_here(ai_session_id)
        if self._mirrors is not None:
            self._mirrors.end_session(ai_session_id)

    def end_session_here(self, ai_session_id: UUID) -> None:
        """End what this daemon makes for it."""
        for generation in list(self._live.values()):
            if ai_session_id in {generation.ai_session_id, generation.session_id}:
                generation.stop(StopReason.DELETED)
        self._titles.end(ai_session_id)

    def end_user(self, user_id: UUID) -> None:
        """End what is under way for an account that has ended."""
        self.end_user_here(user_id)
        if self._mirrors is not None:
            self._mirrors.end_user(user_id)

    def end_user_here(self, user_id: UUID) -> None:
        """End what this daemon makes for it."""
        for generation in list(self._live.values()):
            if generation.user_id == user_id:
                generation.stop(StopReason.ERASED)
        self._titles.end(user_id)

    def drain(self) -> None:
        """End everything, keep what has come, and take nothing more."""
        self._is_draining = True
        for generation in list(self._live.values()):
            generation.stop(StopReason.DRAINING)
        self._titles.drain()

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await self._has_ended.wait()

    @contextmanager
    def _counted(self) -> Iterator[ExitStack]:
        """Count a task, and give back what it holds at its end."""
        self._tasks += 1
        try:
            with ExitStack() as held:
                yield held
        finally:
            self._tasks -= 1
            self._has_ended.set()
            self._has_ended = trio.Event()

    # Conversations

    async def _converse(self, question: Question, outcome: Outcome) -> None:
        with self._counted() as held:
            node = None if self._mirrors is None else self._mirrors.tag
            conversation = Conversation(self._services, question, node)
            try:
                begun = await self._begin(conversation, outcome, held)
            except Exception as refusal:  # noqa: BLE001 - whoever asks raises it
                outcome.fail(refusal)
                return
            if begun is None:
                return
            generation, request = begun
            end = await self._generate(generation, request, conversation)
            with trio.move_on_after(FINISH_TIMEOUT, shield=True) as storing:
                await conversation.finish(end, generation.text)
            if storing.cancelled_caught:
                log.error("an answer's end is not stored", answer=str(generation.id))
                end = end._replace(status="INTERRUPTED", error=Unavailable("it is not stored"))
            self._finish(generation, end)
            held.close()
            if end.status == "COMPLETE":
                await self._titles.make(conversation, generation.text)

    async def _begin(
        self, conversation: Conversation, outcome: Outcome, held: ExitStack
    ) -> tuple[Generation, ModelRequest] | None:
        """Store a question within all limits; None when it was asked before."""
        user_id = conversation.question.user_id
        known = await conversation.read()
        running_id = conversation.running_id
        if known is None and running_id is not None and await self.find(running_id) is None:
            await conversation.abandon()  # nobody makes it: its end could not be stored
            known = await conversation.read()
        if known is not None:
            outcome.succeed(known._replace(answer=await self.find(known.message_id)))
            return None
        if conversation.running_id is not None:
            raise running(conversation.running_id)
        self._budgets.enter(user_id)
        held.callback(self._budgets.leave, user_id)
        request = await self._budgets.afford(user_id, conversation.request(), held)
        self._breaker.check()
        generation = self._register(conversation.generation(), held)
        with trio.move_on_after(BEGIN_TIMEOUT, shield=True) as beginning:
            known = await conversation.begin()
        if beginning.cancelled_caught:
            raise Unavailable(retry_after=1)
        if known is not None:
            outcome.succeed(known._replace(answer=await self.find(known.message_id)))
            return None
        outcome.succeed(Asked(conversation.asked, generation.id, generation, is_duplicate=False))
        return generation, request

    # Sessions

    async def _answer_in_session(self, message: MessageRow) -> None:
        """Answer a message; the asking user has a place already."""
        with self._counted() as held:
            user_id = message.sender_id
            held.callback(self._budgets.leave, user_id)
            job = SessionAnswer(self._services, message)
            try:
                request = await job.request()
                if request is None:
                    return
                request = await self._budgets.afford(user_id, request, held)
                self._breaker.check()
            except (ChatError, StoreError) as trouble:
                refusal = trouble if isinstance(trouble, ChatError) else Unavailable()
                refuse(self._services, message, refusal)
                return
            generation = self._register(job.generation(), held)
            generation.start()
            end = await self._generate(generation, request, job)
            end = await job.finish(end, generation)
            self._finish(generation, end)
            tell_failure(self._services, generation)
            await self._budgets.count(user_id, end.usage)

    # Both

    def _register(self, generation: Generation, held: ExitStack) -> Generation:
        self._live[generation.id] = generation
        held.callback(self._live.pop, generation.id)
        held.callback(generation.abandon)  # after a bug: nobody waits for ever
        if self._is_draining:
            generation.stop(StopReason.DRAINING)
        return generation

    async def _generate(
        self, generation: Generation, request: ModelRequest, keeper: Conversation | SessionAnswer
    ) -> Ending:
        user_id = generation.user_id
        return await generate(
            generation,
            request,
            provider=self._provider,
            breaker=self._breaker,
            settings=self._settings,
            keeper=keeper,
            is_live=lambda each: each in self._services.sockets.of_user(user_id),
        )

    def _finish(self, generation: Generation, end: Ending) -> None:
        metrics = self._services.metrics
        metrics.ai_answers.labels(end.status).inc()
        metrics.ai_tokens.labels("prompt").inc(end.usage.prompt_tokens)
        metrics.ai_tokens.labels("completion").inc(end.usage.completion_tokens)
        is_silent = generation.reason is StopReason.ERASED and generation.session_id is None
        generation.finish(None if is_silent else end)
        log.info(
            "answered",
            answer=str(generation.id),
            status=end.status,
            reason=end.finish_reason,
            error=None if end.error is None else end.error.code,
            tokens=end.usage.completion_tokens,
        )


async def _guarded(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Let a bug end one answer, and not the daemon."""
    try:
        await work(*arguments)
    except Exception:
        log.exception("bug")


@asynccontextmanager
async def open_answering(
    services: Services, provider: Provider, mirrors: Mirrors | None = None
) -> AsyncIterator[Answering]:
    """Answer for the length of the block; what is under way then is kept as far as it has come.

    Args:
        mirrors: of the answers of other daemons; None: there are none, and what the store says is
            under way is left of an earlier run.
    """
    await services.store.insert_assistant(ASSISTANT_ID, NAME, services.now())
    if mirrors is None:
        left = await services.store.interrupt_answers()
        if left:
            log.warning("answers of an earlier run were interrupted", count=left)
    async with trio.open_nursery() as nursery:
        answering = Answering(services, provider, nursery, mirrors)
        try:
            yield answering
        finally:
            answering.drain()
            with trio.move_on_after(DRAIN_TIMEOUT, shield=True):
                await answering.idle()
            nursery.cancel_scope.cancel(reason="the daemon stops")
