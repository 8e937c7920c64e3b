"""Payloads of events: the state of a message, a member, a session; what is unread, who is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chatd.errors import CloseCode
from chatd.model import (
    dumps,
    iso,
    iso_or_none,
    member_dict,
    message_dict,
    public_user,
    reaction_dict,
)
from chatd.rows import (
    BanRow,
    InviteRow,
    MemberRow,
    MessageRow,
    ReactionRow,
    SessionAuditRow,
    UnreadPage,
    UnreadRow,
)

EXCERPT = 200  # characters: what a notification on a phone shows
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
        "mentions": row.mentions or (),
        "editedAt": iso_or_none(row.edited_at),
    }


def mention_event(row: MessageRow) -> dict[str, Any]:
    """Return the payload of the `notification:new` for those whom a message mentions."""
    return {
        "type": "MENTION",
        "sessionId": row.session_id,
        "messageId": row.id,
        "seq": row.seq,
        "from": public_user(row.sender_id, row.sender_name, row.sender_avatar_url),
        "excerpt": row.content[:EXCERPT],
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


def pinned_event(row: MessageRow) -> dict[str, Any]:
    """Return the payload of `message:pinned`."""
    return {
        "id": row.id,
        "sessionId": row.session_id,
        "seq": row.changed_seq,
        "pinnedAt": iso_or_none(row.pinned_at),
        "pinnedBy": row.pinned_by,
        "on": row.pinned_at is not None,
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


def member_event(
    row: MemberRow, *, since: int | None = None, by: UUID | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the event, name and payload, that tells a session of a member's current state.

    Args:
        since: where the reader stood; by default just before this change. Who has come since is
            told as joined, whatever happened to them then.
        by: whose act it was; told when it was another's.
    """
    payload: dict[str, Any] = {"sessionId": row.session_id, "seq": row.changed_seq}
    if by is not None and by != row.user_id:
        payload["by"] = by
    if row.left_at is not None:
        return "member:left", payload | {"userId": row.user_id}
    is_new = row.joined_seq > (row.changed_seq - 1 if since is None else since)
    name = "member:joined" if is_new else "member:updated"
    return name, payload | {"member": member_dict(row)}


def removed_event(session_id: UUID, reason: str) -> bytes:
    """Return the payload of `session:removed`, which ends a session for its receiver."""
    return dumps({"sessionId": session_id, "reason": reason})


def ban_dict(row: BanRow) -> dict[str, Any]:
    """Return a `Ban`."""
    return {
        "user": public_user(row.user_id, row.name, row.avatar_url),
        "by": row.by,
        "createdAt": iso(row.at),
        "until": iso_or_none(row.until),
        "reason": row.reason,
    }


def invite_dict(row: InviteRow) -> dict[str, Any]:
    """Return an `Invite`."""
    return {
        "code": row.code,
        "sessionId": row.session_id,
        "role": row.role,
        "by": row.by,
        "createdAt": iso(row.at),
        "expiresAt": iso_or_none(row.expires_at),
        "maxUses": row.max_uses,
        "uses": row.uses,
    }


def session_audit_dict(row: SessionAuditRow) -> dict[str, Any]:
    """Return an `SessionAuditEntry`."""
    return {
        "id": row.id,
        "at": iso(row.at),
        "action": row.action,
        "userId": row.user_id,
        "targetId": row.target_id,
        "details": row.details,
    }
