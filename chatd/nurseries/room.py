"""The live side of a session: who receives it, its feed, its fan-out.

Every live member stands at the room's `head`: the `seq` of the last event that was fanned out.
So the cursor rule is checked once an event instead of once a delivery: lower than
head + 1 is dropped, next is sent, a hole is read from the store. A socket that has just entered
keeps events aside until its page is answered; one whose page was newer than the head stands ahead
and gets each event by its own cursor until the room has caught up with it.

All events that wait are one byte string, encoded once, written to every member: by the room's task,
or in the step that publishes them when the room is small and its task has nothing to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog
import trio

from chatd.context import EVERYBODY, RoomEvent
from chatd.errors import StoreError
from chatd.metrics import Metrics
from chatd.nurseries.piece import Group, Piece, grouped
from chatd.nurseries.ring import Ring
from chatd.nurseries.seat import TRAIL, Receiver, Run, Seat, Wire
from chatd.nurseries.volley import Volley
from chatd.payloads import removed_event

CHUNK = 250  # members between two checkpoints: 1.5 ms in which nobody else runs
ASIDE = 1024  # events kept for a socket while its page is read; one feed's length
CATCHUP_RETRY = 0.5  # seconds until a store that was away is asked again

log = structlog.get_logger("chatd.room")

CatchUp = Callable[[UUID, int], Awaitable[tuple[list[RoomEvent], int, bool]]]
"""Reads (session, seq) -> the events above it as current state, how far they reach, whether all."""


class Room:
    """A session with at least one joined socket. `run` is its task, in the nursery of `Rooms`.

    Args:
        patience: seconds for an event that a later one has overtaken: of two daemons that write in
            a session each hears of its own event first. Then it is read from the store.
    """

    def __init__(
        self,
        session_id: UUID,
        *,
        backlog: int,
        catch_up: CatchUp,
        patience: float = 0.0,
        metrics: Metrics,
        on_empty: Callable[[UUID], None],
        ring: Ring | None = None,
    ) -> None:
        self.session_id = session_id
        self.head: int | None = None
        self.is_behind = False  # an event may have been lost: ask the store
        self.live: dict[Receiver, Seat] = {}
        self._entering: dict[Receiver, Seat] = {}
        self._ahead: dict[Receiver, Seat] = {}
        # Of `live`, until somebody comes, goes, or is written to in another way.
        self._members: list[Receiver] | None = None
        self._groups: list[Group] | None = None
        self._late: tuple[Sequence[Seat], int, int] | None = None
        self._is_parked = False  # the task waits for the feed, which is empty, and misses nothing
        self._early: dict[int, RoomEvent] = {}  # those that have overtaken another
        self._hole_until = 0.0  # then the store is asked for what they have overtaken
        self._patience = patience
        self._feed, self._events = trio.open_memory_channel[RoomEvent | None](backlog)
        self._opened = trio.Event()
        self._catch_up = catch_up
        self._metrics = metrics
        self._on_empty = on_empty
        self._ring = ring

    # Membership

    def enter(self, receiver: Receiver) -> Seat:
        """Take a seat; events are kept aside for it from now on."""
        self._seat_of(receiver, None)
        seat = Seat(self, receiver)
        self._entering[receiver] = seat
        self._metrics.joins.inc()
        return seat

    def _seat_of(self, receiver: Receiver, seat: Seat | None) -> bool:
        """Take a receiver's seat away (or only this one); return whether it had it."""
        for group in (self.live, self._ahead, self._entering):
            held = group.get(receiver)
            if held is not None and seat in (None, held):
                del group[receiver]
                self.rewired()
                self._metrics.joins.dec()
                return True
        return False

    def settle(self, seat: Seat, seq: int) -> None:
        """Make a seat part of the stream: it has been told the state at `seq`."""
        if seat.is_settled:
            self._advance(seat, seq)
            return
        if self._entering.pop(seat.receiver, None) is not seat:
            return  # it left, or was taken out, while its page was read
        if self.head is None or not (self.live or self._ahead):
            # Nobody depends on the old head; what is still in the feed below `seq` is dropped,
            # so that those who still enter have to have read a page above it.
            if self.head is None or seq > self.head:
                self.head = seq
                for other in self._entering.values():
                    other.since = None
            self._opened.set()
        for event in seat.aside or ():
            if event.seq > seq:
                _push(seat.receiver, event)
                seq = event.seq
        seat.aside = None
        seat.is_settled = True
        seat.cursor = max(seq, seat.cursor)
        self._place(seat)

    def _advance(self, seat: Seat, seq: int) -> None:
        """Move a seat on that has joined again: what its answer holds is not sent any more."""
        if seq <= self.position_of(seat):
            return
        seat.cursor = seq
        if self.live.get(seat.receiver) is seat:
            del self.live[seat.receiver]
            self.rewired()
            self._place(seat)

    def _place(self, seat: Seat) -> None:
        assert self.head is not None  # noqa: S101 - settle has set it
        if seat.cursor > self.head:
            self._ahead[seat.receiver] = seat
        else:
            self.live[seat.receiver] = seat
            self.rewired()

    def rewired(self) -> None:
        """Look at the members anew: who they are, or how they are written to."""
        self._members = self._groups = None

    def leave(self, seat: Seat) -> None:
        """Give a seat back; the last one closes the room."""
        if self._seat_of(seat.receiver, seat) and self.is_empty:
            self._on_empty(self.session_id)

    def position_of(self, seat: Seat) -> int:
        """Return the `seq` up to which a settled seat's receiver was sent everything."""
        assert self.head is not None  # noqa: S101 - settle has set it
        if self._ahead.get(seat.receiver) is seat:
            return seat.cursor
        if self._late is not None:  # the head has moved, and some are not yet written to
            seats, start, before = self._late
            if any(late is seat for late in seats[start:]):
                return max(before, seat.cursor)
        return self.head

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in the room."""
        return not (self.live or self._ahead or self._entering)

    # Events

    def publish(self, event: RoomEvent) -> None:
        """Put a committed event into the feed; when it is full the room will read the store."""
        self._is_parked = False
        try:
            self._feed.send_nowait(event)
        except trio.WouldBlock:
            self.is_behind = True

    def deliver(self, events: Sequence[RoomEvent], limit: int, volley: Volley) -> int:
        """Send committed events with a volley if that is a small matter, else by the feed.

        Never waits. Return to how many members of the volley it writes, `limit` at most; who
        fires it counts the deliveries.
        """
        if len(self.live) <= limit and self._is_small_matter(events):
            groups, piece = self._all_groups(), Piece(self.session_id, events)
            piece.encode(groups)
            count = len(self.live)
            self.head = events[-1].seq
            self._keep_aside(events)
            if self._ahead:
                volley.fire()  # of other sessions, in the order that each one's trail tells
                for seat in list(self._ahead.values()):
                    self._send_ahead(seat, events, self.head)
            piece.give(groups, volley)
            return count
        for event in events:
            self.publish(event)
        return 0

    def _is_small_matter(self, events: Sequence[RoomEvent]) -> bool:
        """Return whether these are the next events, and nothing but the fan-out is to be done."""
        if not self._is_parked or self.is_behind or self.head is None or len(events) > ASIDE:
            return False
        seq = self.head
        for event in events:
            seq += 1
            if event.seq != seq or event.removed is not None:
                return False
        return True

    def _all_members(self) -> list[Receiver]:
        """Return who is live; the same list until somebody comes or goes."""
        if self._members is None:
            self._members = list(self.live)
        return self._members

    def _all_groups(self) -> list[Group]:
        """Return who is live, by wires; the same list until somebody comes, goes or changes."""
        if self._groups is None:
            self._groups = grouped(self.live)
        return self._groups

    def wake(self) -> None:
        """Make the room compare itself with the store, as after a lost event."""
        self.is_behind = True
        self._is_parked = False
        if self._events.statistics().current_buffer_used == 0:
            self._feed.send_nowait(None)

    async def run(self) -> None:
        """Fan events out until cancelled."""
        await self._opened.wait()
        while True:
            # One item a scheduler pass would overflow the feed in a burst: take all that waits.
            waiting = self._take_all()
            if not waiting and self._early:
                waiting = await self._await_overtaken()
            elif not waiting:
                self._is_parked = True
                waiting = [await self._events.receive(), *self._take_all()]
                self._is_parked = False
            await self._follow([event for event in waiting if event is not None])

    async def _await_overtaken(self) -> list[RoomEvent | None]:
        """Return what comes next, nothing when that does not come in time."""
        with trio.move_on_at(self._hole_until):
            return [await self._events.receive(), *self._take_all()]
        self.is_behind = True
        return []

    def _take_all(self) -> list[RoomEvent | None]:
        waiting = []
        while True:
            try:
                waiting.append(self._events.receive_nowait())
            except trio.WouldBlock:
                return waiting

    async def _follow(self, events: list[RoomEvent]) -> None:
        """Bring everybody to the last of these events, whatever is missing or doubled."""
        run: list[RoomEvent] = []
        assert self.head is not None  # noqa: S101 - opened
        reached = self.head
        for event in events:
            if event.seq == reached + 1:
                run.append(event)
                reached = event.seq
                while reached + 1 in self._early:
                    reached += 1
                    run.append(self._early.pop(reached))
            elif event.seq > reached and not self._keep_early(event):
                self.is_behind = True
                break
        if run:
            await self._fan_out(run, reached)
        while self.is_behind:
            self._early.clear()  # it is stored, as what it has overtaken
            await self._read_hole()

    def _keep_early(self, event: RoomEvent) -> bool:
        """Keep an event that has overtaken another; False when the store is to be asked now."""
        if not self._patience or len(self._early) >= ASIDE:
            return False
        if not self._early:
            self._hole_until = trio.current_time() + self._patience
        self._early[event.seq] = event
        return True

    async def _read_hole(self) -> None:
        assert self.head is not None  # noqa: S101 - opened
        self.is_behind = False
        try:
            events, reached, is_complete = await self._catch_up(self.session_id, self.head)
        except StoreError as trouble:
            log.warning(
                "catch-up failed", session=str(self.session_id), error=type(trouble).__name__
            )
            self.is_behind = True
            await trio.sleep(CATCHUP_RETRY)
            return
        self.is_behind = self.is_behind or not is_complete
        if reached > self.head:
            self._metrics.catchups.inc()
            await self._fan_out(events, reached)

    async def _fan_out(self, events: Sequence[RoomEvent], reached: int) -> None:
        """Send events to every seat and move the head; a removal ends a run for who is removed."""
        start = 0
        for index, event in enumerate(events):
            if event.removed is not None:
                is_told = event.removed != EVERYBODY  # else only by what each is told below
                await self._send(events[start : index + is_told], event.seq)
                self._remove(event)
                start = index + 1
        await self._send(events[start:], reached)

    async def _send(self, events: Sequence[RoomEvent], reached: int) -> None:
        assert self.head is not None  # noqa: S101 - opened
        if reached <= self.head:
            return
        if events and events[0].seq <= self.head:
            # The head has jumped while the store was read: nobody is left who stands below it.
            events = [event for event in events if event.seq > self.head]
        # Head and the seats off the stream move in one step with the choice of who is live.
        members, seats = self._all_members(), tuple(self.live.values())
        piece = Piece(self.session_id, events) if events else None
        if piece is not None:
            piece.encode(self._all_groups())
        self.head = reached
        self._keep_aside(events)
        for seat in list(self._ahead.values()):
            self._send_ahead(seat, events, reached)
        if piece is not None:
            await self._write(members, seats, piece)

    def _keep_aside(self, events: Sequence[RoomEvent]) -> None:
        for seat in self._entering.values():
            if seat.aside is not None:
                seat.aside.extend(events)
                if len(seat.aside) > ASIDE:
                    seat.aside = None

    async def _write(
        self, members: Sequence[Receiver], seats: Sequence[Seat], piece: Piece
    ) -> None:
        """Give every member the same bytes, of all events at once."""
        volley = Volley(self._ring)
        first = members[:CHUNK]
        piece.give(grouped(first), volley)
        given = len(first)
        for start in range(CHUNK, len(members), CHUNK):
            volley.fire()
            self._late = seats, start, piece.first - 1
            await trio.lowlevel.checkpoint()
            chunk = members[start : start + CHUNK]
            if self._members is not members:
                # Some left during a checkpoint, or came again or joined again with a newer page.
                pairs = zip(chunk, seats[start:], strict=False)
                chunk = [
                    member
                    for member, seat in pairs
                    if self.live.get(member) is seat and seat.cursor < piece.first
                ]
            piece.give(grouped(chunk), volley)
            given += len(chunk)
        volley.fire()
        self._late = None
        self._metrics.deliveries.inc(given * piece.count)

    def _send_ahead(self, seat: Seat, events: Sequence[RoomEvent], reached: int) -> None:
        for event in events:
            if event.seq > seat.cursor:
                _push(seat.receiver, event)
                seat.cursor = event.seq
        if seat.cursor <= reached:
            del self._ahead[seat.receiver]
            self.live[seat.receiver] = seat
            self.rewired()

    def _remove(self, event: RoomEvent) -> None:
        """Let a removed member's sockets go; one whose page is newer knows better."""
        is_end = event.removed == EVERYBODY
        for seat in self._entering.values():
            if is_end or seat.receiver.user_id == event.removed:
                seat.removed_at = event.seq  # its page is read again and tells
        farewell = removed_event(self.session_id, event.reason)
        gone = [
            seat.receiver
            for seat in (*self.live.values(), *self._ahead.values())
            if (is_end or seat.receiver.user_id == event.removed) and seat.cursor <= event.seq
        ]
        for receiver in gone:
            receiver.outbox.push(receiver.wire.event("session:removed", farewell))
            receiver.drop_place(self.session_id)

    def broadcast(self, name: str, data: bytes, *, but: UUID | None) -> int:
        """Send an ephemeral event to live members except one user's; return how many missed it."""
        frames: dict[Wire, bytes] = {}
        missed = 0
        for member in self.live:
            if member.user_id == but:
                continue
            wire = member.wire
            if wire not in frames:
                frames[wire] = wire.event(name, data)
            missed += not member.outbox.push_ephemeral(frames[wire])
        return missed


def _push(receiver: Receiver, event: RoomEvent) -> None:
    """Send one event to one receiver, beside the stream of the others."""
    if receiver.trail is not None:
        receiver.trail.append(Run(event.session_id, event.seq, event.seq))
        if len(receiver.trail) > TRAIL:
            receiver.trail.trim()
    receiver.outbox.push(receiver.wire.durable(event))
