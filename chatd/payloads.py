"""Payloads of the events that tell what became of a message, a member or a session: its state."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chatd.model import dumps, iso, iso_or_none, member_dict, message_dict, reaction_dict
from chatd.rows import BanRow, InviteRow, MemberRow, MessageRow, ReactionRow, SessionAuditRow


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
        "user": {"id": row.user_id, "name": row.name, "avatarUrl": row.avatar_url},
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
