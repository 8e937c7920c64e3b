"""Invites in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act
from chatd.errors import StoreBug
from chatd.rows import InviteRow, InviteUse, Role, SessionRow
from chatd.store.checks import LIVE_INVITES, invite_notes
from chatd.store.memory_members import MemoryMembers, change_of
from chatd.store.memory_state import Session, statement


class MemoryInvites(MemoryMembers):
    """The part of the contract for invites."""

    @statement
    def make_invite(
        self,
        session_id: UUID,
        *,
        code: str,
        role: Role,
        max_uses: int | None,
        expires_at: datetime | None,
        act: Act,
    ) -> InviteRow | None:
        """Store an invite."""
        session = self._living(session_id)
        if session is None:
            return None
        act.judge(self._stand(session, act, act.by, act.at))
        live = {each.code: each for each in session.invites.values() if _is_live(each, act.at)}
        if len(live) >= LIVE_INVITES:
            msg = f"the session has {LIVE_INVITES} live invites"
            raise ValueError(msg)
        others = [each for each in self._sessions.values() if each is not session]
        if code in live or any(code in each.invites for each in others):
            msg = "the code is taken"
            raise StoreBug(msg)
        invite = InviteRow(code, session_id, act.by, act.at, expires_at, role, max_uses, 0)
        session.invites = live | {code: invite}
        self._note(act, "invite_made", session_id, None, invite_notes(invite))
        return invite

    @statement
    def invites(self, session_id: UUID, *, at: datetime) -> list[InviteRow]:
        """Return the live invites of a session, the newest first."""
        session = self._sessions.get(session_id)
        if session is None:
            return []
        live = [each for each in session.invites.values() if _is_live(each, at)]
        return sorted(live, key=lambda each: (each.at, each.code), reverse=True)

    @statement
    def revoke_invite(self, session_id: UUID, code: str, *, act: Act) -> bool:
        """End a live invite."""
        session = self._living(session_id)
        if session is None:
            return False
        act.judge(self._stand(session, act, act.by, act.at))
        invite = session.invites.get(code)
        if invite is None or not _is_live(invite, act.at):
            return False
        del session.invites[code]
        self._note(act, "invite_revoked", session_id, None, {"code": code})
        return True

    @statement
    def invite(self, code: str, at: datetime) -> tuple[InviteRow, SessionRow] | None:
        """Return a live invite and where it leads."""
        found = self._invite(code)
        if found is None or not _is_live(found[1], at):
            return None
        return found[1], found[0].row()

    @statement
    def accept_invite(self, code: str, *, act: Act) -> InviteUse | None:
        """Make who acts a member, count the use and take a `seq`."""
        found = self._invite(code)
        if found is None:
            return None
        session, invite = found
        member = session.member(act.by)
        if member is not None:
            row = self._member_row(session, member)
            return InviteUse(session.row(), change_of(session, row, is_changed=False))
        if not _is_live(invite, act.at) or act.by in self._erasures:
            return None
        act.judge(self._stand(session, act, act.by, act.at))
        change = self._join(session, act.by, invite.role, act.at)
        session.invites[code] = invite._replace(uses=invite.uses + 1)
        return InviteUse(session.row(), change)

    def _invite(self, code: str) -> tuple[Session, InviteRow] | None:
        for session in self._sessions.values():
            if session.deleted_at is None and code in session.invites:
                return session, session.invites[code]
        return None


def _is_live(invite: InviteRow, at: datetime) -> bool:
    is_used_up = invite.max_uses is not None and invite.uses >= invite.max_uses
    return not is_used_up and (invite.expires_at is None or invite.expires_at > at)
