"""A provider of language models, as the assistant needs it, and patience with one that fails."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import trio

from chatd.ai_rows import Usage
from chatd.config import Settings
from chatd.errors import ChatError, DeadlineExceeded, Unavailable
from chatd.prompts import Turn

ATTEMPTS = 3  # of one answer, before its first text
RETRY_PAUSE = 0.5  # seconds before the second attempt, twice that before the third, with jitter
RETRY_AFTER = 5.0  # seconds that a refusal tells to wait where the provider does not say


class ModelRequest(NamedTuple):
    """What is asked of a model."""

    model: str
    turns: tuple[Turn, ...]
    max_tokens: int


class Piece(NamedTuple):
    """A part of an answer; any of the three may be missing."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class ProviderError(Exception):
    """A provider did not do what was asked.

    Args:
        refusal: what the user is told.
        may_retry: the same request may succeed later.
        is_fault: the provider is at fault, not the request, nor our rate.
    """

    def __init__(self, refusal: ChatError, *, may_retry: bool, is_fault: bool = True) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.may_retry = may_retry
        self.is_fault = is_fault


class ModelStream(Protocol):
    """An answer on its way."""

    async def piece(self) -> Piece | None:
        """Wait for the next piece; None at the end.

        Raises:
            ProviderError: the answer is broken off.
        """


class Provider(Protocol):
    """Whoever answers; leaving the block of `stream` closes its connection at once."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[ModelStream]:
        """Ask, and open the answer.

        Raises:
            ProviderError: there is none.
        """


class Reply(NamedTuple):
    """A whole answer, beside its text: why it ended, and what it cost, where that was said."""

    finish_reason: str
    usage: Usage | None


async def ask(
    provider: Provider, request: ModelRequest, settings: Settings, add: Callable[[str], bool]
) -> Reply:
    """Have a request answered; what fails before any text is tried again, within the deadline.

    Args:
        add: takes each piece of text; returns False when it takes no more.

    Raises:
        ProviderError: it cannot be had, or broke off.
    """
    deadline = trio.current_effective_deadline()
    attempt = 1
    while True:
        conversation = _Conversation(settings, add)
        try:
            return await conversation.run(provider, request)
        except ProviderError as error:
            pause = error.refusal.retry_after or RETRY_PAUSE * 2 ** (attempt - 1)
            is_too_late = trio.current_time() + pause >= deadline
            if conversation.has_text or not error.may_retry or attempt == ATTEMPTS or is_too_late:
                raise
        await trio.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311 - jitter; never too early
        attempt += 1


class _Conversation:
    """One attempt."""

    def __init__(self, settings: Settings, add: Callable[[str], bool]) -> None:
        self._settings = settings
        self._add = add
        self.has_text = False
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    async def run(self, provider: Provider, request: ModelRequest) -> Reply:
        silence_deadline = trio.current_time() + self._settings.ai_first_token_timeout
        with trio.CancelScope(deadline=silence_deadline) as silence:
            async with provider.stream(request) as stream:
                while (piece := await stream.piece()) is not None:
                    if not self._take(piece):
                        return Reply("length", self._usage)
                    if piece.text:
                        silence.deadline = trio.current_time() + self._settings.ai_stall_timeout
        if silence.cancelled_caught:
            msg = "the model takes too long"
            refusal = DeadlineExceeded(msg, retry_after=RETRY_AFTER)
            raise ProviderError(refusal, may_retry=False)
        if self._finish_reason is None:
            msg = "the model's answer broke off"
            raise ProviderError(Unavailable(msg, retry_after=None), may_retry=True)
        return Reply(self._finish_reason, self._usage)

    def _take(self, piece: Piece) -> bool:
        self._finish_reason = piece.finish_reason or self._finish_reason
        self._usage = piece.usage or self._usage
        if not piece.text:
            return True
        self.has_text = True
        return self._add(piece.text)


class Breaker:
    """Leaves a provider alone that fails again and again: a circuit breaker.

    After `failures` in a row everybody is refused for `seconds`; then one answer is tried, and the
    others are refused until that has succeeded.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._limit = failures
        self._seconds = seconds
        self._failures = 0
        self._open_until: float | None = None

    def check(self) -> None:
        """Return when the provider may be asked.

        Raises:
            Unavailable: it is left alone.
        """
        if self._open_until is None:
            return
        wait = self._open_until - trio.current_time()
        if wait > 0:
            msg = "the language model fails: nobody asks it for a moment"
            raise Unavailable(msg, retry_after=wait)
        self._open_until = trio.current_time() + self._seconds  # this one is the trial

    def succeeded(self) -> None:
        """The provider has answered."""
        self._failures = 0
        self._open_until = None

    def failed(self) -> None:
        """The provider has failed."""
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = trio.current_time() + self._seconds
