"""Writing the texts of a session anew, with another key."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import trio

from chatd.store.arrays import Texts, Uuids
from chatd.store.contents import Contents
from chatd.store.pool import Rows, Transaction

_LOCK_SESSION = """
    SELECT FROM sessions WHERE id = %(session_id)s FOR NO KEY UPDATE
"""

_WINDOW = """
    SELECT m.id, m.seq, m.version, m.content, m.reply_to_id, m.reply_excerpt,
           (SELECT quoted_text(p, m.reply_excerpt) FROM messages p WHERE p.id = m.reply_to_id)
    FROM messages m
    WHERE m.session_id = %(session_id)s AND m.seq > %(seq)s
    ORDER BY m.seq
    LIMIT %(limit)s
"""

_REVISIONS = """
    SELECT message_id, version, content FROM message_revisions WHERE message_id = ANY (%(ids)s)
"""

_WRITE = """
    UPDATE messages m
    SET content = coalesce(b.content, m.content),
        reply_excerpt = coalesce(b.excerpt, m.reply_excerpt)
    FROM unnest(%(ids)s, %(contents)s, %(excerpts)s) AS b (id, content, excerpt)
    WHERE m.id = b.id
"""

_WRITE_REVISIONS = """
    UPDATE message_revisions r SET content = b.content
    FROM unnest(%(ids)s, %(versions)s::integer[], %(contents)s) AS b (id, version, content)
    WHERE r.message_id = b.id AND r.version = b.version
"""


class Walked(NamedTuple):
    """A part of a session, or of a conversation with the assistant, that was looked through."""

    seq: int  # of its end
    texts: int
    changed: int


async def reseal_session(
    contents: Contents, transaction: Transaction, session_id: UUID, seq: int, limit: int
) -> Walked:
    """Write some messages above a `seq` anew, with their earlier texts and excerpts."""
    params: dict[str, Any] = {"session_id": session_id, "seq": seq, "limit": limit}
    await transaction.fetch(_LOCK_SESSION, params)
    window, texts = list[tuple[Any, ...]](), 0
    for row in await transaction.fetch(_WINDOW, params):
        texts += row[2]  # as many as its version
        if window and texts > limit:
            texts -= row[2]
            break
        window.append(row)
    if not window:  # a sweep was faster
        return Walked(seq, 1, 0)
    changed = await _write_messages(contents, transaction, session_id, window)
    edited = [row[0] for row in window if row[2] > 1]
    if edited:
        changed += await _write_revisions(contents, transaction, session_id, edited)
    return Walked(window[-1][1], texts, changed)


async def _write_messages(
    contents: Contents, transaction: Transaction, session_id: UUID, window: Rows
) -> int:
    ids, texts, excerpts = Uuids(), Texts(), Texts()
    for message_id, _, version, stored, parent_id, excerpt, quoted in window:
        await trio.lowlevel.checkpoint()  # the longest text takes 0.2 ms, both ways
        content = contents.reseal_text(session_id, message_id, version, stored)
        said = None
        if excerpt is not None:
            said = contents.reseal_excerpt(session_id, message_id, parent_id, excerpt, quoted)
        if content is not None or said is not None:
            ids.append(message_id)
            texts.append(content)
            excerpts.append(said)
    if ids:
        params = {"ids": ids, "contents": texts, "excerpts": excerpts}
        await transaction.fetch(_WRITE, params)
    return sum(each is not None for each in (*texts, *excerpts))


async def _write_revisions(
    contents: Contents, transaction: Transaction, session_id: UUID, message_ids: list[UUID]
) -> int:
    ids, versions, texts = Uuids(), list[int](), Texts()
    found = await transaction.fetch(_REVISIONS, {"ids": Uuids(message_ids)})
    for message_id, version, stored in found:
        await trio.lowlevel.checkpoint()
        content = contents.reseal_text(session_id, message_id, version, stored)
        if content is not None:
            ids.append(message_id)
            versions.append(version)
            texts.append(content)
    if ids:
        params = {"ids": ids, "versions": versions, "contents": texts}
        await transaction.fetch(_WRITE_REVISIONS, params)
    return len(ids)
