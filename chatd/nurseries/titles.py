"""Names for conversations that nobody has named: one small request after their first answer.

Without a title a conversation does well: whatever goes wrong here is left at that.
"""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID

import structlog
import trio

from chatd.ai_rows import Usage
from chatd.config import Settings
from chatd.errors import ChatError, StoreError
from chatd.nurseries.budgets import Budgets
from chatd.nurseries.conversations import Conversation
from chatd.nurseries.provider import ModelRequest, Provider, ProviderError, ask
from chatd.prompts import TITLE_CHARS, clean_title, title_request, tokens_in, tokens_of

TITLE_TIMEOUT = 10.0  # seconds
TITLE_TOKENS = 64  # of a title of six words, and of a model that says more than it should

log = structlog.get_logger("chatd.assistant")


class Titles:
    """Makes titles."""

    def __init__(self, provider: Provider, budgets: Budgets, settings: Settings) -> None:
        self._provider = provider
        self._budgets = budgets
        self._settings = settings
        self._is_on = settings.ai_titles == "on"
        self._under_way: dict[trio.CancelScope, tuple[UUID, UUID]] = {}  # conversation, user

    def end(self, owner_id: UUID) -> None:
        """End what is under way for a conversation, or a user."""
        for scope, owners in list(self._under_way.items()):
            if owner_id in owners:
                scope.cancel(reason="the conversation is gone")

    def drain(self) -> None:
        """End everything, and begin nothing more."""
        self._is_on = False
        for scope in list(self._under_way):
            scope.cancel(reason="draining")

    async def make(self, conversation: Conversation, answer: str) -> None:
        """Name a conversation after its first answer, if a title can be had."""
        if not self._is_on or not answer or not conversation.wants_title:
            return
        session = conversation.session
        turns = title_request(conversation.asked.content, answer)
        request = ModelRequest(session.model, turns, TITLE_TOKENS)
        with ExitStack() as held, trio.move_on_after(TITLE_TIMEOUT) as scope:
            self._under_way[scope] = session.id, session.user_id
            held.callback(self._under_way.pop, scope)
            try:
                request = await self._budgets.afford(session.user_id, request, held)
                title = clean_title(await self._said(session.user_id, request))
                if title is not None:
                    await conversation.set_title(title)
            except (ProviderError, ChatError, StoreError) as trouble:
                log.info("no title", error=type(trouble).__name__)

    async def _said(self, user_id: UUID, request: ModelRequest) -> str:
        """Return what the model says; it is counted for the user."""
        pieces: list[str] = []

        def add(text: str) -> bool:
            pieces.append(text)
            return sum(map(len, pieces)) < 2 * TITLE_CHARS  # quotes and spaces fall away

        reply = await ask(self._provider, request, self._settings, add)
        text = "".join(pieces)
        estimate = Usage(tokens_of(request.turns), tokens_in(text), is_estimated=True)
        await self._budgets.count(user_id, reply.usage or estimate)
        return text
