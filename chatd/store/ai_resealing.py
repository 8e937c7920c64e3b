"""Writing the texts of a conversation with the assistant anew, with another key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import trio

from chatd.store.arrays import Texts, Uuids
from chatd.store.contents import Contents, ai_slot, prompt_slot, title_slot
from chatd.store.pool import Rows, Transaction
from chatd.store.resealing import Walked

# Who begins an answer, replaces one or deletes the conversation takes this lock first too.
_LOCK = """
    SELECT title, system_prompt FROM ai_sessions WHERE id = %(scope)s FOR NO KEY UPDATE
"""

# Locked: an answer that is under way is written every two seconds.
_WINDOW = """
    SELECT id, seq, content FROM ai_messages
    WHERE ai_session_id = %(scope)s AND seq > %(seq)s
    ORDER BY seq
    LIMIT %(limit)s
    FOR NO KEY UPDATE
"""

_WRITE_SESSION = """
    UPDATE ai_sessions
    SET title = coalesce(%(title)s, title),
        system_prompt = coalesce(%(system_prompt)s, system_prompt)
    WHERE id = %(scope)s
"""

_WRITE = """
    UPDATE ai_messages m SET content = b.content
    FROM unnest(%(ids)s, %(contents)s) AS b (id, content)
    WHERE m.id = b.id
"""


async def reseal_conversation(
    contents: Contents, transaction: Transaction, ai_session_id: UUID, seq: int, limit: int
) -> Walked:
    """Write the title, the prompt and some messages above a `seq` anew."""
    params: dict[str, Any] = {"scope": ai_session_id, "seq": seq, "limit": limit}
    found = await transaction.fetch(_LOCK, params)
    if not found:  # it was deleted just now
        return Walked(seq, 1, 0)
    changed = 0
    if seq == 0:
        [(title, system_prompt)] = found
        changed += await _write_words(contents, transaction, ai_session_id, title, system_prompt)
    window = await transaction.fetch(_WINDOW, params)
    changed += await _write_messages(contents, transaction, ai_session_id, window)
    return Walked(window[-1][1] if window else seq, max(len(window), 1), changed)


async def _write_words(
    contents: Contents,
    transaction: Transaction,
    ai_session_id: UUID,
    title: str | None,
    system_prompt: str | None,
) -> int:
    params = {
        "scope": ai_session_id,
        "title": contents.reseal(title_slot(ai_session_id), title),
        "system_prompt": contents.reseal(prompt_slot(ai_session_id), system_prompt),
    }
    changed = sum(params[name] is not None for name in ("title", "system_prompt"))
    if changed:
        await transaction.fetch(_WRITE_SESSION, params)
    return changed


async def _write_messages(
    contents: Contents, transaction: Transaction, ai_session_id: UUID, window: Rows
) -> int:
    ids, texts = Uuids(), Texts()
    for message_id, _, stored in window:
        await trio.lowlevel.checkpoint()  # the longest answer takes most of a millisecond
        text = contents.reseal(ai_slot(ai_session_id, message_id), stored)
        if text is not None:
            ids.append(message_id)
            texts.append(text)
    if ids:
        await transaction.fetch(_WRITE, {"ids": ids, "contents": texts})
    return len(ids)
