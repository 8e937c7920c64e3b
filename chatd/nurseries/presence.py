"""Who is there: devices merged to one public status a user, told to those who share a session.

A user is their manual status or the best of their devices. A lost transport has a grace before
OFFLINE, so that coming back in time is never heard by others; a change is told at most once a
second a user, and one that is taken back within that second not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
import trio

from chatd.context import Socket
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.model import dumps, iso
from chatd.rows import ManualStatus, MemberRow, UserRow

TELL_INTERVAL = 1.0  # seconds between two user:status of one user
TOUCH_INTERVAL = 60.0  # seconds between writes of lastSeen: what a crash may lose of it
STORE_TIMEOUT = 5.0  # seconds for one write of lastSeen

log = structlog.get_logger("chatd.presence")


@dataclass(slots=True, eq=False)
class _User:
    id: UUID
    last_seen: datetime | None
    sessions: set[UUID]
    manual: ManualStatus | None = None
    text: str | None = None
    until: datetime | None = None
    devices: dict[str, tuple[Socket, bool]] = field(default_factory=dict)  # socket, is away
    shown: tuple[str, str | None] = ("OFFLINE", None)  # what the others were last told
    told_at: float = -TELL_INTERVAL
    is_waiting: bool = False  # a telling is scheduled
    ending: trio.CancelScope | None = None  # waits for `until`
    leaving: int = 0  # counts disconnects: a grace that is not the latest is void


class Presence:
    """See `chatd.context.Presence`; made by `open_presence`."""

    def __init__(
        self, nursery: trio.Nursery, store: Store, grace: float, now: Callable[[], datetime]
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._grace = grace
        self._now = now
        self._users: dict[UUID, _User] = {}
        self._audience: dict[UUID, set[UUID]] = {}  # session -> its users who are here

    # Connections

    def knows(self, user_id: UUID) -> bool:
        """Return whether a user is here, or within the grace."""
        return user_id in self._users

    def connected(self, socket: Socket, row: UserRow | None, sessions: Iterable[UUID]) -> None:
        """Count a device in; `row` is needed when the user is not known yet."""
        user = self._users.get(socket.identity.user_id)
        if user is None:
            assert row is not None  # noqa: S101 - the caller asked `knows` in the same step
            user = _User(row.id, row.last_seen, set())
            if row.status_until is None or row.status_until > self._now():
                user.manual, user.text, user.until = (
                    row.manual_status,
                    row.status_text,
                    row.status_until,
                )
            self._users[user.id] = user
            self._schedule_end(user)
        for session_id in sessions:
            user.sessions.add(session_id)
            self._audience.setdefault(session_id, set()).add(user.id)
        user.devices[socket.id] = socket, False
        self._tell(user)

    def disconnected(self, socket: Socket, *, at_once: bool) -> None:
        """Count a device out; the last one starts the grace, or none after a logout."""
        user = self._users.get(socket.identity.user_id)
        if user is None or user.devices.pop(socket.id, None) is None:
            return
        if user.manual != "INVISIBLE":
            user.last_seen = self._now()
        user.leaving += 1
        if user.devices:
            self._tell(user)
        else:
            wait = 0.0 if at_once else self._grace
            self._nursery.start_soon(self._leave, user, user.leaving, wait)

    async def _leave(self, user: _User, leaving: int, wait: float) -> None:
        def is_back() -> bool:
            return bool(user.devices) or user.leaving != leaving

        await trio.sleep(wait)
        if is_back():
            return
        await self._touch([user])
        await trio.sleep_until(user.told_at + TELL_INTERVAL)
        if is_back():
            return
        self._send(user)
        # Known for the interval behind it: who returns at once is not told of twice a second.
        await trio.sleep_until(user.told_at + TELL_INTERVAL)
        if not is_back():
            self._forget(user)

    def _forget(self, user: _User) -> None:
        if self._users.get(user.id) is user:
            del self._users[user.id]
        if user.ending is not None:
            user.ending.cancel(reason="the user has left")
        for session_id in user.sessions:
            self._unlink(session_id, user.id)

    def _unlink(self, session_id: UUID, user_id: UUID) -> None:
        users = self._audience.get(session_id)
        if users is not None:
            users.discard(user_id)
            if not users:
                del self._audience[session_id]

    # Membership

    def session_opened(self, session_id: UUID, user_ids: Iterable[UUID]) -> None:
        """Let those of these users who are here hear of each other from now on."""
        for user_id in user_ids:
            user = self._users.get(user_id)
            if user is not None:
                user.sessions.add(session_id)
                self._audience.setdefault(session_id, set()).add(user_id)

    def member_left(self, session_id: UUID, user_id: UUID) -> None:
        """End what a user heard by sharing this session."""
        user = self._users.get(user_id)
        if user is not None:
            user.sessions.discard(session_id)
            self._unlink(session_id, user_id)

    # Status

    def set_manual(
        self,
        user_id: UUID,
        status: ManualStatus | None,
        text: str | None,
        until: datetime | None,
    ) -> dict[str, Any]:
        """Set or clear a manual status. See `chatd.context.Presence`."""
        user = self._users.get(user_id)
        if user is None:  # by REST, without a socket: stored, and true at the next connect
            return _view(user_id, "OFFLINE", None, None)
        if status == "INVISIBLE" and user.manual != "INVISIBLE":
            user.last_seen = self._now()  # where it stays: lastSeen would give them away
        user.manual, user.text, user.until = status, text, until
        self._schedule_end(user)
        self._tell(user)
        return _view(user_id, *_public(user), user.last_seen)

    def _schedule_end(self, user: _User) -> None:
        if user.ending is not None:
            user.ending.cancel(reason="another status")
            user.ending = None
        if user.until is not None:
            user.ending = trio.CancelScope()
            self._nursery.start_soon(self._end_manual, user, user.until, user.ending)

    async def _end_manual(self, user: _User, until: datetime, ending: trio.CancelScope) -> None:
        with ending:
            await trio.sleep(max(0.0, (until - self._now()).total_seconds()))
            user.manual = user.text = user.until = user.ending = None
            self._tell(user)

    def set_device(self, user_id: UUID, connection_id: str, *, is_away: bool) -> dict[str, Any]:
        """Set one device ONLINE or AWAY. See `chatd.context.Presence`."""
        user = self._users[user_id]  # it has a socket: it is known
        socket, _ = user.devices[connection_id]
        user.devices[connection_id] = socket, is_away
        self._tell(user)
        return _view(user_id, *_public(user), user.last_seen)

    def views(self, members: Iterable[MemberRow]) -> list[dict[str, Any]]:
        """Return members' presence as others see it. See `chatd.context.Presence`."""
        views = []
        for row in members:
            user = self._users.get(row.user_id)
            if user is None:
                views.append(_view(row.user_id, "OFFLINE", None, row.last_seen))
            else:
                views.append(_view(row.user_id, *_public(user), user.last_seen or row.last_seen))
        return views

    # Telling

    def _tell(self, user: _User) -> None:
        # Without a device the grace runs: only its end says OFFLINE.
        if not user.devices or user.is_waiting or _public(user) == user.shown:
            return
        wait = user.told_at + TELL_INTERVAL - trio.current_time()
        if wait > 0:
            user.is_waiting = True
            self._nursery.start_soon(self._tell_later, user, wait)
        else:
            self._send(user)

    async def _tell_later(self, user: _User, wait: float) -> None:
        await trio.sleep(wait)
        user.is_waiting = False
        if user.devices:
            self._send(user)

    def _send(self, user: _User) -> None:
        public = _public(user)
        if public == user.shown:
            return
        user.shown = public
        user.told_at = trio.current_time()
        data = dumps(_view(user.id, *public, user.last_seen))
        self.announce(user.id, user.sessions, "user:status", data)

    def announce(self, user_id: UUID, session_ids: Iterable[UUID], name: str, data: bytes) -> None:
        """Send an event to those around a user. See `chatd.context.Presence`."""
        for hearer_id in {user_id}.union(*(self._audience.get(s, ()) for s in session_ids)):
            hearer = self._users.get(hearer_id)
            if hearer is not None:
                for socket, _ in hearer.devices.values():
                    socket.push_ephemeral(name, data)

    # lastSeen

    async def keep_last_seen(self) -> None:
        """Write when everybody here was last seen, every minute, for ever."""
        while True:
            await trio.sleep(TOUCH_INTERVAL)
            here = [user for user in self._users.values() if user.devices]
            for user in here:
                if user.manual != "INVISIBLE":
                    user.last_seen = self._now()
            await self._touch(here)

    async def close(self) -> None:
        """Write when those who are here were last seen: the daemon stops."""
        await self._touch(list(self._users.values()))

    async def _touch(self, users: list[_User]) -> None:
        seen = [user.id for user in users if user.manual != "INVISIBLE"]
        if not seen:
            return
        try:
            with trio.fail_after(STORE_TIMEOUT):
                await self._store.set_last_seen(seen, self._now())
        except (StoreError, trio.TooSlowError) as trouble:
            log.warning("lastSeen not written", users=len(seen), error=type(trouble).__name__)


def _public(user: _User) -> tuple[str, str | None]:
    """Return status and text as others see them."""
    if not user.devices or user.manual == "INVISIBLE":
        return "OFFLINE", None
    if user.manual is not None:
        return user.manual, user.text
    is_away = all(is_away for _, is_away in user.devices.values())
    return "AWAY" if is_away else "ONLINE", user.text


def _view(
    user_id: UUID, status: str, text: str | None, last_seen: datetime | None
) -> dict[str, Any]:
    return {
        "userId": user_id,
        "status": status,
        "lastSeen": None if last_seen is None else iso(last_seen),
        "text": text,
    }


@asynccontextmanager
async def open_presence(
    store: Store, grace: float, now: Callable[[], datetime]
) -> AsyncIterator[Presence]:
    """Run presence for the length of the block; at its end lastSeen is written."""
    async with trio.open_nursery() as nursery:
        presence = Presence(nursery, store, grace, now)
        nursery.start_soon(presence.keep_last_seen)
        yield presence
        with trio.move_on_after(STORE_TIMEOUT, shield=True):
            await presence.close()
        nursery.cancel_scope.cancel(reason="the daemon stops")
