"""Payloads of events: of a message its state at the `seq` it took, who is there, the goodbye."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from chatd.errors import CloseCode
from chatd.model import iso_or_none, message_dict, reaction_dict
from chatd.rows import MessageRow, ReactionRow

OWN_CODES = 4000  # close codes from here on are ours and come with words (RFC 6455 7.4.2)


def closing_event(code: CloseCode) -> dict[str, Any] | None:
    """Return the payload of `connection:closing`; None for a code that says all by itself."""
    if code.code < OWN_CODES:
        return None
    return {"code": code.code, "reason": code.reason, "reconnect": code.reconnect}


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


def presence_dict(
    user_id: UUID, status: str, text: str | None, last_seen: datetime | None
) -> dict[str, Any]:
    """Return a `Presence`."""
    return {
        "userId": user_id,
        "status": status,
        "lastSeen": iso_or_none(last_seen),
        "text": text,
    }
