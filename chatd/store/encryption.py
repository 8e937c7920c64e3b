"""The keys of content at rest in PostgreSQL, and writing it anew with another one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chatd.contract.encryption import KeyRow, Pass
from chatd.keyring import PLAIN
from chatd.store.ai_resealing import reseal_conversation
from chatd.store.contents import Contents
from chatd.store.pool import Pool, Transaction
from chatd.store.resealing import reseal_session

SESSIONS = 50  # and conversations, of one transaction at most: it holds their locks

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

# Sessions and conversations with the assistant in one order: no id is both.
_NEXT = """
    (
        SELECT session_id AS scope,
               CASE WHEN session_id = %(session_id)s THEN %(seq)s::bigint ELSE 0 END,
               false
        FROM messages
        WHERE (session_id, seq) > (%(session_id)s::uuid, %(seq)s::bigint)
        ORDER BY session_id, messages.seq
        LIMIT 1
    )
    UNION ALL
    (
        SELECT id, CASE WHEN id = %(session_id)s THEN %(seq)s::bigint ELSE 0 END, true
        FROM ai_sessions
        WHERE id >= %(session_id)s
          AND (
              id > %(session_id)s
              OR EXISTS (
                  SELECT FROM ai_messages m
                  WHERE m.ai_session_id = ai_sessions.id AND m.seq > %(seq)s
              )
          )
        ORDER BY id
        LIMIT 1
    )
    ORDER BY scope
    LIMIT 1
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
        UNION ALL
        SELECT substr(content, 1, 40) FROM ai_messages
        UNION ALL
        SELECT substr(title, 1, 40) FROM ai_sessions
        UNION ALL
        SELECT substr(system_prompt, 1, 40) FROM ai_sessions
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
        """Write about so many texts anew with the first key."""
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
                [(session_id, seq, is_conversation)] = following
                reseal = reseal_conversation if is_conversation else reseal_session
                walked = await reseal(self._contents, transaction, session_id, seq, limit - done)
                seq, done, changed = walked.seq, done + walked.texts, changed + walked.changed
                if done >= limit:
                    break
            move = {"session_id": session_id, "seq": seq, "changed": changed}
            await transaction.fetch(_MOVE, move)
            return done

        return await self._pool.transact(work)

    async def count_texts(self) -> dict[str, int]:
        """Return how many texts each key seals."""
        return dict(await self._pool.fetch(_COUNT, {"plain": PLAIN}))

    async def give_up_key(self, kid: str, at: datetime) -> bool:
        """Note that a key is lost."""
        return bool(await self._pool.fetch(_GIVE_UP, {"kid": kid, "at": at}, writes=True))
