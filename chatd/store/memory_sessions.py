"""Sessions and their members in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import (
    PositionRow,
    Role,
    RulesRow,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)
from chatd.store.checks import direct_key, members_to_be
from chatd.store.memory_counts import position_of, unread_of
from chatd.store.memory_members import MemoryMembers
from chatd.store.memory_state import Member, Session, statement


class MemorySessions(MemoryMembers):
    """The sessions' part of the contract."""

    @statement
    def create_session(
        self,
        *,
        session_id: UUID,
        kind: SessionKind,
        name: str | None,
        creator_id: UUID,
        member_ids: Sequence[UUID],
        at: datetime,
    ) -> tuple[SessionRow, bool]:
        """Store a session and its members, or return the DIRECT session of the pair."""
        everyone = members_to_be(kind, creator_id, member_ids)
        for user_id in everyone:
            if user_id not in self._users or user_id in self._erasures:
                raise KeyError(user_id)
        key = direct_key(kind, everyone)
        if key is not None and key in self._direct:
            return self._sessions[self._direct[key]].row(), False
        if session_id in self._sessions:
            msg = f"there is a session {session_id} already"
            raise StoreBug(msg)
        session = Session(session_id, kind, name, created_at=at, active_at=at)
        for user_id in everyone:
            is_owner = user_id == creator_id and kind != "DIRECT"
            session.members[user_id] = Member(user_id, "OWNER" if is_owner else "MEMBER", at)
        self._sessions[session_id] = session
        if key is not None:
            self._direct[key] = session_id
        return session.row(), True

    @statement
    def session_for(self, session_id: UUID, user_id: UUID) -> tuple[SessionRow, Role | None] | None:
        """Return a session that the user may see."""
        session = self._living(session_id)
        if session is None:
            return None
        member = session.member(user_id)
        if member is None and session.kind != "PUBLIC":
            return None
        return session.row(), member.role if member else None

    @statement
    def rules_for(self, session_id: UUID, user_id: UUID) -> RulesRow | None:
        """Return what a session lets a member do."""
        session = self._living(session_id)
        member = None if session is None else session.member(user_id)
        return None if session is None or member is None else self._rules(session, member)

    @statement
    def list_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SessionListRow]:
        """Return the sessions of a user, latest activity first."""
        return [
            SessionListRow(
                session=session.row(),
                role=member.role,
                unread_count=unread_of(session, member),
                mention_count=member.mention_count,
                last_read_seq=member.last_read_seq,
                muted=member.muted,
                last_message=(
                    self._message_row(session, session.messages[-1]) if session.messages else None
                ),
                marked_unread=member.marked_unread_at == member.last_read_ordinal,
                favourite=member.favourite,
            )
            for session, member in self._latest(user_id)
            if before is None or (session.active_at, session.id) < before
        ][:limit]

    @statement
    def first_states(
        self, user_ids: Sequence[UUID], limit: int
    ) -> dict[UUID, tuple[UserRow, list[PositionRow]]]:
        """Return accounts and where each stands in its sessions."""
        return {
            user_id: (
                self._users[user_id],
                [_first_position(*latest) for latest in self._latest(user_id)[:limit]],
            )
            for user_id in user_ids
            if user_id in self._users
        }

    @statement
    def heads(self, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of each of these sessions that exists."""
        found = {each: self._living(each) for each in session_ids}
        return {each: session.seq for each, session in found.items() if session is not None}

    def _latest(self, user_id: UUID) -> list[tuple[Session, Member]]:
        mine = [
            (session, member)
            for session in self._sessions.values()
            if (member := session.member(user_id)) is not None
        ]
        return sorted(mine, key=lambda each: (each[0].active_at, each[0].id), reverse=True)


def _first_position(session: Session, member: Member) -> PositionRow:
    return position_of(session, member)._replace(member_count=session.row().member_count)
