"""All rooms of this node: opened by their first socket, closed after their last.

A position check every few seconds compares quiet rooms with the store, because a lost last event
has no successor that would reveal it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast
from uuid import UUID

import structlog
import trio

from chatd.config import Settings
from chatd.context import EVERYBODY, Place, RoomEvent, Socket
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.metrics import Metrics
from chatd.model import dumps, session_event
from chatd.nurseries.ring import Ring, open_ring
from chatd.nurseries.room import CHUNK, Room
from chatd.nurseries.seat import Receiver, Wire
from chatd.nurseries.volley import Volley
from chatd.payloads import member_event, removed_event, replayed_event
from chatd.rows import ChangesPage

AT_ONCE = 500  # members written to in the step of a commit: 3 ms in which nobody else runs
BROADCAST_LIMIT = 100  # joined sockets above which typing is not sent
POSITION_GRACE = 1.0  # seconds for an event that is committed but still on its way
CATCHUP_PAGE = 500  # rows of one page of a catch-up

log = structlog.get_logger("chatd.rooms")


class RoomRelay(Protocol):
    """Tells other daemons; never waits."""

    def occupied(self, session_id: UUID, *, is_occupied: bool) -> None:
        """Somebody here has joined a session, the first; or nobody any more."""

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """An ephemeral event was sent to a room."""


class Rooms:
    """See `chatd.context.Rooms`; made by `open_rooms`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        store: Store,
        settings: Settings,
        metrics: Metrics,
        ring: Ring | None,
    ) -> None:
        self._nursery = nursery
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._ring = ring
        # By integers: a UUID is hashed and compared in Python.
        self._rooms: dict[int, tuple[Room, trio.CancelScope]] = {}
        self._has_opened = trio.Event()
        self.is_busy: Callable[[UUID], bool] = _never  # the journal's, when there is one
        self.relay: RoomRelay | None = None

    def enter(self, session_id: UUID, socket: Socket) -> Place:
        """Take a place in a session's room, opening it when this is its first socket."""
        held = self._rooms.get(session_id.int)
        room = self._open(session_id) if held is None else held[0]
        return room.enter(cast("Receiver", socket))  # every Socket of this daemon is one

    async def occupied(self) -> None:
        """Wait until somebody is in a room."""
        if not self._rooms:
            self._has_opened = trio.Event()
            await self._has_opened.wait()

    def _open(self, session_id: UUID) -> Room:
        room = Room(
            session_id,
            backlog=self._settings.feed_events,
            catch_up=self._read_changes,
            patience=self._settings.hole_patience if self.relay is not None else 0.0,
            metrics=self._metrics,
            on_empty=self._close,
            ring=self._ring,
        )
        scope = trio.CancelScope()
        self._rooms[session_id.int] = room, scope
        self._has_opened.set()
        self._metrics.rooms.inc()
        if self.relay is not None:
            self.relay.occupied(session_id, is_occupied=True)
        self._nursery.start_soon(self._run, room, scope)
        return room

    async def _run(self, room: Room, scope: trio.CancelScope) -> None:
        with scope:
            await room.run()

    def _close(self, session_id: UUID) -> None:
        _, scope = self._rooms.pop(session_id.int)
        self._metrics.rooms.dec()
        if self.relay is not None:
            self.relay.occupied(session_id, is_occupied=False)
        scope.cancel(reason="nobody is in the room")

    def publish(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Hand the committed events of a transaction to the rooms that somebody is in.

        Rooms write to their members in this step, some hundred in all; then their tasks do.
        An ack that has not left is not overtaken: see `chatd.nurseries.journal.Publish`.
        """
        of_rooms: dict[int, list[RoomEvent]] = {}
        for event in events:
            of_rooms.setdefault(event.session_id.int, []).append(event)
        left, volley, given = AT_ONCE if is_answered else 0, Volley(self._ring), 0
        try:
            for key, its_events in of_rooms.items():
                held = self._rooms.get(key)
                if held is not None and left > 0:
                    members = held[0].deliver(its_events, left, volley)
                    left -= members
                    given += members * len(its_events)
                elif held is not None:
                    for event in its_events:
                        held[0].publish(event)
        finally:  # what was added is sent, whatever befalls another room
            volley.fire()
            self._metrics.deliveries.inc(given)

    def broadcast(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send an ephemeral event to a small room, everywhere; a large one does without."""
        self.broadcast_here(session_id, name, data, but=but)
        if self.relay is not None:
            self.relay.broadcast(session_id, name, data, but=but)

    def broadcast_here(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send an ephemeral event to those who have joined a small room here."""
        held = self._rooms.get(session_id.int)
        if held is not None and len(held[0].live) <= BROADCAST_LIMIT:
            missed = held[0].broadcast(name, data, but=but)
            if missed:
                self._metrics.dropped.inc(missed)

    async def announce(self, session_id: UUID, name: str, data: bytes) -> None:
        """Send an ephemeral event to a room of any size, some hundred members at a time."""
        held = self._rooms.get(session_id.int)
        if held is not None:
            frames: dict[Wire, bytes] = {}
            for number, member in enumerate(list(held[0].live), 1):
                wire = member.wire
                if wire not in frames:
                    frames[wire] = wire.event(name, data)
                if not member.outbox.push_ephemeral(frames[wire]):
                    self._metrics.dropped.inc()
                if number % CHUNK == 0:
                    await trio.lowlevel.checkpoint()

    async def check_positions(self) -> None:
        """Compare every room's head with the store, for ever."""
        while True:
            await trio.sleep(self._settings.position_interval)
            rooms = [room for room, _ in self._rooms.values() if room.head is not None]
            if not rooms:
                continue
            try:
                heads = await self._store.heads([room.session_id for room in rooms])
            except StoreError as trouble:
                log.warning("position check failed", error=type(trouble).__name__)
                continue
            if any(_is_behind(room, heads) for room in rooms):
                await trio.sleep(POSITION_GRACE)
            self.compare(heads, [room.session_id for room in rooms])

    def compare(self, heads: Mapping[UUID, int], session_ids: Iterable[UUID]) -> None:
        """Let those of these rooms read the store that have missed something.

        Args:
            heads: the `seq` of those sessions that there are.
        """
        for session_id in session_ids:
            held = self._rooms.get(session_id.int)
            if held is None or self.is_busy(session_id):
                continue
            if held[0].head is None or _is_behind(held[0], heads):
                held[0].wake()  # without a head its page may be older than what was published

    async def _read_changes(self, session_id: UUID, seq: int) -> tuple[list[RoomEvent], int, bool]:
        page = await self._store.changes_since(session_id, seq, CATCHUP_PAGE)
        if page.session is None:
            return [end_of(session_id, seq)], seq + 1, True
        return events_of(page, seq), page.seq, page.is_complete


def _never(session_id: UUID) -> bool:
    del session_id
    return False


def _is_behind(room: Room, heads: Mapping[UUID, int]) -> bool:
    """Return whether a room missed something: a session without a head was deleted."""
    return room.head is not None and room.head < heads.get(room.session_id, room.head + 1)


def end_of(session_id: UUID, seq: int) -> RoomEvent:
    """Return the end of a session that is found to be deleted, for readers who stand at `seq`."""
    data = removed_event(session_id, "deleted")
    return RoomEvent(session_id, seq + 1, "session:removed", data, EVERYBODY, "deleted")


def events_of(page: ChangesPage, since: int) -> list[RoomEvent]:
    """Return the changes above `since` as the events that bring a room to their state, in order.

    A message that is new since is told as new, whatever happened to it; another one as changed,
    and whole. A `seq` that no message and no member holds may have been the session's own: then it
    is told too, under that `seq`.
    """
    events = []
    for message in page.messages:
        name, payload = replayed_event(message, since)
        events.append(RoomEvent(message.session_id, message.changed_seq, name, dumps(payload)))
    for row in page.members:
        name, payload = member_event(row, since=since)
        removed = row.user_id if row.left_at is not None else None
        reason = row.left_reason or "removed"
        data = dumps(payload)
        events.append(RoomEvent(row.session_id, row.changed_seq, name, data, removed, reason))
    free = set(range(max(since + 1, page.seq - CATCHUP_PAGE), page.seq + 1))
    free -= {event.seq for event in events}
    if page.session is not None and free:
        seq = max(free)
        data = dumps(session_event(page.session, seq))
        events.append(RoomEvent(page.session.id, seq, "session:updated", data))
    return sorted(events, key=lambda event: event.seq)


@asynccontextmanager
async def open_rooms(store: Store, settings: Settings, metrics: Metrics) -> AsyncIterator[Rooms]:
    """Run the rooms of this node for the length of the block."""
    with open_ring(is_wanted=settings.io_uring == "auto") as ring:
        async with trio.open_nursery() as nursery:
            rooms = Rooms(nursery, store, settings, metrics, ring)
            nursery.start_soon(rooms.check_positions)
            yield rooms
            nursery.cancel_scope.cancel(reason="the daemon stops")
