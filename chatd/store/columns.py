"""Columns of PostgreSQL as rows, where that is more than putting one into the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.rows import MessageRow, ReactionRow, ReplyRow

# Of a message `m` and its sender `u`, in the order of MessageRow.
MESSAGE = """m.id, m.session_id, m.seq, m.changed_seq, m.sender_id, u.name, u.avatar_url,
           m.content, m.created_at, m.client_msg_id,
           CASE WHEN m.reply_to_id IS NOT NULL THEN reply_of(m.reply_to_id, m.reply_excerpt) END,
           m.version, m.edited_at, m.deleted_at, m.deleted_by,
           CASE WHEN m.reaction_count > 0 THEN reactions_of(m.id) END"""


_REPLY = MessageRow._fields.index("reply_to")


def message_row(*columns: Any) -> MessageRow:
    """Return a message; JSON, or NULL, are what `reply_of` and `reactions_of` give."""
    row = MessageRow(*columns)
    if columns[_REPLY] is not None:
        row = row._replace(reply_to=reply_row(columns[_REPLY]))
    if columns[-1] is not None:
        row = row._replace(reactions=tuple(_reaction(*each) for each in columns[-1]))
    return row


def reply_row(columns: list[Any] | None) -> ReplyRow | None:
    """Return what `reply_of` tells of the message that another answers."""
    if columns is None:
        return None
    message_id, seq, sender_id, *rest = columns
    return ReplyRow(UUID(message_id), seq, UUID(sender_id), *rest)


def _reaction(emoji: str, count: int, user_ids: list[str]) -> ReactionRow:
    return ReactionRow(emoji, count, tuple(map(UUID, user_ids)))
