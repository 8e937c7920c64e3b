"""Bans in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import BanChange, BanRow
from chatd.store.checks import ban_notes, is_same_ban
from chatd.store.memory_members import MemoryMembers
from chatd.store.memory_state import Ban, statement


class MemoryBans(MemoryMembers):
    """The part of the contract for bans."""

    @statement
    def ban(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        until: datetime | None,
        reason: str | None,
        act: Act,
    ) -> BanChange | None:
        """Keep a user out of a session, and end their membership."""
        session = self._living(session_id)
        if session is None or session.kind == "DIRECT":
            return None
        standing = self._stand(session, act, user_id, act.at)
        if is_same_ban(standing, act, until, reason) and standing.ban is not None:
            return BanChange(standing.ban, None)
        act.judge(standing)
        if user_id not in self._users:
            return None
        session.bans[user_id] = Ban(act.by, act.at, until, reason)
        row = self._ban_row(session, user_id, act.at)
        if row is None:
            return None
        self._note(act, "member_banned", session_id, user_id, ban_notes(until, reason))
        change = None
        if standing.target is not None:
            change = self._leave(session, user_id, act.at, "banned")
        return BanChange(row, change)

    @statement
    def unban(self, session_id: UUID, user_id: UUID, *, act: Act) -> bool:
        """Lift a ban."""
        session = self._living(session_id)
        if session is None:
            return False
        standing = self._stand(session, act, user_id, act.at)
        if standing.ban is None:
            return False
        act.judge(standing)
        del session.bans[user_id]
        self._note(act, "member_unbanned", session_id, user_id)
        return True

    @statement
    def bans(
        self, session_id: UUID, *, at: datetime, after: UUID | None, limit: int
    ) -> list[BanRow]:
        """Return the bans in force by rising user id."""
        session = self._sessions.get(session_id)
        if session is None:
            return []
        rows = [self._ban_row(session, user_id, at) for user_id in sorted(session.bans)]
        return [row for row in rows if row is not None and (after is None or row.user_id > after)][
            :limit
        ]
