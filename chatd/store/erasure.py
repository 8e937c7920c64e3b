"""The end of an account in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chatd.contract.erasure import ERASED_NAME, ErasedBatch, ErasureRow
from chatd.rows import MemberChange
from chatd.store.arrays import Uuids
from chatd.store.columns import MESSAGE
from chatd.store.contents import Contents
from chatd.store.files import FORGET_FILES
from chatd.store.members import leave
from chatd.store.mentions import lock_mentioned
from chatd.store.pool import Pool, Rows, Transaction

_ERASE_USER = """
    UPDATE users
    SET email = 'deleted:' || id, name = %(name)s, search_name = '', avatar_url = NULL,
        password_hash = NULL, last_seen = NULL, manual_status = NULL, status_text = NULL,
        status_until = NULL, email_verified_at = NULL, erased_at = %(at)s
    WHERE id = %(user_id)s AND erased_at IS NULL
    RETURNING id
"""

# Of logins that were closed long ago no access token is alive.
_NOTE_ERASURE = """
    INSERT INTO erasures (user_id, deletes_messages, family_ids, begun_at)
    VALUES (%(user_id)s, %(deletes_messages)s, ARRAY(
        SELECT id FROM refresh_families
        WHERE user_id = %(user_id)s
          AND (revoked_at IS NULL OR revoked_at > %(at)s::timestamptz - interval '1 day')
        UNION ALL
        SELECT id FROM api_tokens WHERE user_id = %(user_id)s
    ), %(at)s)
"""

_FORGET_DEVICES = """
    DELETE FROM devices WHERE user_id = %(user_id)s
"""

_FORGET_RECOVERIES = """
    DELETE FROM socket_recoveries WHERE user_id = %(user_id)s
"""

_FORGET_IDENTITIES = """
    WITH under_way AS (
        DELETE FROM sign_ins WHERE user_id = %(user_id)s
    ), mailed AS (
        DELETE FROM mail_tokens WHERE user_id = %(user_id)s
    )
    DELETE FROM identities WHERE user_id = %(user_id)s
"""

_FORGET_SECRETS = """
    WITH tokens AS (
        DELETE FROM api_tokens WHERE user_id = %(user_id)s
    ), under_way AS (
        DELETE FROM login_challenges WHERE user_id = %(user_id)s
    )
    DELETE FROM second_factors WHERE user_id = %(user_id)s
"""

_FORGET_CONVERSATIONS = """
    WITH counts AS (
        DELETE FROM ai_usage WHERE user_id = %(user_id)s
    )
    DELETE FROM ai_sessions WHERE user_id = %(user_id)s
"""

_FORGET_ADDRESSES = """
    UPDATE audit_log SET address = NULL, details = '{}', salt = NULL
    WHERE user_id = %(user_id)s AND session_id IS NULL
"""

_WRITE_AUDIT = """
    INSERT INTO audit_log (at, action, user_id, details)
    VALUES (%(at)s, 'account_erased', %(user_id)s, %(details)s::jsonb)
"""

_FAMILIES = """
    SELECT unnest(family_ids) FROM erasures WHERE user_id = %(user_id)s
"""

_IS_BEGUN = """
    SELECT FROM erasures WHERE user_id = %(user_id)s
"""

_OPEN_ERASURES = """
    SELECT user_id, deletes_messages FROM erasures
    WHERE finished_at IS NULL
    ORDER BY begun_at, user_id
    LIMIT %(limit)s
"""

_FINISH_ERASURE = """
    UPDATE erasures SET finished_at = %(at)s
    WHERE user_id = %(user_id)s AND finished_at IS NULL
"""

_LOCK_SESSION = """
    SELECT kind FROM sessions WHERE id = %(session_id)s FOR NO KEY UPDATE
"""

# The counts of those rows go with the markers.
_FORGET_MENTIONS = """
    DELETE FROM mentions WHERE session_id = %(session_id)s AND user_id = %(user_id)s
"""

_FORGET_MARKERS = """
    UPDATE session_users
    SET last_read_seq = 0, last_read_ordinal = 0, mention_count = 0, muted = false,
        muted_until = NULL, last_sent_at = NULL, set_back_ordinal = NULL, own_above = 0,
        marked_unread = false
    WHERE session_id = %(session_id)s AND user_id = %(user_id)s
    RETURNING role, left_at
"""

_ERASABLE = """
    SELECT m.id, m.seq
    FROM messages m
    WHERE m.session_id = %(session_id)s AND m.seq > %(above)s AND m.seq <= %(until)s
      AND ((%(deletes_messages)s AND m.sender_id = %(user_id)s AND m.deleted_at IS NULL)
           OR (m.reaction_count > 0 AND EXISTS (
               SELECT FROM reactions r WHERE r.message_id = m.id AND r.user_id = %(user_id)s
           )))
    ORDER BY m.seq
    LIMIT %(limit)s
"""

_ERASE = """
    WITH wanted AS (
        SELECT m.id, %(deletes_messages)s AND m.sender_id = %(user_id)s AS is_gone,
               row_number() OVER (ORDER BY m.seq) AS step
        FROM messages m
        WHERE m.id = ANY (%(ids)s)
    ), raised AS (
        UPDATE sessions
        SET seq = seq + (SELECT count(*) FROM wanted),
            last_deleted_ordinal = greatest(last_deleted_ordinal, (
                SELECT max(m.ordinal) FROM messages m JOIN wanted w ON w.id = m.id AND w.is_gone
            ))
        WHERE id = %(session_id)s
        RETURNING seq - (SELECT count(*) FROM wanted) AS base
    ), wiped AS (
        DELETE FROM message_revisions r USING wanted w WHERE r.message_id = w.id AND w.is_gone
    ), unsaid AS (
        DELETE FROM reactions r USING wanted w
        WHERE r.message_id = w.id AND (w.is_gone OR r.user_id = %(user_id)s)
        RETURNING r.message_id
    ), unmentioned AS (
        DELETE FROM mentions t USING wanted w
        WHERE t.message_id = w.id AND w.is_gone
        RETURNING t.user_id, t.ordinal
    ), uncounted AS (
        UPDATE session_users m SET mention_count = greatest(m.mention_count - above.number, 0)
        FROM (
            SELECT u.user_id, count(*) AS number
            FROM unmentioned u
            JOIN session_users s
                ON s.session_id = %(session_id)s AND s.user_id = u.user_id
                AND s.last_read_ordinal < u.ordinal
            GROUP BY u.user_id
        ) above
        WHERE m.session_id = %(session_id)s AND m.user_id = above.user_id
    ), unquoted AS (
        UPDATE messages SET reply_excerpt = NULL
        WHERE reply_to_id IN (SELECT id FROM wanted WHERE is_gone)
          AND id NOT IN (SELECT id FROM wanted)
    )
    UPDATE messages m
    SET changed_seq = raised.base + w.step,
        reaction_count = m.reaction_count
            - (SELECT count(*) FROM unsaid WHERE unsaid.message_id = m.id),
        content = CASE WHEN w.is_gone THEN '' ELSE m.content END,
        deleted_at = CASE WHEN w.is_gone THEN %(at)s ELSE m.deleted_at END,
        deleted_by = CASE WHEN w.is_gone THEN %(user_id)s ELSE m.deleted_by END,
        mentions = CASE WHEN w.is_gone THEN NULL ELSE m.mentions END,
        pinned_at = CASE WHEN w.is_gone THEN NULL ELSE m.pinned_at END,
        pinned_by = CASE WHEN w.is_gone THEN NULL ELSE m.pinned_by END,
        reply_excerpt = CASE
            WHEN m.reply_to_id IN (SELECT id FROM wanted WHERE is_gone) THEN NULL
            ELSE m.reply_excerpt
        END
    FROM wanted w, raised
    WHERE m.id = w.id
"""

_ERASED = f"""
    SELECT {MESSAGE}
    FROM messages m
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = ANY (%(ids)s)
    ORDER BY m.changed_seq
"""


class Erasure:
    """The statements that end an account."""

    _pool: Pool
    _contents: Contents

    async def begin_erasure(
        self, user_id: UUID, *, deletes_messages: bool, at: datetime
    ) -> list[UUID] | None:
        """Remove what an account says of a person; return its logins."""
        mode = "DELETE" if deletes_messages else "KEEP_ANONYMOUS"
        params = {
            "user_id": user_id,
            "name": ERASED_NAME,
            "deletes_messages": deletes_messages,
            "at": at,
            "details": orjson.dumps({"messages": mode}).decode(),
        }

        async def work(transaction: Transaction) -> list[UUID] | None:
            if await transaction.fetch(_ERASE_USER, params):
                await transaction.fetch(_NOTE_ERASURE, params)
                await transaction.fetch(_FORGET_DEVICES, params)
                await transaction.fetch(_FORGET_RECOVERIES, params)
                await transaction.fetch(_FORGET_IDENTITIES, params)
                await transaction.fetch(_FORGET_SECRETS, params)
                await transaction.fetch(_FORGET_CONVERSATIONS, params)
                await transaction.fetch(FORGET_FILES, params)
                await transaction.fetch(_FORGET_ADDRESSES, params)
                await transaction.fetch(_WRITE_AUDIT, params)
            elif not await transaction.fetch(_IS_BEGUN, params):
                return None
            return [family_id for (family_id,) in await transaction.fetch(_FAMILIES, params)]

        return await self._pool.transact(work)

    async def open_erasures(self, limit: int) -> list[ErasureRow]:
        """Return erasures that are not finished."""
        rows = await self._pool.fetch(_OPEN_ERASURES, {"limit": limit})
        return [ErasureRow(*row) for row in rows]

    async def erase_membership(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> list[MemberChange]:
        """Forget a user's markers in a session and end their membership."""
        params = {"session_id": session_id, "user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> list[MemberChange]:
            locked = await transaction.fetch(_LOCK_SESSION, params)
            await transaction.fetch(_FORGET_MENTIONS, params)
            found = await transaction.fetch(_FORGET_MARKERS, params)
            if not locked or not found or locked[0][0] == "DIRECT" or found[0][1] is not None:
                return []
            change = await leave(transaction, session_id, user_id, at, "left", found[0][0])
            heirs = [
                replace(change, member=row, seq=row.changed_seq, others=()) for row in change.others
            ]
            return [*heirs, replace(change, others=())]

        return await self._pool.transact(work)

    async def erase_messages(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
        limit: int,
        at: datetime,
    ) -> ErasedBatch:
        """Take a user's reactions off messages, and make the user's own tombstones."""
        params: dict[str, Any] = {
            "session_id": session_id,
            "user_id": user_id,
            "deletes_messages": deletes_messages,
            "above": above,
            "until": above + span,
            "limit": limit,
            "at": at,
        }

        async def work(transaction: Transaction) -> ErasedBatch:
            await transaction.fetch(_LOCK_SESSION, params)
            found = await transaction.fetch(_ERASABLE, params)  # as it is behind the lock
            message_ids = [message_id for message_id, _ in found]
            ids = {"ids": Uuids(message_ids)}
            if deletes_messages:
                await lock_mentioned(transaction, session_id, message_ids)
            await transaction.fetch(_ERASE, params | ids)
            rows = await transaction.fetch(_ERASED, ids)
            erased = [self._contents.message_row(*row) for row in rows]
            return ErasedBatch(erased, _reached(found, params))

        return await self._pool.transact(work)

    async def next_erasable(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
    ) -> int | None:
        """Return the `seq` of the first message that is to be erased."""
        params = {
            "session_id": session_id,
            "user_id": user_id,
            "deletes_messages": deletes_messages,
            "above": above,
            "until": above + span,
            "limit": 1,
        }
        found = await self._pool.fetch(_ERASABLE, params)
        return found[0][1] if found else None

    async def finish_erasure(self, user_id: UUID, at: datetime) -> None:
        """Note that nothing is left."""
        params = {"user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> None:
            await transaction.fetch(_FORGET_DEVICES, params)
            await transaction.fetch(_FINISH_ERASURE, params)

        await self._pool.transact(work)


def _reached(found: Rows, params: dict[str, Any]) -> int:
    until: int = found[-1][1] if len(found) == params["limit"] else params["until"]
    return until
