"""The pages in which messages are read, in the memory twin."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from uuid import UUID

from chatd.rows import (
    ChangesPage,
    HistoryPage,
    JoinPage,
    MemberRow,
    MessageRow,
)
from chatd.store.checks import JOIN_MEMBERS, one_bound
from chatd.store.memory_append import MemoryAppend
from chatd.store.memory_counts import unread_of
from chatd.store.memory_sessions import MemorySessions
from chatd.store.memory_state import Message, Session, statement


class MemoryMessages(MemoryAppend, MemorySessions):
    """The messages' part of the contract."""

    @statement
    def history(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_id: UUID | None = None,
        limit: int = 50,
    ) -> HistoryPage | None:
        """Return a page by keyset."""
        one_bound(before_seq, after_seq, around_id)
        session = self._sessions.get(session_id)
        if session is None or session.member(user_id) is None:
            return None
        count = len(session.messages)
        if around_id is not None:
            at = next((i for i, m in enumerate(session.messages) if m.id == around_id), None)
            if at is None:
                return HistoryPage([], has_before=False, has_after=False, seq=session.seq)
            first, last = at - limit // 2, at + limit - limit // 2
        elif after_seq is not None:
            first = bisect.bisect_right(session.messages, after_seq, key=_seq)
            last = first + limit
        else:
            last = count
            if before_seq is not None:
                last = bisect.bisect_left(session.messages, before_seq, key=_seq)
            first = last - limit
        first, last = max(first, 0), min(last, count)
        rows = [self._message_row(session, message) for message in session.messages[first:last]]
        return HistoryPage(rows, has_before=first > 0, has_after=last < count, seq=session.seq)

    @statement
    def join_page(
        self, session_id: UUID, user_id: UUID, *, since: int | None, replay: int, limit: int
    ) -> JoinPage | None:
        """Read what a member sees at join."""
        session = self._sessions.get(session_id)
        member = None if session is None else session.member(user_id)
        if session is None or member is None:
            return None
        is_recovered = since is not None and since <= session.seq <= since + replay
        if since is not None and is_recovered:
            page = [each for each in session.messages if each.changed_seq > since]
            page.sort(key=lambda each: each.changed_seq)
        else:
            page = session.messages[max(len(session.messages) - limit, 0) :]
        return JoinPage(
            session=session.row(),
            role=member.role,
            messages=[self._message_row(session, message) for message in page],
            has_more=not is_recovered and len(page) < len(session.messages),
            recovered=is_recovered,
            members=self._member_page(session, None, JOIN_MEMBERS),
            unread_count=unread_of(session, member),
            mention_count=member.mention_count,
            last_read_seq=member.last_read_seq,
        )

    @statement
    def changes_since(self, session_id: UUID, seq: int, limit: int) -> ChangesPage:
        """Return current rows whose `changed_seq` is above `seq`."""
        session = self._living(session_id)
        if session is None:
            return ChangesPage(seq, is_complete=True, messages=[], members=[], session=None)
        messages = [m for m in session.messages if m.changed_seq > seq]
        members = [m for m in session.members.values() if m.changed_seq > seq]
        changes = sorted([m.changed_seq for m in messages] + [m.changed_seq for m in members])
        is_complete = len(changes) <= limit
        reach = session.seq if is_complete else changes[limit - 1]
        return ChangesPage(
            seq=reach,
            is_complete=is_complete,
            messages=self._changed_messages(session, messages, reach),
            members=sorted(
                (self._member_row(session, m) for m in members if m.changed_seq <= reach),
                key=_changed_seq,
            ),
            session=session.row(),
        )

    def _changed_messages(
        self, session: Session, messages: Sequence[Message], reach: int
    ) -> list[MessageRow]:
        rows = [self._message_row(session, m) for m in messages if m.changed_seq <= reach]
        return sorted(rows, key=_changed_seq)


def _seq(message: Message) -> int:
    return message.seq


def _changed_seq(row: MessageRow | MemberRow) -> int:
    return row.changed_seq
