"""Messages that change, in PostgreSQL. Every change locks the session's row and takes a `seq`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chatd.rows import Mentions, MessageAccess, MessageChange, MessageRow, Role, RulesRow
from chatd.store.checks import has_room, mention_refusal, reaction_refusal, write_refusal
from chatd.store.columns import MESSAGE, ids_of, mentions_of
from chatd.store.contents import Contents
from chatd.store.mentions import lock_mentioned, lock_to_be_mentioned
from chatd.store.pool import Pool, Transaction

# What somebody may see who is in the message's session; the lock of the session comes first where
# it is changed, so that nobody changes anything after the commit that removed them.
MESSAGE_FOR = f"""
    SELECT s.kind, mine.role, s.archived_at IS NOT NULL, s.is_read_only, mine.muted_until,
           {MESSAGE}
    FROM messages m
    JOIN sessions s ON s.id = m.session_id
    JOIN session_users mine
        ON mine.session_id = m.session_id AND mine.user_id = %(user_id)s AND mine.left_at IS NULL
    JOIN users u ON u.id = m.sender_id
    WHERE m.id = %(message_id)s
"""

_LOCK_SESSION = """
    SELECT FROM sessions
    WHERE id = (SELECT session_id FROM messages WHERE id = %(message_id)s)
    FOR NO KEY UPDATE
"""

_MENTIONABLE = """
    SELECT mentionable(id, %(mentioned)s::jsonb), member_count FROM sessions
    WHERE id = %(session_id)s
"""

# Behind an edit: who is mentioned now and was not before counts it, and the other way round.
_MENTION = """
    WITH mentioned AS (
        SELECT m.id AS message_id, who.user_id, m.session_id, m.ordinal
        FROM messages m
        JOIN session_users who ON who.session_id = m.session_id AND who.left_at IS NULL
            AND who.user_id <> m.sender_id
            AND (m.mentions = '{}' OR who.user_id = ANY (m.mentions))
        WHERE m.id = %(message_id)s
    ), gone AS (
        DELETE FROM mentions
        WHERE message_id = %(message_id)s AND user_id NOT IN (SELECT user_id FROM mentioned)
        RETURNING message_id, user_id, session_id, ordinal
    ), told AS (
        INSERT INTO mentions (message_id, user_id, session_id, ordinal)
        SELECT message_id, user_id, session_id, ordinal FROM mentioned
        ON CONFLICT DO NOTHING
        RETURNING message_id, user_id, session_id, ordinal
    ), counted AS (
        UPDATE session_users m SET mention_count = greatest(m.mention_count + each.step, 0)
        FROM (SELECT *, 1 AS step FROM told UNION ALL SELECT *, -1 FROM gone) each
        WHERE m.session_id = each.session_id AND m.user_id = each.user_id
          AND m.last_read_ordinal < each.ordinal
    )
    SELECT user_id FROM told ORDER BY user_id
"""

_EDIT = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s
        RETURNING seq
    ), kept AS (
        INSERT INTO message_revisions (message_id, version, content, created_at)
        SELECT id, version, content, coalesce(edited_at, created_at)
        FROM messages WHERE id = %(message_id)s
    )
    UPDATE messages
    SET content = %(content)s, mentions = %(mentions)s, version = version + 1,
        edited_at = %(at)s, changed_seq = raised.seq
    FROM raised
    WHERE id = %(message_id)s
    RETURNING changed_seq
"""

_DELETE = """
    WITH raised AS (
        UPDATE sessions
        SET seq = seq + 1,
            last_deleted_ordinal = greatest(last_deleted_ordinal, (
                SELECT ordinal FROM messages WHERE id = %(message_id)s
            ))
        WHERE id = %(session_id)s
        RETURNING seq
    ), wiped AS (
        DELETE FROM message_revisions WHERE message_id = %(message_id)s
    ), unsaid AS (
        DELETE FROM reactions WHERE message_id = %(message_id)s
    ), unmentioned AS (
        DELETE FROM mentions WHERE message_id = %(message_id)s
        RETURNING session_id, user_id, ordinal
    ), uncounted AS (
        UPDATE session_users m SET mention_count = greatest(m.mention_count - 1, 0)
        FROM unmentioned
        WHERE m.session_id = unmentioned.session_id AND m.user_id = unmentioned.user_id
          AND m.last_read_ordinal < unmentioned.ordinal
    ), unquoted AS (
        UPDATE messages SET reply_excerpt = NULL WHERE reply_to_id = %(message_id)s
    )
    UPDATE messages
    SET content = '', deleted_at = %(at)s, deleted_by = %(user_id)s, reaction_count = 0,
        mentions = NULL, pinned_at = NULL, pinned_by = NULL, changed_seq = raised.seq
    FROM raised
    WHERE id = %(message_id)s
    RETURNING changed_seq
"""

_HAS_REACTED = """
    SELECT FROM reactions
    WHERE message_id = %(message_id)s AND emoji = %(emoji)s AND user_id = %(user_id)s
"""

_REACT = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s
        RETURNING seq
    ), given AS (
        INSERT INTO reactions (message_id, emoji, user_id, seq)
        SELECT %(message_id)s, %(emoji)s, %(user_id)s, seq FROM raised
    )
    UPDATE messages SET reaction_count = reaction_count + 1, changed_seq = raised.seq
    FROM raised
    WHERE id = %(message_id)s
"""

_TAKE_BACK = """
    WITH raised AS (
        UPDATE sessions SET seq = seq + 1
        WHERE id = %(session_id)s
        RETURNING seq
    ), taken AS (
        DELETE FROM reactions
        WHERE message_id = %(message_id)s AND emoji = %(emoji)s AND user_id = %(user_id)s
    )
    UPDATE messages SET reaction_count = reaction_count - 1, changed_seq = raised.seq
    FROM raised
    WHERE id = %(message_id)s
"""


class Changes:
    """The statements that change messages."""

    _pool: Pool
    _contents: Contents

    async def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message that the user may see."""
        params = {"message_id": message_id, "user_id": user_id}
        rows = await self._pool.fetch(MESSAGE_FOR, params)
        return _access(self._contents, *rows[0]) if rows else None

    async def edit_message(
        self,
        message_id: UUID,
        user_id: UUID,
        *,
        role: Role,
        content: str,
        version: int | None,
        at: datetime,
        mentions: Mentions | None = None,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> MessageChange | None:
            access = await locked_message(self._contents, transaction, params, role)
            if access is None:
                return None
            row = access.message
            kept, members = row.mentions, 0
            if mentions is not None:
                kept, members = await _mentionable(transaction, row, mentions)
            if row.deleted_at is not None or (row.content, row.mentions) == (content, kept):
                return MessageChange(row, is_changed=False)
            if version not in (None, row.version):
                return MessageChange(row, is_changed=False, is_stale=True)
            refusal = write_refusal(access.rules, at) or mention_refusal(
                access.rules, mentions, members
            )
            if refusal is not None:
                return MessageChange(row, is_changed=False, refusal=refusal)
            sealed = self._contents.seal_text(row.session_id, row.id, row.version + 1, content)
            more = {"session_id": row.session_id, "content": sealed, "mentions": ids_of(kept)}
            [(seq,)] = await transaction.fetch(_EDIT, params | more)
            told = () if kept == row.mentions else await _mention(transaction, row)
            row = row._replace(
                changed_seq=seq,
                content=content,
                mentions=kept,
                version=row.version + 1,
                edited_at=at,
            )
            return MessageChange(row, is_changed=True, told=told)

        return await self._pool.transact(work)

    async def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, its words nowhere any more, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> MessageChange | None:
            access = await locked_message(self._contents, transaction, params, role)
            if access is None:
                return None
            row = access.message
            if row.deleted_at is not None:
                return MessageChange(row, is_changed=False)
            if row.mentions is not None:
                await lock_mentioned(transaction, row.session_id, [row.id])
            [(seq,)] = await transaction.fetch(_DELETE, params | {"session_id": row.session_id})
            row = row._replace(
                changed_seq=seq,
                content="",
                deleted_at=at,
                deleted_by=user_id,
                reactions=None,
                mentions=None,
                pinned_at=None,
                pinned_by=None,
                attachments=None,
            )
            return MessageChange(row, is_changed=True)

        return await self._pool.transact(work)

    async def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool, at: datetime
    ) -> MessageChange | None:
        """Give a reaction or take it back, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "emoji": emoji}

        async def work(transaction: Transaction) -> MessageChange | None:
            access = await locked_message(self._contents, transaction, params, role)
            if access is None:
                return None
            row = access.message
            has_reacted = bool(await transaction.fetch(_HAS_REACTED, params))
            if is_on == has_reacted or not (has_reacted or has_room(row, emoji)):
                return MessageChange(row, is_changed=False)
            refusal = reaction_refusal(access.rules, at)
            if refusal is not None:
                return MessageChange(row, is_changed=False, refusal=refusal)
            statement = _REACT if is_on else _TAKE_BACK
            await transaction.fetch(statement, params | {"session_id": row.session_id})
            [columns] = await transaction.fetch(MESSAGE_FOR, params)
            return MessageChange(_access(self._contents, *columns).message, is_changed=True)

        return await self._pool.transact(work)


async def _mentionable(
    transaction: Transaction, row: MessageRow, mentions: Mentions
) -> tuple[Mentions | None, int]:
    """Return those of the mentioned who are members, and how many members there are."""
    params = {"session_id": row.session_id, "mentioned": orjson.dumps(mentions).decode()}
    [(ids, members)] = await transaction.fetch(_MENTIONABLE, params)
    return mentions_of(ids), members


async def _mention(transaction: Transaction, row: MessageRow) -> tuple[UUID, ...]:
    await lock_mentioned(transaction, row.session_id, [row.id])
    await lock_to_be_mentioned(transaction, row.id)
    rows = await transaction.fetch(_MENTION, {"message_id": row.id})
    return tuple(user_id for (user_id,) in rows)


async def locked_message(
    contents: Contents, transaction: Transaction, params: dict[str, object], role: Role
) -> MessageAccess | None:
    """Lock a message's session; return it as it then is, if the user still has this role."""
    await transaction.fetch(_LOCK_SESSION, params)
    rows = await transaction.fetch(MESSAGE_FOR, params)
    access = _access(contents, *rows[0]) if rows else None
    return None if access is None or access.role != role else access


def _access(contents: Contents, *row: Any) -> MessageAccess:
    return MessageAccess(contents.message_row(*row[5:]), RulesRow(*row[1:5]), row[0])
