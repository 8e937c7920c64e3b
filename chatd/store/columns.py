"""Columns of PostgreSQL as rows, where that is more than putting one into the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.rows import AttachmentRow, Mentions, MessageRow, ReactionRow, ReplyRow
from chatd.store.arrays import Uuids

# Of a user `u`, in the order of UserRow.
USER = """u.id, u.email, u.name, u.avatar_url, u.password_hash, u.created_at, u.last_seen,
           u.manual_status, u.status_text, u.status_until, u.email_verified_at"""

# Of a message `m` and its sender `u`, in the order of MessageRow.
MESSAGE = """m.id, m.session_id, m.seq, m.changed_seq, m.sender_id, u.name, u.avatar_url,
           m.content, m.created_at, m.client_msg_id,
           CASE WHEN m.reply_to_id IS NOT NULL THEN reply_of(m.reply_to_id, m.reply_excerpt) END,
           m.mentions, m.version, m.edited_at, m.deleted_at, m.deleted_by, m.pinned_at, m.pinned_by,
           m.attachments, CASE WHEN m.reaction_count > 0 THEN reactions_of(m.id) END"""


_REPLY, _MENTIONS, _ATTACHMENTS = map(
    MessageRow._fields.index, ("reply_to", "mentions", "attachments")
)


def message_row(*columns: Any) -> MessageRow:
    """Return a message; JSON, or NULL, are what `reply_of` and `reactions_of` give."""
    row = MessageRow(*columns)
    if columns[_REPLY] is not None:
        row = row._replace(reply_to=reply_row(columns[_REPLY]))
    if columns[_MENTIONS] is not None:
        row = row._replace(mentions=mentions_of(columns[_MENTIONS]))
    if columns[_ATTACHMENTS] is not None:
        row = row._replace(attachments=attachments_of(columns[_ATTACHMENTS]))
    if columns[-1] is not None:
        row = row._replace(reactions=tuple(_reaction(*each) for each in columns[-1]))
    return row


def reply_row(columns: list[Any] | None) -> ReplyRow | None:
    """Return what `reply_of` tells of the message that another answers."""
    if columns is None:
        return None
    message_id, seq, sender_id, *rest = columns
    return ReplyRow(UUID(message_id), seq, UUID(sender_id), *rest)


def mentions_of(ids: list[UUID] | None) -> Mentions | None:
    """Return whom a message mentions: everybody is an empty array."""
    return None if ids is None else tuple(ids) or "ALL"


def attachments_of(columns: list[list[Any]]) -> tuple[AttachmentRow, ...]:
    """Return what a message says of its files."""
    return tuple(AttachmentRow(UUID(file_id), *rest) for file_id, *rest in columns)


def ids_of(mentions: Mentions | None) -> Uuids | None:
    """Return what `mentions_of` reads."""
    if mentions is None:
        return None
    return Uuids() if mentions == "ALL" else Uuids(mentions)


def _reaction(emoji: str, count: int, user_ids: list[str]) -> ReactionRow:
    return ReactionRow(emoji, count, tuple(map(UUID, user_ids)))
