"""Messages that change, in PostgreSQL. Every change locks the session's row and takes a `seq`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.rows import MessageAccess, MessageChange, MessageRow, Role
from chatd.store.checks import has_room
from chatd.store.columns import message_row
from chatd.store.pool import Pool, Transaction

# What somebody may see who is in the message's session; the lock of the session comes first where
# it is changed, so that nobody changes anything after the commit that removed them.
_MESSAGE_FOR = """
    SELECT mine.role, s.kind,
           m.id, m.session_id, m.seq, m.changed_seq, m.sender_id, u.name, u.avatar_url,
           m.content, m.created_at, m.client_msg_id, m.reply_to_id, m.version, m.edited_at,
           m.deleted_at, m.deleted_by,
           CASE WHEN m.reaction_count > 0 THEN reactions_of(m.id) END
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
    SET content = %(content)s, version = version + 1, edited_at = %(at)s, changed_seq = raised.seq
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
    )
    UPDATE messages
    SET content = '', deleted_at = %(at)s, deleted_by = %(user_id)s, reaction_count = 0,
        changed_seq = raised.seq
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

    async def message_for(self, message_id: UUID, user_id: UUID) -> MessageAccess | None:
        """Return a message that the user may see."""
        params = {"message_id": message_id, "user_id": user_id}
        rows = await self._pool.fetch(_MESSAGE_FOR, params)
        return _access(*rows[0]) if rows else None

    async def edit_message(
        self,
        message_id: UUID,
        user_id: UUID,
        *,
        role: Role,
        content: str,
        version: int | None,
        at: datetime,
    ) -> MessageChange | None:
        """Replace a message's text, keep the earlier one, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "content": content, "at": at}

        async def work(transaction: Transaction) -> MessageChange | None:
            row = await _locked(transaction, params, role)
            if row is None:
                return None
            is_current = row.deleted_at is None and version in (None, row.version)
            if row.content == content or not is_current:
                return MessageChange(row, is_changed=False)
            [(seq,)] = await transaction.fetch(_EDIT, params | {"session_id": row.session_id})
            row = row._replace(
                changed_seq=seq, content=content, version=row.version + 1, edited_at=at
            )
            return MessageChange(row, is_changed=True)

        return await self._pool.transact(work)

    async def delete_message(
        self, message_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MessageChange | None:
        """Make a message a tombstone, without texts and reactions, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "at": at}

        async def work(transaction: Transaction) -> MessageChange | None:
            row = await _locked(transaction, params, role)
            if row is None:
                return None
            if row.deleted_at is not None:
                return MessageChange(row, is_changed=False)
            [(seq,)] = await transaction.fetch(_DELETE, params | {"session_id": row.session_id})
            row = row._replace(
                changed_seq=seq, content="", deleted_at=at, deleted_by=user_id, reactions=None
            )
            return MessageChange(row, is_changed=True)

        return await self._pool.transact(work)

    async def react(
        self, message_id: UUID, user_id: UUID, *, role: Role, emoji: str, is_on: bool
    ) -> MessageChange | None:
        """Give a reaction or take it back, and take a `seq`."""
        params = {"message_id": message_id, "user_id": user_id, "emoji": emoji}

        async def work(transaction: Transaction) -> MessageChange | None:
            row = await _locked(transaction, params, role)
            if row is None:
                return None
            has_reacted = bool(await transaction.fetch(_HAS_REACTED, params))
            if is_on == has_reacted or not (has_reacted or has_room(row, emoji)):
                return MessageChange(row, is_changed=False)
            statement = _REACT if is_on else _TAKE_BACK
            await transaction.fetch(statement, params | {"session_id": row.session_id})
            [columns] = await transaction.fetch(_MESSAGE_FOR, params)
            return MessageChange(_access(*columns).message, is_changed=True)

        return await self._pool.transact(work)


async def _locked(
    transaction: Transaction, params: dict[str, object], role: Role
) -> MessageRow | None:
    """Lock a message's session; return it as it then is, if the user still has this role."""
    await transaction.fetch(_LOCK_SESSION, params)
    rows = await transaction.fetch(_MESSAGE_FOR, params)
    access = _access(*rows[0]) if rows else None
    return None if access is None or access.role != role else access.message


def _access(*row: object) -> MessageAccess:
    role, kind, *columns = row
    return MessageAccess(message_row(*columns), role, kind)  # type: ignore[arg-type]
