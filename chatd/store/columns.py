"""Columns of PostgreSQL as rows, where that is more than putting one into the other."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.rows import MessageRow, ReactionRow


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
