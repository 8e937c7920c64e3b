"""Members of sessions in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act, Mute
from chatd.ids import is_bot
from chatd.rows import LeftReason, MemberChange, MemberRow, Role
from chatd.store.checks import update_notes
from chatd.store.memory_acts import MemoryActs
from chatd.store.memory_state import Member, Session, statement


class MemoryMembers(MemoryActs):
    """The members' part of the contract."""

    @statement
    def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id."""
        session = self._sessions.get(session_id)
        return [] if session is None else self._member_page(session, after, limit)

    @statement
    def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`."""
        session = self._living(session_id)
        if session is None or user_id not in self._users or user_id in self._erasures:
            return None
        member = session.member(user_id)
        if member is not None:
            row = self._member_row(session, member)
            return change_of(session, row, is_changed=False)
        standing = self._stand(session, act, user_id, at)
        if session.kind == "DIRECT" or (act is None and standing.ban is not None):
            return None
        if act is not None:
            act.judge(standing)
        return self._join(session, user_id, role, at)

    @statement
    def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """End a membership and take a `seq`."""
        session = self._living(session_id)
        if session is None or session.kind == "DIRECT":
            return None
        standing = self._stand(session, act, user_id, at)
        if standing.target is None:
            return None
        if act is not None:
            act.judge(standing)
        is_own = act is None or act.by == user_id
        if act is not None and not is_own:
            self._note(act, "member_removed", session_id, user_id)
        return self._leave(session, user_id, at, "left" if is_own else "removed")

    @statement
    def update_member(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        role: Role | None = None,
        mute: Mute | None = None,
        act: Act,
    ) -> MemberChange | None:
        """Give a member another role, mute them or both, and take a `seq`."""
        session = self._living(session_id)
        member = None if session is None else session.member(user_id)
        if session is None or member is None or session.kind == "DIRECT":
            return None
        before = self._member_row(session, member)
        after = before._replace(role=role or before.role)
        if mute is not None:
            after = after._replace(muted_until=mute.until)
        if after.role == "OWNER" != before.role:
            after = after._replace(muted_until=None)
        if after == before:
            return change_of(session, before, is_changed=False)
        standing = self._stand(session, act, user_id, act.at)
        act.judge(standing)
        member.role, member.muted_until = after.role, after.muted_until
        member.changed_seq = session.next_seq()
        others: tuple[MemberRow, ...] = ()
        is_handed_over = after.role == "OWNER" and before.role != "OWNER"
        if is_handed_over and standing.role == "OWNER":
            others = (self._promote(session, session.members[act.by], "ADMIN"),)
        for action, details in update_notes(before, after):
            self._note(act, action, session_id, user_id, details)
        row = self._member_row(session, member)
        return change_of(session, row, others=others)

    @statement
    def set_wishes(
        self, session_id: UUID, user_id: UUID, *, muted: bool | None, favourite: bool | None
    ) -> tuple[bool, bool] | None:
        """Set what members wish for their own list."""
        session = self._sessions.get(session_id)
        member = None if session is None else session.member(user_id)
        if member is None:
            return None
        member.muted = member.muted if muted is None else muted
        member.favourite = member.favourite if favourite is None else favourite
        return member.muted, member.favourite

    def _join(self, session: Session, user_id: UUID, role: Role, at: datetime) -> MemberChange:
        """Make a user a member; who was one before finds their wishes, and is muted as before."""
        seq = session.next_seq()
        member = session.members.setdefault(user_id, Member(user_id, role, at))
        member.role, member.joined_at = role, at
        member.left_at = member.left_reason = None
        member.last_read_seq, member.last_read_ordinal = seq, len(session.messages)
        member.mention_count, member.marked_unread_at = 0, None
        member.changed_seq = member.joined_seq = seq
        return change_of(session, self._member_row(session, member))

    def _leave(
        self, session: Session, user_id: UUID, at: datetime, reason: LeftReason
    ) -> MemberChange:
        """End a membership, after that of the last OWNER has an heir."""
        member = session.members[user_id]
        others: tuple[MemberRow, ...] = ()
        heir = _heir(session, member)
        if heir is not None:
            others = (self._promote(session, heir, "OWNER"),)
        member.left_at, member.left_reason = at, reason
        member.changed_seq = session.next_seq()
        return change_of(session, self._member_row(session, member), others=others)

    def _promote(self, session: Session, member: Member, role: Role) -> MemberRow:
        member.role = role
        if role == "OWNER":  # nobody could take the mute off
            member.muted_until = None
        member.changed_seq = session.next_seq()
        return self._member_row(session, member)

    def _member_page(self, session: Session, after: UUID | None, limit: int) -> list[MemberRow]:
        return [
            self._member_row(session, member)
            for user_id, member in sorted(session.members.items())
            if member.left_at is None and (after is None or user_id > after)
        ][:limit]


def change_of(
    session: Session,
    row: MemberRow,
    *,
    is_changed: bool = True,
    others: tuple[MemberRow, ...] = (),
) -> MemberChange:
    """Return a change, or that there was none, of the session as it now stands."""
    return MemberChange(row, session.seq, session.row().member_count, is_changed, others)


def _heir(session: Session, leaver: Member) -> Member | None:
    """Return who inherits a session whose last OWNER goes; nobody when they are not the last."""
    here = [each for each in session.members.values() if each.left_at is None]
    if leaver.role != "OWNER" or any(each.role == "OWNER" and each is not leaver for each in here):
        return None
    people = [each for each in here if not is_bot(each.user_id)]
    heirs = [each for each in people if each.role in {"ADMIN", "MEMBER"}]
    return min(
        heirs, key=lambda each: (each.role != "ADMIN", each.joined_at, each.user_id), default=None
    )
