"""What follows a change of membership, whoever asked for it.

All of it happens in the step in which the change is known, inside the journal: who asked may be
gone by then, and what is done behind it could meet the next change of the same member.
"""

from __future__ import annotations

from uuid import UUID

from chatd.ai_rows import ASSISTANT_ID
from chatd.context import RemovalReason, RoomEvent, Services
from chatd.model import dumps, session_event
from chatd.payloads import member_event, removed_event
from chatd.rows import MemberChange, MemberRow, SessionRow


def told(services: Services, change: MemberChange | None, by: UUID) -> list[RoomEvent]:
    """Return the events of a change, to be called in the step in which it is known.

    The sockets of who was removed that have not joined are told here: the room, which tells the
    others, cannot have come to its event before.
    """
    if change is None or not change.is_changed:
        return []
    row = change.member
    if row.left_at is not None:
        tell_removed(services, row.session_id, row.user_id, row.left_reason or "removed")
    rows = sorted((row, *change.others), key=lambda each: each.changed_seq)
    return [_event(each, by) for each in rows]


def _event(row: MemberRow, by: UUID) -> RoomEvent:
    name, payload = member_event(row, by=by)
    removed = row.user_id if row.left_at is not None else None
    reason = row.left_reason or "removed"
    return RoomEvent(row.session_id, row.changed_seq, name, dumps(payload), removed, reason)


def tell_removed(
    services: Services, session_id: UUID, user_id: UUID, reason: RemovalReason
) -> None:
    """Tell a user's sockets that have not joined a session that it is theirs no longer."""
    payload = removed_event(session_id, reason)
    services.sockets.tell(user_id, "session:removed", payload, outside=session_id, is_durable=True)


def welcome(services: Services, session: SessionRow, change: MemberChange) -> None:
    """Let a new member's sockets and presence know of their session.

    Args:
        session: as it was read, perhaps before the change.
    """
    user_id = change.member.user_id
    # Also when they were one already: the answer of the call that made them one may be lost.
    services.presence.session_opened(session.id, [user_id], change.size)
    now = session._replace(seq=change.seq, member_count=change.member_count)
    event = dumps(session_event(now, change.seq))
    services.sockets.tell(user_id, "session:updated", event, is_durable=True)


def part(
    services: Services, session_id: UUID, user_id: UUID, change: MemberChange | None = None
) -> None:
    """End what somebody shares by being in a session; also when they have left before.

    Args:
        change: their leaving; None: they had left, or the session is gone.
    """
    services.typing.stop(session_id, user_id)
    if user_id == ASSISTANT_ID and services.assistant is not None:
        services.assistant.end_session(session_id)
    services.presence.member_left(session_id, user_id, None if change is None else change.size)
