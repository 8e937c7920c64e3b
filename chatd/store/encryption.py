"""The keys of content at rest in PostgreSQL, and writing it anew with another one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import trio

from chatd.contract.encryption import KeyRow, Pass
from chatd.keyring import PLAIN
from chatd.store.arrays import Texts, Uuids
from chatd.store.contents import Contents
from chatd.store.pool import Pool, Rows, Transaction

SESSIONS = 50  # of one transaction at most: it holds their locks

_KEYS = """
    SELECT kid, fingerprint, since, given_up_at FROM content_keys ORDER BY kid
"""

_LATEST = """
    SELECT target, begun_at, finished_at, changed FROM content_pass
"""

# Behind the check of the start that it is the same key: only who had given it up has it again.
_USE_KEY = """
    INSERT INTO content_keys (kid, fingerprint, since)
    VALUES (%(target)s, %(fingerprint)s, %(at)s)
    ON CONFLICT (kid) DO UPDATE SET given_up_at = NULL
    WHERE content_keys.given_up_at IS NOT NULL
"""

_BEGIN = """
    INSERT INTO content_pass (target, begun_at) VALUES (%(target)s, %(at)s)
    ON CONFLICT (is_only) DO UPDATE
    SET target = excluded.target, begun_at = excluded.begun_at, finished_at = NULL,
        session_id = DEFAULT, seq = DEFAULT, changed = DEFAULT
    WHERE content_pass.target <> excluded.target
       OR %(again)s AND content_pass.finished_at IS NOT NULL
"""

# Where nothing was ever sealed there is nothing to make plain.
_BEGIN_PLAIN = """
    UPDATE content_pass
    SET target = %(target)s, begun_at = %(at)s, finished_at = NULL,
        session_id = DEFAULT, seq = DEFAULT, changed = DEFAULT
    WHERE target <> %(target)s OR %(again)s AND finished_at IS NOT NULL
"""

_IS_INDEXED = """
    SELECT EXISTS (SELECT FROM search_entries) OR EXISTS (SELECT FROM search_positions)
"""

# Not DELETE: the files go, and the words with them.
_FORGET_INDEX = """
    TRUNCATE search_entries, search_positions
"""

# Two daemons do not walk at once.
_TAKE_TURN = """
    SELECT session_id, seq FROM content_pass
    WHERE target = %(target)s AND finished_at IS NULL
    FOR UPDATE SKIP LOCKED
"""

_NEXT = """
    SELECT session_id, CASE WHEN session_id = %(session_id)s THEN %(seq)s ELSE 0 END
    FROM messages
    WHERE (session_id, seq) > (%(session_id)s::uuid, %(seq)s::bigint)
    ORDER BY session_id, seq
    LIMIT 1
"""

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

_MOVE = """
    UPDATE content_pass
    SET session_id = %(session_id)s, seq = %(seq)s, changed = changed + %(changed)s
"""

_FINISH = """
    WITH needless AS (
        DELETE FROM content_keys WHERE kid <> %(target)s AND given_up_at IS NULL
    )
    UPDATE content_pass SET finished_at = %(at)s, changed = changed + %(changed)s
"""

# What points to the text of another message is no text.
_COUNT = """
    SELECT coalesce(substring(head FROM E'^\\x01[a-z]([A-Za-z0-9_-]{1,32}):'), %(plain)s), count(*)
    FROM (
        SELECT substr(content, 1, 40) AS head FROM messages
        UNION ALL
        SELECT substr(content, 1, 40) FROM message_revisions
        UNION ALL
        SELECT substr(reply_excerpt, 1, 40) FROM messages
        WHERE NOT starts_with(reply_excerpt, E'\\x01m')
    ) texts
    WHERE head <> ''
    GROUP BY 1
"""

_GIVE_UP = """
    UPDATE content_keys SET given_up_at = %(at)s
    WHERE kid = %(kid)s AND given_up_at IS NULL
    RETURNING kid
"""


class Encryption:
    """The statements on keys and passes."""

    _pool: Pool
    _contents: Contents

    def unreadable_texts(self) -> int:
        """Return how many texts did not open since the store was opened."""
        return self._contents.unreadable

    async def content_keys(self) -> list[KeyRow]:
        """Return the keys that stored content may need."""
        return [KeyRow(*row) for row in await self._pool.fetch(_KEYS)]

    async def current_pass(self) -> Pass | None:
        """Return the latest pass."""
        rows = await self._pool.fetch(_LATEST)
        return Pass(*rows[0]) if rows else None

    async def take_up_keys(self, at: datetime, *, again: bool = False) -> None:
        """Write with the first key from now on."""
        keyring = self._contents.keyring
        target = keyring.first
        params: dict[str, Any] = {
            "target": target,
            "fingerprint": keyring.fingerprint(target),
            "at": at,
            "again": again,
        }

        async def work(transaction: Transaction) -> None:
            if not keyring.is_sealing:
                await transaction.fetch(_BEGIN_PLAIN, params)
                return
            await transaction.fetch(_USE_KEY, params)
            await transaction.fetch(_BEGIN, params)
            [(is_indexed,)] = await transaction.fetch(_IS_INDEXED)
            if is_indexed:
                await transaction.fetch(_FORGET_INDEX)

        await self._pool.transact(work)

    async def reseal_messages(self, limit: int, at: datetime) -> int:
        """Write about so many messages anew with the first key."""
        target = self._contents.keyring.first

        async def work(transaction: Transaction) -> int:
            found = await transaction.fetch(_TAKE_TURN, {"target": target})
            if not found:
                return 0
            [(session_id, seq)] = found
            done = changed = 0
            for _ in range(SESSIONS):
                place = {"session_id": session_id, "seq": seq}
                following = await transaction.fetch(_NEXT, place)
                if not following:
                    end = {"target": target, "at": at, "changed": changed}
                    await transaction.fetch(_FINISH, end)
                    return max(done, 1)
                [(session_id, seq)] = following
                walked = await self._reseal(transaction, session_id, seq, limit - done)
                seq, texts, rewritten = walked
                done, changed = done + texts, changed + rewritten
                if done >= limit:
                    break
            move = {"session_id": session_id, "seq": seq, "changed": changed}
            await transaction.fetch(_MOVE, move)
            return done

        return await self._pool.transact(work)

    async def _reseal(
        self, transaction: Transaction, session_id: UUID, seq: int, limit: int
    ) -> tuple[int, int, int]:
        """Write a part of a session anew; return its end, its texts, and those that changed."""
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
            return seq, 1, 0
        changed = await self._write_messages(transaction, session_id, window)
        edited = [row[0] for row in window if row[2] > 1]
        if edited:
            changed += await self._write_revisions(transaction, session_id, edited)
        return window[-1][1], texts, changed

    async def _write_messages(
        self, transaction: Transaction, session_id: UUID, window: Rows
    ) -> int:
        ids, contents, excerpts = Uuids(), Texts(), Texts()
        for message_id, _, version, stored, parent_id, excerpt, quoted in window:
            await trio.lowlevel.checkpoint()  # the longest text takes 0.2 ms, both ways
            content = self._contents.reseal_text(session_id, message_id, version, stored)
            said = None
            if excerpt is not None:
                said = self._contents.reseal_excerpt(
                    session_id, message_id, parent_id, excerpt, quoted
                )
            if content is not None or said is not None:
                ids.append(message_id)
                contents.append(content)
                excerpts.append(said)
        if ids:
            params = {"ids": ids, "contents": contents, "excerpts": excerpts}
            await transaction.fetch(_WRITE, params)
        return sum(each is not None for each in (*contents, *excerpts))

    async def _write_revisions(
        self, transaction: Transaction, session_id: UUID, message_ids: list[UUID]
    ) -> int:
        ids, versions, contents = Uuids(), list[int](), Texts()
        found = await transaction.fetch(_REVISIONS, {"ids": Uuids(message_ids)})
        for message_id, version, stored in found:
            await trio.lowlevel.checkpoint()
            content = self._contents.reseal_text(session_id, message_id, version, stored)
            if content is not None:
                ids.append(message_id)
                versions.append(version)
                contents.append(content)
        if ids:
            params = {"ids": ids, "versions": versions, "contents": contents}
            await transaction.fetch(_WRITE_REVISIONS, params)
        return len(ids)

    async def count_texts(self) -> dict[str, int]:
        """Return how many texts each key seals."""
        return dict(await self._pool.fetch(_COUNT, {"plain": PLAIN}))

    async def give_up_key(self, kid: str, at: datetime) -> bool:
        """Note that a key is lost."""
        return bool(await self._pool.fetch(_GIVE_UP, {"kid": kid, "at": at}, writes=True))
