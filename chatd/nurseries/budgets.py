"""What the assistant may cost: questions a minute, answers under way, tokens a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import structlog
import trio

from chatd.ai_rows import Usage
from chatd.config import Settings
from chatd.contract.ai import AiStore
from chatd.errors import Overloaded, RateLimited, StoreError
from chatd.limits import Limiter, rate_of
from chatd.nurseries.provider import ModelRequest
from chatd.prompts import tokens_of

MIN_ANSWER = 64  # tokens: below it an answer is not worth its question
BUSY_RETRY = 2.0  # seconds that a refusal tells to wait for one of the answers under way

log = structlog.get_logger("chatd.assistant")


class Budgets:
    """Counts what is spent, and what may be spent by answers under way."""

    def __init__(
        self, settings: Settings, store: AiStore, limiter: Limiter, now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._store = store
        self._limiter = limiter
        self._now = now
        self._under_way: Counter[UUID] = Counter()
        self._reserved: Counter[UUID] = Counter()

    def count_user(self, user_id: UUID) -> None:
        """Count a question of a user.

        Raises:
            RateLimited: there are too many.
        """
        rate = rate_of(self._settings.ai_rate)
        self._limiter.check("user", ("ai", user_id), rate, trio.current_time())

    def count_all(self) -> None:
        """Count a question of anybody.

        Raises:
            RateLimited: there are too many of all users together.
        """
        rate = rate_of(self._settings.ai_global_rate)
        self._limiter.check("user", ("ai",), rate, trio.current_time())

    def enter(self, user_id: UUID) -> None:
        """Take a place for an answer; `leave` gives it back.

        Raises:
            RateLimited: too many of this user's are under way.
            Overloaded: too many of everybody's.
        """
        if self._under_way[user_id] >= self._settings.ai_per_user:
            msg = "too many answers of yours are under way"
            limit = {"limit": self._settings.ai_per_user}
            raise RateLimited(msg, details=limit, retry_after=BUSY_RETRY)
        if self._under_way.total() >= self._settings.ai_at_once:
            msg = "too many answers are under way"
            raise Overloaded(msg, retry_after=BUSY_RETRY)
        self._under_way[user_id] += 1

    def leave(self, user_id: UUID) -> None:
        """Give a place back."""
        self._under_way[user_id] -= 1
        if not self._under_way[user_id]:
            del self._under_way[user_id]

    async def reserve(self, user_id: UUID, prompt: int, wanted: int) -> int:
        """Return how many tokens an answer to so large a prompt may have, at most `wanted`.

        They are reserved, the prompt's with them, until `release`.

        Raises:
            RateLimited: the user has no tokens left today.
        """
        used = await self._store.ai_tokens(user_id, self.today)
        limit = self._settings.ai_tokens_per_day
        left = limit - used - self._reserved[user_id] - prompt
        if left < min(MIN_ANSWER, wanted):
            msg = "no tokens are left today"
            details = {"limit": limit, "used": used}
            raise RateLimited(msg, details=details, retry_after=self._to_tomorrow())
        allowed = min(wanted, left)
        self._reserved[user_id] += prompt + allowed
        return allowed

    async def afford(self, user_id: UUID, request: ModelRequest, held: ExitStack) -> ModelRequest:
        """Return a request of what the user's tokens of today allow; `held` ends the reservation.

        Raises:
            RateLimited: as `reserve`.
        """
        prompt = tokens_of(request.turns)
        allowed = await self.reserve(user_id, prompt, request.max_tokens)
        held.callback(self.release, user_id, prompt + allowed)
        return request._replace(max_tokens=allowed)

    async def count(self, user_id: UUID, usage: Usage) -> None:
        """Count tokens that belong to no message of a conversation."""
        try:
            await self._store.count_ai_tokens(user_id, self.today, usage)
        except StoreError as trouble:
            log.warning("tokens not counted", error=type(trouble).__name__)

    def release(self, user_id: UUID, tokens: int) -> None:
        """Give up a reservation: what it came to is counted in the store."""
        self._reserved[user_id] -= tokens
        if not self._reserved[user_id]:
            del self._reserved[user_id]

    @property
    def today(self) -> date:
        """The day on which is counted."""
        return self._now().astimezone(UTC).date()

    def _to_tomorrow(self) -> float:
        now = self._now().astimezone(UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return (midnight - now).total_seconds()
