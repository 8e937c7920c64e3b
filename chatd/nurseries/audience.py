"""Who hears of whom: everybody of everybody, or those who share a session of ordinary size.

Of a large session its members hear how many are there, not who: a change costs it one entry of a
set, not a frame a member. Those who are connected to other daemons of a cluster are in the circles
too, apart from those who are here: they are seen, and hear of it over there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from uuid import UUID

import trio

from chatd.nurseries.presence_user import PresentUser
from chatd.rows import Size

LARGE = 200  # members above which a session is told counts: 200 statuses a join are 26 KiB
FIRST = 200  # people told of in connection:ready; the rest by `users:status`


@dataclass(slots=True, eq=False)
class _Circle:
    """Those of one session who are here, or within their grace."""

    here: set[UUID] = field(default_factory=set)
    elsewhere: set[UUID] = field(default_factory=set)  # by other daemons; some are here as well
    members: int = 0  # also those who are not here; 0 when nobody has told
    seq: int = 0  # as of which that is
    online: set[UUID] | None = None  # of a large one: those whom the others see there


class Audience:
    """The circles of all who are here.

    Args:
        users: those who are here, kept by `Presence`.
        is_everyone: everybody hears of everybody, shared session or not.
    """

    def __init__(self, users: dict[UUID, PresentUser], *, is_everyone: bool) -> None:
        self.is_everyone = is_everyone
        self._users = users
        self._circles: dict[UUID, _Circle] = {}
        self._everyone: bytes | None = None  # the first state of everybody, while it holds
        self._changed: set[UUID] = set()  # large sessions with another count than was told
        self._has_changed = trio.Event()
        self.on_interest: Callable[[UUID, bool], None] = _nothing  # somebody is here; nobody is

    def here(self, session_id: UUID) -> Collection[UUID]:
        """Return the users of a session who are here, or within the grace."""
        circle = self._circles.get(session_id)
        return () if circle is None else circle.here

    # Membership

    def add(self, user: PresentUser, session_id: UUID, size: Size | None) -> None:
        """Let a user hear of a session's others; None when its size is not known."""
        circle = self._circle(session_id)
        if not circle.here:
            self.on_interest(session_id, True)  # noqa: FBT003 - of a plain callable
        circle.here.add(user.id)
        user.sessions.add(session_id)
        if circle.online is not None:
            self._count(session_id, circle, user)
        if size is not None:
            self.resize(session_id, size)

    def _circle(self, session_id: UUID) -> _Circle:
        circle = self._circles.get(session_id)
        if circle is None:
            circle = self._circles[session_id] = _Circle()
        return circle

    def place_elsewhere(self, user: PresentUser, sessions: set[UUID]) -> None:
        """Let a user of other daemons be seen in these sessions, and in no others by that."""
        for session_id in user.sessions_elsewhere - sessions:
            self._leave_elsewhere(user, session_id)
        for session_id in sessions - user.sessions_elsewhere:
            circle = self._circle(session_id)
            circle.elsewhere.add(user.id)
            if circle.online is not None:
                self._count(session_id, circle, user)
        user.sessions_elsewhere = sessions

    def _leave_elsewhere(self, user: PresentUser, session_id: UUID) -> None:
        circle = self._circles.get(session_id)
        if circle is not None:
            circle.elsewhere.discard(user.id)
            self._drop(session_id, circle, user.id)

    def _drop(self, session_id: UUID, circle: _Circle, user_id: UUID) -> None:
        """Take note that a user is in a circle no more, here or elsewhere."""
        is_in = user_id in circle.here or user_id in circle.elsewhere
        if circle.online is not None and user_id in circle.online and not is_in:
            circle.online.discard(user_id)
            self._note(session_id)
        if not (circle.here or circle.elsewhere):
            del self._circles[session_id]
            self._changed.discard(session_id)

    def resize(self, session_id: UUID, size: Size) -> None:
        """Take note of a session's size; it becomes large, or ordinary, with it."""
        circle = self._circles.get(session_id)
        if circle is None or size.seq < circle.seq:
            return
        circle.members, circle.seq = size
        if size.members <= LARGE:
            circle.online = None
            self._changed.discard(session_id)
        elif circle.online is None:
            users = map(self._users.get, circle.here | circle.elsewhere)
            circle.online = {user.id for user in users if user is not None and user.is_shown}
            self._note(session_id)  # who has joined it knows of statuses only

    def remove(self, user: PresentUser, session_id: UUID) -> None:
        """End what a user heard by this session."""
        user.sessions.discard(session_id)
        circle = self._circles.get(session_id)
        if circle is None:
            return
        if user.id in circle.here:
            circle.here.discard(user.id)
            if not circle.here:
                self.on_interest(session_id, False)  # noqa: FBT003 - of a plain callable
        self._drop(session_id, circle, user.id)

    def members_of(self, session_id: UUID) -> int:
        """Return how many members a session has; 0 when that is not known here."""
        circle = self._circles.get(session_id)
        return 0 if circle is None else circle.members

    # Who hears

    def hearers(self, user: PresentUser) -> Iterable[PresentUser]:
        """Return who is told when this user's status changes, they themselves included."""
        if self.is_everyone:
            return self._users.values()
        ids = {user.id}.union(*self._ordinary(user.all_sessions))
        return [self._users[each] for each in ids if each in self._users]

    def around(self, user_id: UUID, sessions: Iterable[UUID]) -> list[PresentUser]:
        """Return who is here of these sessions, of ordinary size, and the user themselves."""
        ids = {user_id}.union(*self._ordinary(sessions))
        return [self._users[each] for each in ids if each in self._users]

    def first(self, user_id: UUID, sessions: Iterable[UUID]) -> bytes:
        """Return the `Presence` of those seen there by a user of these sessions, as one array.

        `FIRST` at most; the user is one of them when another device of theirs is there.
        """
        if self.is_everyone:
            if self._everyone is None:  # one for all who connect until somebody's status changes
                self._everyone = _array(self._users.values())
            return self._everyone
        circles = self._ordinary_circles(sessions)
        ids = {user_id}.union(*(each.here for each in circles), *(e.elsewhere for e in circles))
        return _array(self._users[each] for each in ids if each in self._users)

    def seen(
        self, user_id: UUID, last_seen: datetime | None
    ) -> tuple[str, str | None, datetime | None]:
        """Return somebody's status and text as the others were told them, and their lastSeen.

        Args:
            last_seen: what the store has, for one who is not here.
        """
        user = self._users.get(user_id)
        if user is None:
            return "OFFLINE", None, last_seen
        return *user.shown, user.last_seen or last_seen

    def _ordinary(self, sessions: Iterable[UUID]) -> list[set[UUID]]:
        return [circle.here for circle in self._ordinary_circles(sessions)]

    def _ordinary_circles(self, sessions: Iterable[UUID]) -> list[_Circle]:
        circles = map(self._circles.get, sessions)
        return [each for each in circles if each is not None and each.online is None]

    @property
    def interests(self) -> list[UUID]:
        """The sessions of which somebody is here."""
        return [session_id for session_id, circle in self._circles.items() if circle.here]

    # Counts

    def shown(self, user: PresentUser) -> None:
        """Take note that others now see a user otherwise: there, or no longer, or changed."""
        self._everyone = None
        for session_id in user.all_sessions:
            circle = self._circles[session_id]
            if circle.online is not None:
                self._count(session_id, circle, user)

    def _count(self, session_id: UUID, circle: _Circle, user: PresentUser) -> None:
        assert circle.online is not None  # noqa: S101 - a large one
        if user.is_shown == (user.id in circle.online):
            return
        if user.is_shown:
            circle.online.add(user.id)
        else:
            circle.online.discard(user.id)
        self._note(session_id)

    def _note(self, session_id: UUID) -> None:
        self._changed.add(session_id)
        self._has_changed.set()

    async def changed(self) -> None:
        """Wait until the count of a large session has changed."""
        await self._has_changed.wait()

    def take_changed(self) -> set[UUID]:
        """Return the large sessions with another count than was taken last."""
        taken, self._changed = self._changed, set()
        self._has_changed = trio.Event()
        return taken

    def online(self, session_id: UUID) -> int | None:
        """Return how many of a large session are seen there; None for an ordinary one."""
        circle = self._circles.get(session_id)
        return None if circle is None or circle.online is None else len(circle.online)


def _nothing(session_id: UUID, is_here: bool) -> None:  # noqa: FBT001 - of a plain callable
    del session_id, is_here


def _array(users: Iterable[PresentUser]) -> bytes:
    there = (user.told for user in users if user.is_shown)
    return b"[%b]" % b",".join(islice(there, FIRST))
