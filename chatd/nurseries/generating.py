"""How an answer is made: the provider is asked, while what comes is told and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from chatd.ai_rows import Usage
from chatd.config import Settings
from chatd.contract.assistant import Ending
from chatd.errors import ChatError, DeadlineExceeded, InternalError, StoreError
from chatd.nurseries.generation import REFUSALS, Generation, StopReason
from chatd.nurseries.provider import Breaker, ModelRequest, Provider, ProviderError, Reply, ask
from chatd.prompts import clean, tokens_in, tokens_of

WATCH_INTERVAL = 1.0  # seconds between two looks whether somebody follows an answer

log = structlog.get_logger("chatd.assistant")


class Keeper(Protocol):
    """Where what has come of an answer is kept while it is under way."""

    async def save(self, text: str) -> None:
        """Keep the text so far."""


async def generate(
    generation: Generation,
    request: ModelRequest,
    *,
    provider: Provider,
    breaker: Breaker,
    settings: Settings,
    keeper: Keeper,
    is_live: Callable[[object], bool],
) -> Ending:
    """Have a request answered into a generation, and return how that ended.

    Args:
        is_live: whether a socket that follows is still connected.
    """
    reply: Reply | None = None
    error: ChatError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, generation, settings.ai_delta_interval)
        nursery.start_soon(_keep, generation, keeper, settings)
        if settings.ai_unwatched_timeout is not None and generation.session_id is None:
            nursery.start_soon(_watch, generation, settings.ai_unwatched_timeout, is_live)
        try:
            with generation.scope, trio.move_on_after(settings.ai_deadline) as late:
                reply = await ask(
                    provider, request, settings, lambda text: generation.add(clean(text))
                )
                breaker.succeeded()
            if late.cancelled_caught:
                msg = f"the answer takes more than {settings.ai_deadline:g} s"
                error = DeadlineExceeded(msg)
        except ProviderError as failure:
            error = failure.refusal
            if failure.is_fault:
                breaker.failed()
            log.warning("answer failed", answer=str(generation.id), error=failure.refusal.message)
        except Exception:
            error = InternalError()
            log.exception("bug", answer=str(generation.id))
        nursery.cancel_scope.cancel(reason="the answer has ended")
    return _ending(generation, reply, error, request)


async def _tell(generation: Generation, interval: float) -> None:
    told = 0
    while True:
        await generation.news(told)
        told = generation.units
        generation.flush()
        await trio.sleep(interval)


async def _keep(generation: Generation, keeper: Keeper, settings: Settings) -> None:
    kept = 0
    while True:
        await generation.news(kept)
        with trio.move_on_after(settings.ai_checkpoint_seconds):
            await generation.news(kept + settings.ai_checkpoint_chars - 1)
        kept = generation.units
        try:
            await keeper.save(generation.text)
        except StoreError as trouble:  # the next one, or the end, has all of it
            log.warning("checkpoint failed", error=type(trouble).__name__)


async def _watch(
    generation: Generation, patience: float, is_live: Callable[[object], bool]
) -> None:
    seen_at = trio.current_time()
    while trio.current_time() < seen_at + patience:
        await trio.sleep(min(WATCH_INTERVAL, patience))
        if generation.readers or any(is_live(each) for each in generation.watchers):
            seen_at = trio.current_time()
    generation.stop(StopReason.UNWATCHED)


def _ending(
    generation: Generation, reply: Reply | None, error: ChatError | None, request: ModelRequest
) -> Ending:
    """Return how an answer has ended, and what it has cost."""
    text, reason = generation.text, generation.reason
    prompt = tokens_of(request.turns)
    usage = Usage(prompt, tokens_in(text), is_estimated=True)
    if reply is not None:
        return Ending("COMPLETE", reply.finish_reason, None, reply.usage or usage)
    if reason in {StopReason.STOPPED, StopReason.UNWATCHED}:
        assert reason is not None  # noqa: S101 - as above
        return Ending("STOPPED", reason.value, None, usage)
    if error is None:
        assert reason is not None  # noqa: S101 - nothing else ends it without an error
        error = REFUSALS[reason]()
    elif not text and not isinstance(error, DeadlineExceeded):
        usage = Usage(0, 0, is_estimated=True)  # refused: no model has read it
    return Ending("INTERRUPTED" if text else "FAILED", None, error, usage)
