"""Payloads of events: what became of a message, at the `seq` it took, and what is unread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson

from chatd.model import dumps, iso_or_none, message_dict, reaction_dict
from chatd.rows import MessageRow, ReactionRow, UnreadPage, UnreadRow


def edited_event(row: MessageRow) -> dict[str, Any]:
    """Return the payload of `message:updated`."""
    return {
        "id": row.id,
        "sessionId": row.session_id,
        "seq": row.changed_seq,
        "version": row.version,
        "content": row.content,
        "editedAt": iso_or_none(row.edited_at),
    }


def deleted_event(row: MessageRow) -> dict[str, Any]:
    """Return the payload of `message:deleted`."""
    return {
        "id": row.id,
        "sessionId": row.session_id,
        "seq": row.changed_seq,
        "deletedAt": iso_or_none(row.deleted_at),
        "deletedBy": row.deleted_by,
    }


def reaction_event(row: MessageRow, emoji: str, user_id: UUID, *, is_on: bool) -> dict[str, Any]:
    """Return the payload of `message:reaction`: what is now under a message with this emoji."""
    none = ReactionRow(emoji, 0, ())
    reaction = next((each for each in row.reactions or () if each.emoji == emoji), none)
    return {
        "messageId": row.id,
        "sessionId": row.session_id,
        "seq": row.changed_seq,
        **reaction_dict(reaction),
        "userId": user_id,
        "on": is_on,
    }


def replayed_event(row: MessageRow, since: int) -> tuple[str, dict[str, Any]]:
    """Return the event, name and payload, that brings a reader who stood at `since` to this row.

    What changed is not known any more, and the reader may never have heard of the message: so it
    comes whole.
    """
    message = message_dict(row)
    if row.seq > since:
        return "message:new", message
    if row.deleted_at is not None:
        return "message:deleted", deleted_event(row) | {"message": message}
    return "message:updated", edited_event(row) | {"message": message}


def unread_payloads(page: UnreadPage) -> Iterator[tuple[UnreadRow, dict[str, Any]]]:
    """Return the payload of `session:unread` for each row; a session's message is encoded once."""
    last = {
        session_id: orjson.Fragment(dumps(message_dict(row)))
        for session_id, row in page.last_messages.items()
    }
    for row in page.counts.values():
        yield (
            row,
            {
                "sessionId": row.session_id,
                "unreadCount": row.unread_count,
                "mentionCount": row.mention_count,
                "lastReadSeq": row.last_read_seq,
                "lastMessage": last.get(row.session_id),
            },
        )
