"""Conversations with the assistant, in PostgreSQL.

What people and the assistant have said stands in `content`, `title` and `system_prompt`: sealed, or
plain, as `chatd.store.contents` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from chatd.ai_rows import AiMessageRow, AiSessionRow, FinishedAnswer, Usage
from chatd.store.arrays import Texts
from chatd.store.contents import Contents, ai_slot, prompt_slot, title_slot
from chatd.store.pool import Pool, Transaction

SESSION = """
    s.id, s.user_id, s.title, s.model, s.system_prompt, s.created_at, s.active_at,
    (SELECT m.id FROM ai_messages m WHERE m.ai_session_id = s.id AND m.status = 'STREAMING')
"""

MESSAGE = """
    m.id, m.ai_session_id, m.seq, m.role, m.status, m.content, m.created_at, m.client_msg_id,
    m.model, m.finish_reason, m.error_code, m.prompt_tokens, m.completion_tokens, m.is_estimated,
    m.replaces_id
"""

# The lock waits for somebody who ends the account now, and then leaves the row out.
_CREATE = f"""
    INSERT INTO ai_sessions AS s (id, user_id, title, model, system_prompt, created_at, active_at)
    SELECT %(ai_session_id)s, %(user_id)s, %(title)s, %(model)s, %(system_prompt)s, %(at)s, %(at)s
    WHERE EXISTS (
        SELECT FROM users WHERE id = %(user_id)s AND erased_at IS NULL FOR SHARE
    )
    RETURNING {SESSION}
"""

_LIST = f"""
    SELECT {SESSION}
    FROM ai_sessions s
    WHERE s.user_id = %(user_id)s
      AND (%(before_id)s::uuid IS NULL
           OR (s.active_at, s.id) < (%(before_at)s::timestamptz, %(before_id)s::uuid))
    ORDER BY s.active_at DESC, s.id DESC
    LIMIT %(limit)s
"""

_ONE = f"""
    SELECT {SESSION}
    FROM ai_sessions s
    WHERE s.id = %(ai_session_id)s AND s.user_id = %(user_id)s
"""

_UPDATE = f"""
    UPDATE ai_sessions s
    SET title = coalesce(%(title)s, title),
        model = coalesce(%(model)s, model),
        system_prompt = CASE WHEN %(sets_prompt)s THEN %(system_prompt)s ELSE system_prompt END
    WHERE s.id = %(ai_session_id)s AND s.user_id = %(user_id)s
    RETURNING {SESSION}
"""

_TITLE = f"""
    UPDATE ai_sessions s SET title = %(title)s
    WHERE s.id = %(ai_session_id)s AND s.title IS NULL
    RETURNING {SESSION}
"""

_DELETE = """
    DELETE FROM ai_sessions WHERE id = %(ai_session_id)s AND user_id = %(user_id)s
    RETURNING id
"""

_MESSAGES = f"""
    SELECT {MESSAGE}
    FROM ai_messages m
    WHERE m.ai_session_id = %(ai_session_id)s
      AND (%(before)s::bigint IS NULL OR m.seq < %(before)s::bigint)
    ORDER BY m.seq DESC
    LIMIT %(limit)s
"""

_MESSAGE = f"""
    SELECT {MESSAGE}
    FROM ai_messages m
    JOIN ai_sessions s ON s.id = m.ai_session_id AND s.user_id = %(user_id)s
    WHERE m.id = %(message_id)s
    UNION ALL
    SELECT {MESSAGE}
    FROM ai_messages m
    JOIN ai_sessions s ON s.id = m.ai_session_id AND s.user_id = %(user_id)s
    WHERE m.replaces_id = %(message_id)s
"""

_CHECKPOINT = """
    UPDATE ai_messages SET content = %(content)s
    WHERE id = %(message_id)s AND status = 'STREAMING'
"""

_FINISH = """
    WITH ended AS (
        UPDATE ai_messages m
        SET status = %(status)s, content = coalesce(%(content)s, content),
            finish_reason = %(finish_reason)s, error_code = %(error_code)s,
            prompt_tokens = %(prompt_tokens)s, completion_tokens = %(completion_tokens)s,
            is_estimated = %(is_estimated)s
        WHERE m.id = %(message_id)s AND m.status = 'STREAMING'
        RETURNING m.ai_session_id
    )
    SELECT s.user_id FROM ai_sessions s JOIN ended ON ended.ai_session_id = s.id
"""

_ANY_MESSAGE = f"""
    SELECT {MESSAGE} FROM ai_messages m WHERE m.id = %(message_id)s
"""

INTERRUPT = """
    UPDATE ai_messages SET status = 'INTERRUPTED', error_code = 'unavailable'
    WHERE status = 'STREAMING' AND (node IS NULL OR node <> ALL (%(living)s))
    RETURNING id
"""

_TOKENS = """
    SELECT prompt_tokens + completion_tokens FROM ai_usage
    WHERE user_id = %(user_id)s AND day = %(day)s
"""

_COUNT = """
    INSERT INTO ai_usage AS u (user_id, day, prompt_tokens, completion_tokens)
    SELECT id, %(day)s, %(prompt_tokens)s, %(completion_tokens)s
    FROM users
    WHERE id = %(user_id)s AND erased_at IS NULL
    FOR SHARE
    ON CONFLICT (user_id, day) DO UPDATE
    SET prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = u.completion_tokens + excluded.completion_tokens
"""


class AiConversations:
    """The statements on conversations."""

    _pool: Pool
    _contents: Contents

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
        params = {
            "ai_session_id": ai_session_id,
            "user_id": user_id,
            "model": model,
            "at": at,
            "title": self._contents.seal_ai(title_slot(ai_session_id), title),
            "system_prompt": self._contents.seal_ai(prompt_slot(ai_session_id), system_prompt),
        }
        rows = await self._pool.fetch(_CREATE, params, writes=True)
        return self._ai_session(*rows[0]) if rows else None

    async def ai_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[AiSessionRow]:
        """Return a user's conversations, the latest active first."""
        before_at, before_id = before or (None, None)
        params = {
            "user_id": user_id,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit,
        }
        return [self._ai_session(*row) for row in await self._pool.fetch(_LIST, params)]

    async def ai_session(self, ai_session_id: UUID, user_id: UUID) -> AiSessionRow | None:
        """Return a conversation of this user."""
        params = {"ai_session_id": ai_session_id, "user_id": user_id}
        rows = await self._pool.fetch(_ONE, params)
        return self._ai_session(*rows[0]) if rows else None

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
        """Change what is not None, and the system prompt when that is set."""
        params = {
            "ai_session_id": ai_session_id,
            "user_id": user_id,
            "model": model,
            "sets_prompt": sets_prompt,
            "title": self._contents.seal_ai(title_slot(ai_session_id), title),
            "system_prompt": self._contents.seal_ai(prompt_slot(ai_session_id), system_prompt),
        }
        rows = await self._pool.fetch(_UPDATE, params, writes=True)
        return self._ai_session(*rows[0]) if rows else None

    async def title_ai_session(self, ai_session_id: UUID, title: str) -> AiSessionRow | None:
        """Name a conversation that has no name yet."""
        sealed = self._contents.seal_ai(title_slot(ai_session_id), title)
        params = {"ai_session_id": ai_session_id, "title": sealed}
        rows = await self._pool.fetch(_TITLE, params, writes=True)
        return self._ai_session(*rows[0]) if rows else None

    async def delete_ai_session(self, ai_session_id: UUID, user_id: UUID) -> bool:
        """Delete a conversation with its messages."""
        params = {"ai_session_id": ai_session_id, "user_id": user_id}
        return bool(await self._pool.fetch(_DELETE, params, writes=True))

    async def ai_messages(
        self, ai_session_id: UUID, user_id: UUID, *, before: int | None, limit: int
    ) -> list[AiMessageRow] | None:
        """Return the newest messages below a `seq`, oldest first."""
        params = {"ai_session_id": ai_session_id, "before": before, "limit": limit}
        if await self.ai_session(ai_session_id, user_id) is None:
            return None
        rows = await self._pool.fetch(_MESSAGES, params)
        return [self._ai_message(*row) for row in reversed(rows)]

    async def ai_message(self, message_id: UUID, user_id: UUID) -> AiMessageRow | None:
        """Return a message of this user's, or the answer that has taken its place."""
        params = {"message_id": message_id, "user_id": user_id}
        rows = await self._pool.fetch(_MESSAGE, params)
        return self._ai_message(*rows[0]) if rows else None

    async def checkpoint_answer(self, ai_session_id: UUID, message_id: UUID, content: str) -> None:
        """Keep what has come of an answer that is under way."""
        sealed = self._contents.seal_ai(ai_slot(ai_session_id, message_id), content)
        params = {"message_id": message_id, "content": sealed}
        await self._pool.fetch(_CHECKPOINT, params, writes=True)

    async def finish_answer(self, finished: FinishedAnswer, *, day: date) -> AiMessageRow | None:
        """End an answer that is under way and count its tokens."""
        slot = ai_slot(finished.ai_session_id, finished.id)
        params = {
            "message_id": finished.id,
            "content": self._contents.seal_ai(slot, finished.content),
            "status": finished.status,
            "finish_reason": finished.finish_reason,
            "error_code": finished.error_code,
            **finished.usage._asdict(),
        }

        async def work(transaction: Transaction) -> AiMessageRow | None:
            for (user_id,) in await transaction.fetch(_FINISH, params):
                await transaction.fetch(_COUNT, params | {"user_id": user_id, "day": day})
            rows = await transaction.fetch(_ANY_MESSAGE, params)
            return self._ai_message(*rows[0]) if rows else None

        return await self._pool.transact(work)

    async def interrupt_answers(self, living: Sequence[str] = ()) -> int:
        """End all answers that daemons have left under way, but for those of the living."""
        params = {"living": Texts(living)}
        return len(await self._pool.fetch(INTERRUPT, params, writes=True))

    async def ai_tokens(self, user_id: UUID, day: date) -> int:
        """Return how many tokens a user has used on a day."""
        rows = await self._pool.fetch(_TOKENS, {"user_id": user_id, "day": day})
        return int(rows[0][0]) if rows else 0

    async def count_ai_tokens(self, user_id: UUID, day: date, usage: Usage) -> None:
        """Count tokens that belong to no message of a conversation."""
        params = {"user_id": user_id, "day": day, **usage._asdict()}
        await self._pool.fetch(_COUNT, params, writes=True)

    def _ai_session(self, *columns: Any) -> AiSessionRow:
        return self._contents.ai_session(AiSessionRow(*columns))

    def _ai_message(self, *columns: Any) -> AiMessageRow:
        return self._contents.ai_message(AiMessageRow(*columns))
