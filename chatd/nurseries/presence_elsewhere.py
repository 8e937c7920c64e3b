"""Presence of people who have devices at other daemons, as this one shows it to its own.

What the others say comes in here (`chatd.nurseries.elsewhere`). A user is one, wherever their
devices are: AWAY when all of them are, OFFLINE when none is left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import trio

from chatd.nurseries.presence import Presence
from chatd.nurseries.presence_user import TELL_INTERVAL, Manual, PresentUser, StateElsewhere


class PeopleElsewhere:
    """Knows them.

    Args:
        nursery: for what is told a moment later.
    """

    def __init__(self, presence: Presence, nursery: trio.Nursery) -> None:
        self._presence = presence
        self._users = presence.users
        self._nursery = nursery

    def place(
        self,
        user_id: UUID,
        tag: str,
        state: StateElsewhere,
        *,
        sessions: set[UUID] | None,
        last_seen: datetime | None,
        manual: Manual,
    ) -> None:
        """Take note that a user has devices at another daemon, and tell what changes by it.

        Args:
            sessions: in which they are seen; None: in those of before.
        """
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = PresentUser(user_id, last_seen)
        user.elsewhere[tag] = state
        if sessions is not None:
            # Of two daemons that tell of one user the later has read later.
            self._presence.audience.place_elsewhere(user, sessions)
        if not user.devices and last_seen is not None:
            user.last_seen = last_seen
        self.set_manual(user_id, manual)
        self._presence.tell(user)

    def take_away(self, user_id: UUID, tag: str, last_seen: datetime | None) -> None:
        """Take note that a user has no device at another daemon any more; its grace is over."""
        user = self._users.get(user_id)
        if user is None or user.elsewhere.pop(tag, None) is None:
            return
        if last_seen is not None and user.manual != "INVISIBLE":
            user.last_seen = max(user.last_seen or last_seen, last_seen)
        if not user.elsewhere:
            self._presence.audience.place_elsewhere(user, set())
        if user.is_present:
            self._presence.tell(user)
        elif not user.in_grace:  # else its end says it
            user.leaving += 1
            self._nursery.start_soon(self._say_gone, user, user.leaving)

    async def _say_gone(self, user: PresentUser, leaving: int) -> None:
        for step in (self._presence.send, self._presence.forget):
            await trio.sleep_until(user.told_at + TELL_INTERVAL)
            if user.is_present or user.leaving != leaving:
                return
            step(user)

    def set_manual(self, user_id: UUID, manual: Manual) -> None:
        """Take a manual status that was set elsewhere, unless ours is newer."""
        user = self._users.get(user_id)
        if user is None or manual.at < user.manual_at:
            return
        is_new = manual[:3] != user.own_manual
        if not is_new and manual.at == user.manual_at:
            return
        if manual.status == "INVISIBLE" and user.is_shown and user.manual != "INVISIBLE":
            # Where it stays, at whatever daemon it was set: lastSeen would give them away.
            user.last_seen = datetime.fromtimestamp(manual.at, UTC)
        user.manual, user.text, user.until = manual.status, manual.text, manual.until
        user.manual_at = manual.at
        if user.devices:  # else it ends where they are
            self._presence.schedule_end(user)
        self._presence.tell(user)

    def correct_manual(self, user_id: UUID, manual: Manual, known_at: float) -> None:
        """Take a manual status from the store, when it is another and none was heard meanwhile.

        Args:
            known_at: of which time the status here was when the store was asked.
        """
        user = self._users.get(user_id)
        if user is not None and user.manual_at == known_at and user.own_manual != manual[:3]:
            self.set_manual(user_id, manual)

    def manual_at(self, user_id: UUID) -> float:
        """Return of which time a user's manual status is, as it is known here."""
        user = self._users.get(user_id)
        return 0.0 if user is None else user.manual_at

    def moves_of(self, user_id: UUID) -> int:
        """Return how often it was heard that a user has come to a session, or left one."""
        user = self._users.get(user_id)
        return 0 if user is None else user.moves

    def people_of(self, tag: str) -> list[UUID]:
        """Return who has a device at another daemon."""
        return [user_id for user_id, user in self._users.items() if tag in user.elsewhere]

    def sessions_of(self, user_id: UUID) -> set[UUID]:
        """Return in which sessions a user who is here is seen."""
        user = self._users.get(user_id)
        return set() if user is None else set(user.sessions)
