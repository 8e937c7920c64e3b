"""One receiver's place in a room, and what a room needs of a receiver."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from chatd.context import RoomEvent

if TYPE_CHECKING:
    from chatd.nurseries.room import Room


class Wire(Protocol):
    """How one wire writes events; the same object for all its connections: encoded once for all."""

    def event(self, name: str, data: bytes) -> bytes:
        """Return an event that is not kept: nobody asks for it after an interruption."""

    def durable(self, event: RoomEvent) -> bytes:
        """Return a committed event of a session."""


TRAIL = 1024  # pieces of which a connection remembers the order: 8 KiB, of events sent one by one


class Run(NamedTuple):
    """Events of one session that were sent in one piece, `first` to `last` by `seq`."""

    session_id: UUID | None  # None: `connection:ready`, where every connection begins
    first: int
    last: int


class Trail(list[Run]):
    """What one connection was sent, in its order: one returned offset tells its place everywhere.

    A list, because an empty deque has 760 bytes. Who appends calls `trim` when it is longer than
    `TRAIL`.
    """

    __slots__ = ("is_whole",)

    def __init__(self, runs: Iterable[Run] = (), *, is_whole: bool = True) -> None:
        super().__init__(runs)
        self.is_whole = is_whole  # it reaches back to the beginning of the connection

    def trim(self) -> None:
        """Forget the older half."""
        del self[: TRAIL // 2]
        self.is_whole = False


class Sink(Protocol):
    """What a room needs of an outbox."""

    @property
    def direct(self) -> int:
        """The descriptor that bytes may be written to at once; -1 when they have to wait."""

    def was_written(self, result: int, data: bytes, frames: int = 1) -> None:
        """Go on behind such a write: of `result` bytes, or a negative errno."""

    def push(self, data: bytes, frames: int = 1) -> None:
        """Send durable bytes; never waits."""

    def push_ephemeral(self, data: bytes) -> bool:
        """Send bytes that a slow client can do without; return whether they were taken."""


class Receiver(Protocol):
    """What a room needs of a connection."""

    @property
    def outbox(self) -> Sink:
        """Where its frames go."""

    @property
    def wire(self) -> Wire:
        """How its wire writes events."""

    @property
    def trail(self) -> Trail | None:
        """Where to note what it was sent; None when nobody will ask."""

    @property
    def user_id(self) -> UUID:
        """Whose connection it is."""

    def drop_place(self, session_id: UUID) -> None:
        """The room has let go of this connection."""


class Seat:
    """One receiver's place in one room."""

    __slots__ = ("_room", "aside", "cursor", "is_settled", "receiver", "removed_at", "since")

    def __init__(self, room: Room, receiver: Receiver) -> None:
        self._room = room
        self.receiver = receiver
        self.cursor = -1  # meaningful once settled and while ahead of the room
        self.aside: list[RoomEvent] | None = []  # None: overflowed, or no longer needed
        self.since = room.head  # everything that was fanned out above this is in `aside`
        self.is_settled = False
        self.removed_at = -1  # the member was taken out at this `seq`, while its page was read

    def covers(self, seq: int) -> bool:
        """Return whether a page read at `seq` joins the stream. See `chatd.context.Place`."""
        head = self._room.head
        if self.is_settled:  # joined again: nothing that it was sent may be above its answer
            return head is None or seq >= head
        if self.aside is None:
            self.aside, self.since = [], self._room.head
            return False
        if seq < self.removed_at:
            return False
        return head is None or seq >= head or (self.since is not None and self.since <= seq)

    def settle(self, seq: int) -> None:
        """Let everything above `seq` follow. See `chatd.context.Place`."""
        self._room.settle(self, seq)

    @property
    def position(self) -> int | None:
        """The `seq` up to which the receiver was sent everything; None before it is settled."""
        return self._room.position_of(self) if self.is_settled else None

    def rewired(self) -> None:
        """Write in another way from now on. See `chatd.context.Place`."""
        self._room.rewired()

    def leave(self) -> None:
        """Stop the stream. See `chatd.context.Place`."""
        self._room.leave(self)
