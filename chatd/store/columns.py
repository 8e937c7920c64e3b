"""Columns of PostgreSQL as rows, where that is more than putting one into the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.rows import MessageRow, ReactionRow

# Of a message `m` and its sender `u`, in the order of MessageRow.
MESSAGE = """m.id, m.session_id, m.seq, m.changed_seq, m.sender_id, u.name, u.avatar_url,
           m.content, m.created_at, m.client_msg_id, m.reply_to_id, m.version, m.edited_at,
           m.deleted_at, m.deleted_by,
           CASE WHEN m.reaction_count > 0 THEN reactions_of(m.id) END"""


def message_row(*columns: Any) -> MessageRow:
    """Return a message; the last column is what `reactions_of` gives, or NULL."""
    row = MessageRow(*columns)
    if columns[-1] is None:
        return row
    reactions = [
        ReactionRow(emoji, count, tuple(map(UUID, user_ids)))
        for emoji, count, user_ids in columns[-1]
    ]
    return row._replace(reactions=tuple(reactions))
