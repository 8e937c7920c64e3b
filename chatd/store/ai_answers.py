"""The beginning of an answer of the assistant, in PostgreSQL."""

from __future__ import annotations

from typing import LiteralString

from chatd.ai_rows import AiMessageRow, Begin, BeginRow, NewAnswer
from chatd.store.ai import MESSAGE
from chatd.store.contents import Contents, ai_slot
from chatd.store.pool import Params, Pool, Transaction

_LOCK = """
    SELECT seq FROM ai_sessions
    WHERE id = %(ai_session_id)s AND user_id = %(user_id)s
    FOR NO KEY UPDATE
"""

_ANSWER = f"""
    SELECT {MESSAGE} FROM ai_messages m
    WHERE m.ai_session_id = %(ai_session_id)s AND m.id = %(id)s
"""

_AT = f"""
    SELECT {MESSAGE} FROM ai_messages m
    WHERE m.ai_session_id = %(ai_session_id)s AND m.seq = %(seq)s
"""

_ASKED = f"""
    SELECT {MESSAGE} FROM ai_messages m
    WHERE m.ai_session_id = %(ai_session_id)s AND m.client_msg_id = %(client_msg_id)s
"""

_RUNNING = f"""
    SELECT {MESSAGE} FROM ai_messages m
    WHERE m.ai_session_id = %(ai_session_id)s AND m.status = 'STREAMING'
"""

_REMOVE = """
    DELETE FROM ai_messages WHERE id = %(replaces_id)s
"""

_ASK = f"""
    INSERT INTO ai_messages AS m (
        id, ai_session_id, seq, role, status, content, created_at, client_msg_id
    )
    VALUES (
        %(question_id)s, %(ai_session_id)s, %(seq)s - 1, 'USER', 'COMPLETE', %(content)s, %(at)s,
        %(client_msg_id)s
    )
    RETURNING {MESSAGE}
"""

_BEGIN = f"""
    INSERT INTO ai_messages AS m (
        id, ai_session_id, seq, role, status, content, created_at, model, replaces_id, node
    )
    VALUES (
        %(id)s, %(ai_session_id)s, %(seq)s, 'ASSISTANT', 'STREAMING', '', %(at)s,
        %(model)s, %(replaces_id)s, %(node)s
    )
    RETURNING {MESSAGE}
"""

_MOVE_ON = """
    UPDATE ai_sessions SET seq = %(seq)s, active_at = greatest(active_at, %(at)s)
    WHERE id = %(ai_session_id)s
"""


class AiAnswers:
    """The statements that begin an answer."""

    _pool: Pool
    _contents: Contents

    async def begin_answer(self, new: NewAnswer) -> BeginRow:
        """Store a question and its answer, or the latter in place of an earlier one."""
        params = new._asdict()
        if new.question_id is not None:
            slot = ai_slot(new.ai_session_id, new.question_id)
            params["content"] = self._contents.seal_ai(slot, new.content)

        async def work(transaction: Transaction) -> BeginRow:
            locked = await transaction.fetch(_LOCK, params)
            if not locked:
                return BeginRow(Begin.NOT_FOUND)
            last = locked[0][0]
            earlier = await self._earlier(transaction, params, last)
            if earlier is not None:
                return earlier
            running = await self._one(transaction, _RUNNING, params)
            if running is not None:
                return BeginRow(Begin.RUNNING, answer=running)
            if new.replaces_id is not None:
                return await self._replace(transaction, params, last)
            place = params | {"seq": last + 2}
            question = await self._one(transaction, _ASK, place)
            answer = await self._one(transaction, _BEGIN, place)
            await transaction.fetch(_MOVE_ON, place)
            return BeginRow(Begin.BEGUN, question, answer)

        return await self._pool.transact(work)

    async def _earlier(
        self, transaction: Transaction, params: Params, last: int
    ) -> BeginRow | None:
        """Return what an earlier call like this one has done, None when there was none."""
        own = await self._one(transaction, _ANSWER, params)
        if own is not None:
            return await self._found(transaction, Begin.BEGUN, params, own)
        if params["client_msg_id"] is not None:
            question = await self._one(transaction, _ASKED, params)
            if question is not None:
                answer = await self._one(transaction, _AT, {**params, "seq": question.seq + 1})
                return BeginRow(Begin.DUPLICATE, question, answer)
        if params["replaces_id"] is not None:
            newest = await self._one(transaction, _AT, {**params, "seq": last})
            if newest is not None and newest.replaces_id == params["replaces_id"]:
                return await self._found(transaction, Begin.DUPLICATE, params, newest)
        return None

    async def _replace(self, transaction: Transaction, params: Params, last: int) -> BeginRow:
        place = {**params, "seq": last}
        newest = await self._one(transaction, _AT, place)
        if newest is None or newest.id != params["replaces_id"]:
            return BeginRow(Begin.STALE)
        await transaction.fetch(_REMOVE, params)
        answer = await self._one(transaction, _BEGIN, place)
        await transaction.fetch(_MOVE_ON, place)
        assert answer is not None  # noqa: S101 - RETURNING
        return await self._found(transaction, Begin.BEGUN, params, answer)

    async def _found(
        self, transaction: Transaction, outcome: Begin, params: Params, answer: AiMessageRow
    ) -> BeginRow:
        question = await self._one(transaction, _AT, {**params, "seq": answer.seq - 1})
        return BeginRow(outcome, question, answer)

    async def _one(
        self, transaction: Transaction, statement: LiteralString, params: Params
    ) -> AiMessageRow | None:
        for row in await transaction.fetch(statement, params):
            return self._contents.ai_message(AiMessageRow(*row))
        return None
