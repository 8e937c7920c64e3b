"""What a member has not read, counted one by one: the memory twin has no counters to drift."""

from __future__ import annotations

from chatd.rows import PositionRow
from chatd.store.memory_state import Member, Session


def unread_of(session: Session, member: Member) -> int:
    """Return how many messages of others above the marker are not deleted."""
    return sum(
        message.sender_id != member.user_id and message.deleted_at is None
        for message in session.messages[member.last_read_ordinal :]
    )


def position_of(session: Session, member: Member) -> PositionRow:
    """Return where a member stands in a session."""
    return PositionRow(
        session_id=session.id,
        seq=session.seq,
        unread_count=unread_of(session, member),
        mention_count=member.mention_count,
        last_read_seq=member.last_read_seq,
    )
