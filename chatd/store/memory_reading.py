"""How far members have read, in the memory twin."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from uuid import UUID

from chatd.contract.reading import UnreadQuestion
from chatd.rows import MarkerRow, UnreadPage, UnreadRow
from chatd.store.memory_counts import position_of
from chatd.store.memory_state import Member, Message, Session, Tables, statement


class MemoryReading(Tables):
    """The part of the contract for read markers."""

    @statement
    def mark_read(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Move a member's marker forward."""
        session, member = self._member(session_id, user_id)
        if session is None or member is None:
            return None
        seq = max(member.last_read_seq, min(seq, session.seq))
        return _moved(session, member, seq, is_marked=False)

    @statement
    def mark_unread(self, session_id: UUID, user_id: UUID, seq: int) -> MarkerRow | None:
        """Mark unread, and move a member's marker back."""
        session, member = self._member(session_id, user_id)
        if session is None or member is None:
            return None
        seq = max(min(member.last_read_seq, seq - 1), 0)
        return _moved(session, member, seq, is_marked=True)

    @statement
    def unread_states(self, questions: Sequence[UnreadQuestion], *, large: int) -> UnreadPage:
        """Return what members have not read."""
        page = UnreadPage({}, {})
        for question in questions:
            session, member = self._member(question.session_id, question.user_id)
            if session is None or member is None:
                continue
            position = position_of(session, member)
            is_large = session.row().member_count > large
            if is_large and not (question.is_large_too or position.mention_count):
                continue
            page.counts[session.id, member.user_id] = UnreadRow(
                session_id=session.id,
                user_id=member.user_id,
                unread_count=position.unread_count,
                mention_count=position.mention_count,
                last_read_seq=position.last_read_seq,
            )
            if session.messages:
                last = self._message_row(session, session.messages[-1])
                page.last_messages[session.id] = last
        return page

    def _member(
        self, session_id: UUID, user_id: UUID
    ) -> tuple[Session, Member] | tuple[None, None]:
        session = self._sessions.get(session_id)
        member = None if session is None else session.member(user_id)
        return (None, None) if session is None or member is None else (session, member)


def _moved(session: Session, member: Member, seq: int, *, is_marked: bool) -> MarkerRow:
    before = _state(member)
    is_moved = seq != member.last_read_seq
    member.last_read_seq = seq
    if is_moved:
        member.last_read_ordinal = bisect.bisect_right(session.messages, seq, key=_seq)
    member.marked_unread_at = member.last_read_ordinal if is_marked else None
    member.mention_count = sum(
        member.user_id in message.told for message in session.messages[member.last_read_ordinal :]
    )
    position = position_of(session, member)
    return MarkerRow(
        *position[:5],
        member_count=session.row().member_count,
        is_moved=is_moved,
        is_changed=_state(member) != before,
    )


def _state(member: Member) -> tuple[int, bool]:
    """Return what a call may change: where the marker stands, and whether it is marked unread."""
    return member.last_read_seq, member.marked_unread_at == member.last_read_ordinal


def _seq(message: Message) -> int:
    return message.seq
