"""Who is there: devices merged to one public status a user, told to those in scope.

A user is their manual status or the best of their devices. A lost transport has a grace before
OFFLINE, so that coming back in time is never heard by others; a change is told at most once a
second a user, and one that is taken back within that second not at all. What a newcomer is told
first is what the others were told last: so every later change fits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import trio

from chatd.config import Settings
from chatd.context import Socket
from chatd.contract import Store
from chatd.model import dumps
from chatd.nurseries.audience import Audience
from chatd.nurseries.counts import Announce, tell_counts
from chatd.nurseries.idle import Idleness
from chatd.nurseries.last_seen import STORE_TIMEOUT, LastSeen
from chatd.nurseries.presence_relay import PresenceRelay
from chatd.nurseries.presence_user import (
    TELL_INTERVAL,
    Manual,
    PresentUser,
)
from chatd.nurseries.scope import SMALL, Farewell, Growth, count_accounts
from chatd.payloads import presence_dict
from chatd.rows import ManualStatus, PositionRow, Size, UserRow

TICK = 0.001  # seconds by which a manual status is newer than the one that it replaces


class Presence:
    """See `chatd.context.Presence`; made by `open_presence`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        store: Store,
        settings: Settings,
        now: Callable[[], datetime],
        *,
        accounts: int,
    ) -> None:
        self._nursery = nursery
        self._grace = settings.presence_grace
        self._now = now
        self.users: dict[UUID, PresentUser] = {}
        scope = settings.presence_scope
        is_everyone = scope == "everyone" or (scope == "auto" and accounts <= SMALL)
        self.audience = Audience(self.users, is_everyone=is_everyone)
        self.idleness = Idleness[Socket](settings.idle_after, self._idled)
        self.last_seen = LastSeen(self.users, store, now)
        self.relay = PresenceRelay()
        self.growth: Growth | None = None
        if scope == "auto" and is_everyone:
            self.growth = Growth(store, accounts, self._leave_everyone)

    # Connections

    def first(self, row: UserRow, positions: Iterable[PositionRow]) -> dict[str, Any]:
        """Return what a user who connects is told: their own status, and who is there."""
        user = self.users.get(row.id) or self._user_of(row)
        if self.growth is not None and row.id not in self.users:
            self.growth.at_least(len(self.users) + 1)
        sessions = [position.session_id for position in positions]
        return {
            "status": user.own_status(),
            "presence": orjson.Fragment(self.audience.first(row.id, sessions)),
        }

    def connected(self, socket: Socket, row: UserRow, positions: Iterable[PositionRow]) -> None:
        """Count a device in; `row` is what the store knows of a user who is not known yet."""
        user = self.users.get(row.id)
        if user is None:
            user = self.users[row.id] = self._user_of(row)
        if user.ending is None:
            self.schedule_end(user)
        positions = list(positions)
        for position in positions:
            size = Size(position.member_count, position.seq) if position.member_count else None
            self.audience.add(user, position.session_id, size)
        user.devices[socket.id] = socket, False
        user.in_grace = False
        socket.active_at = trio.current_time()
        self.idleness.watch(socket)
        self.relay.placed(user)
        self.relay.stands(positions)
        self.tell(user)

    def _user_of(self, row: UserRow) -> PresentUser:
        user = PresentUser(row.id, row.last_seen)
        if row.status_until is None or row.status_until > self._now():
            user.manual, user.text = row.manual_status, row.status_text
            user.until = row.status_until
        return user

    def disconnected(self, socket: Socket, *, at_once: bool) -> None:
        """Count a device out; the last one starts the grace, or none after a logout."""
        user = self.users.get(socket.identity.user_id)
        if user is None or user.devices.pop(socket.id, None) is None:
            return
        self.idleness.forget(socket)
        if user.manual != "INVISIBLE":
            user.last_seen = self._now()
        user.leaving += 1
        if user.devices:
            self.tell(user)
        else:
            user.in_grace = True
            wait = 0.0 if at_once else self._grace
            self._nursery.start_soon(self._leave, user, user.leaving, wait)

    async def _leave(self, user: PresentUser, leaving: int, wait: float) -> None:
        def is_back() -> bool:
            return user.is_present or user.leaving != leaving

        await trio.sleep(wait)
        if user.devices or user.leaving != leaving:
            return
        await self.last_seen.write([user])
        if user.devices or user.leaving != leaving:
            return
        user.in_grace = False
        self._withdraw(user)
        if user.is_present:
            self.tell(user)  # what is left of their devices may be AWAY
            return
        await trio.sleep_until(user.told_at + TELL_INTERVAL)
        if is_back():
            return
        self.send(user)
        # Known for the interval behind it: who returns at once is not told of twice a second.
        await trio.sleep_until(user.told_at + TELL_INTERVAL)
        if not is_back():
            self.forget(user)

    def _withdraw(self, user: PresentUser) -> None:
        """Take a user out of what this daemon tells the others of it."""
        self.relay.gone(user)
        if user.elsewhere:
            self._leave_sessions(user)

    def _leave_sessions(self, user: PresentUser) -> None:
        for session_id in list(user.sessions):
            self.audience.remove(user, session_id)

    def forget(self, user: PresentUser) -> None:
        """Know nothing of a user any more, who is nowhere."""
        if self.users.get(user.id) is user:
            del self.users[user.id]
        if user.ending is not None:
            user.ending.cancel(reason="the user has left")
        self._leave_sessions(user)
        self.audience.place_elsewhere(user, set())

    # Membership

    def session_opened(
        self, session_id: UUID, user_ids: Iterable[UUID], size: Size | None = None
    ) -> None:
        """Let these users see each other. See `chatd.context.Presence`."""
        ids = list(user_ids)
        self.opened_anywhere(session_id, ids, size)
        self.relay.opened(session_id, ids, size)

    def opened_anywhere(
        self, session_id: UUID, user_ids: Iterable[UUID], size: Size | None
    ) -> None:
        """Let those of these users who are known here see each other."""
        for user_id in user_ids:
            user = self.users.get(user_id)
            if user is not None:
                user.moves += 1
            if user is not None and (user.devices or user.in_grace):
                self.audience.add(user, session_id, None)
                self.relay.placed(user)
            if user is not None and user.elsewhere:
                self.audience.place_elsewhere(user, user.sessions_elsewhere | {session_id})
        if size is not None:
            self.audience.resize(session_id, size)

    def member_left(self, session_id: UUID, user_id: UUID, size: Size | None = None) -> None:
        """End what a user heard by sharing this session."""
        self.left_anywhere(session_id, user_id, size)
        self.relay.left(session_id, user_id, size)

    def left_anywhere(self, session_id: UUID, user_id: UUID, size: Size | None) -> None:
        """End the same for a user who is known here."""
        user = self.users.get(user_id)
        if user is not None:
            user.moves += 1
            self.audience.place_elsewhere(user, user.sessions_elsewhere - {session_id})
            self.audience.remove(user, session_id)
            self.relay.placed(user)
        if size is not None:
            self.audience.resize(session_id, size)

    @property
    def user_ids(self) -> list[UUID]:
        """Who has a device here, or may come back to one within the grace."""
        return [user.id for user in self.users.values() if user.devices or user.in_grace]

    def members_of(self, session_id: UUID) -> int:
        """Return how many members a session has. See `chatd.context.Presence`."""
        return self.audience.members_of(session_id)

    def online(self, session_id: UUID) -> int | None:
        """Return how many are there in a large session. See `chatd.context.Presence`."""
        return self.audience.online(session_id)

    # Scope

    @property
    def is_everyone(self) -> bool:
        """Whether everybody may see everybody. See `chatd.context.Presence`."""
        return self.audience.is_everyone

    def account_opened(self) -> None:
        """Count a new account. See `chatd.context.Presence`."""
        self.account_opened_anywhere()
        self.relay.account_opened()

    def account_opened_anywhere(self) -> None:
        """Count a new account, of this daemon or another."""
        if self.growth is not None:
            self.growth.more()

    def _leave_everyone(self) -> None:
        """Tell from this step on only those who share a session."""
        self.growth = None
        self.audience.is_everyone = False
        self._nursery.start_soon(Farewell(self.audience, self.users.values()).say)

    def here(self, session_id: UUID) -> Collection[UUID]:
        """Return the users of a session who are here, or within the grace."""
        return self.audience.here(session_id)

    # Status

    def set_manual(
        self,
        user_id: UUID,
        status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
        socket: Socket | None,
    ) -> dict[str, Any]:
        """Set or clear a manual status. See `chatd.context.Presence`."""
        user = self.users.get(user_id)
        at = self._now().timestamp()
        if user is not None:  # the clock of whoever has set the one before may be ahead
            at = max(at, user.manual_at + TICK)
        self.relay.manual(user_id, Manual(status, text, until, at))
        if user is None:  # by REST, without a socket: stored, and true at the next connect
            return presence_dict(user_id, "OFFLINE", None, None)
        if status == "INVISIBLE" and user.manual != "INVISIBLE":
            user.last_seen = self._now()  # where it stays: lastSeen would give them away
        user.manual, user.text, user.until, user.manual_at = status, text, until, at
        self.schedule_end(user)
        if socket is not None and socket.id in user.devices:
            user.devices[socket.id] = socket, False
            self._wake(socket)
        self.tell(user)
        return user.view(user.public)

    def schedule_end(self, user: PresentUser) -> None:
        """Let a manual status end when it is to."""
        if user.ending is not None:
            user.ending.cancel(reason="another status")
            user.ending = None
        if user.until is not None:
            user.ending = trio.CancelScope()
            self._nursery.start_soon(self._end_manual, user, user.until, user.ending)

    async def _end_manual(
        self, user: PresentUser, until: datetime, ending: trio.CancelScope
    ) -> None:
        with ending:
            await trio.sleep(max(0.0, (until - self._now()).total_seconds()))
            user.manual = user.text = user.until = user.ending = None
            user.manual_at = until.timestamp()
            self.tell(user)

    def set_away(self, socket: Socket) -> dict[str, Any]:
        """Call one device AWAY. See `chatd.context.Presence`."""
        user = self.users[socket.identity.user_id]  # it has a socket: it is known
        user.devices[socket.id] = socket, True
        self.tell(user)
        return user.view(user.public)

    def woke(self, socket: Socket) -> None:
        """Count an idle device as active again: it has asked for something."""
        user = self.users.get(socket.identity.user_id)
        if user is not None and socket.id in user.devices:  # not cut meanwhile
            self._wake(socket)
            self.tell(user)

    def _wake(self, socket: Socket) -> None:
        socket.active_at = trio.current_time()
        if socket.is_idle:
            socket.is_idle = False
            self.idleness.watch(socket)

    def _idled(self, socket: Socket) -> None:
        socket.is_idle = True
        self.tell(self.users[socket.identity.user_id])

    def views(self, people: Iterable[tuple[UUID, datetime | None]]) -> list[dict[str, Any]]:
        """Return people's presence as the others were told it. See `chatd.context.Presence`."""
        return [presence_dict(each, *self.audience.seen(each, seen)) for each, seen in people]

    # Telling

    def tell(self, user: PresentUser) -> None:
        """Tell how a user is, unless that was told, or was a moment ago: then soon."""
        if user.devices:
            self.relay.changed(user)
        # Without a device the grace runs: only its end says OFFLINE.
        if not user.is_present or user.is_waiting or user.public == user.shown:
            return
        wait = user.told_at + TELL_INTERVAL - trio.current_time()
        if wait > 0:
            user.is_waiting = True
            self._nursery.start_soon(self._tell_later, user, wait)
        else:
            self.send(user)

    async def _tell_later(self, user: PresentUser, wait: float) -> None:
        await trio.sleep(wait)
        user.is_waiting = False
        if user.is_present:
            self.send(user)

    def send(self, user: PresentUser) -> None:
        """Tell how a user is now, unless that was told."""
        public = user.public
        if public == user.shown:
            return
        user.shown = public
        user.told_at = trio.current_time()
        user.told = dumps(user.view(public))
        self.audience.shown(user)
        for hearer in self.audience.hearers(user):
            for socket, _ in hearer.devices.values():
                socket.push_ephemeral("user:status", user.told)

    def announce(self, user_id: UUID, session_ids: Iterable[UUID], name: str, data: bytes) -> None:
        """Send an event to those around a user. See `chatd.context.Presence`."""
        sessions = list(session_ids)
        self.announce_here(user_id, sessions, name, data)
        self.relay.announced(user_id, sessions, name, data)

    def announce_here(
        self, user_id: UUID, session_ids: Iterable[UUID], name: str, data: bytes
    ) -> None:
        """Send an event to those around a user who are here."""
        for hearer in self.audience.around(user_id, session_ids):
            for socket, _ in hearer.devices.values():
                socket.push_ephemeral(name, data)


@asynccontextmanager
async def open_presence(
    store: Store, settings: Settings, now: Callable[[], datetime], announce: Announce
) -> AsyncIterator[Presence]:
    """Run presence for the length of the block; at its end lastSeen is written.

    Raises:
        StoreError: the accounts cannot be counted.
    """
    accounts = await count_accounts(store) if settings.presence_scope == "auto" else 0
    async with trio.open_nursery() as nursery:
        presence = Presence(nursery, store, settings, now, accounts=accounts)
        nursery.start_soon(presence.last_seen.keep)
        nursery.start_soon(presence.idleness.run)
        nursery.start_soon(tell_counts, presence.audience, announce)
        if presence.growth is not None:
            nursery.start_soon(presence.growth.watch)
        yield presence
        with trio.move_on_after(STORE_TIMEOUT, shield=True):
            await presence.last_seen.write_all()
        nursery.cancel_scope.cancel(reason="the daemon stops")
