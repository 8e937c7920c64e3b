"""Sessions and their members in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.errors import StoreBug
from chatd.rows import (
    MemberChange,
    MemberRow,
    PositionRow,
    Role,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)
from chatd.store.checks import direct_key, members_to_be
from chatd.store.memory_counts import position_of, unread_of
from chatd.store.memory_state import Member, Session, Tables, statement


class MemorySessions(Tables):
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
        session = self._sessions.get(session_id)
        if session is None:
            return None
        member = session.member(user_id)
        if member is None and session.kind != "PUBLIC":
            return None
        return session.row(), member.role if member else None

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
    def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id."""
        session = self._sessions.get(session_id)
        return [] if session is None else self._member_page(session, after, limit)

    @statement
    def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`."""
        session = self._sessions.get(session_id)
        if session is None or user_id not in self._users or user_id in self._erasures:
            return None
        member = session.member(user_id)
        if member is not None:
            row = self._member_row(session, member)
            return MemberChange(row, session.seq, is_changed=False)
        if session.kind == "DIRECT":
            return None
        seq = session.next_seq()
        before = session.members.get(user_id)
        session.members[user_id] = member = Member(
            user_id,
            role,
            at,
            last_read_seq=seq,
            last_read_ordinal=len(session.messages),
            muted=before is not None and before.muted,
            changed_seq=seq,
            muted_until=None if before is None else before.muted_until,
            last_sent_at=None if before is None else before.last_sent_at,
        )
        return MemberChange(self._member_row(session, member), seq, is_changed=True)

    @statement
    def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> MemberChange | None:
        """End a membership and take a `seq`."""
        session = self._sessions.get(session_id)
        member = None if session is None else session.member(user_id)
        if session is None or member is None or session.kind == "DIRECT":
            return None
        member.left_at = at
        member.changed_seq = seq = session.next_seq()
        return MemberChange(self._member_row(session, member), seq, is_changed=True)

    @statement
    def update_session(self, session_id: UUID, *, name: str) -> SessionRow | None:
        """Rename a session and take a `seq`."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        session.name = name
        session.changed_seq = session.next_seq()
        return session.row()

    @statement
    def heads(self, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of each of these sessions that exists."""
        return {each: self._sessions[each].seq for each in session_ids if each in self._sessions}

    def _latest(self, user_id: UUID) -> list[tuple[Session, Member]]:
        mine = [
            (session, member)
            for session in self._sessions.values()
            if (member := session.member(user_id)) is not None
        ]
        return sorted(mine, key=lambda each: (each[0].active_at, each[0].id), reverse=True)

    def _member_page(self, session: Session, after: UUID | None, limit: int) -> list[MemberRow]:
        return [
            self._member_row(session, member)
            for user_id, member in sorted(session.members.items())
            if member.left_at is None and (after is None or user_id > after)
        ][:limit]


def _first_position(session: Session, member: Member) -> PositionRow:
    return position_of(session, member)._replace(member_count=session.row().member_count)
