"""The live side of a daemon: what its people hear of each other, and what is counted of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from chatd.config import Settings
from chatd.context import Recent, RoomEvent
from chatd.contract import Store
from chatd.freshness import Freshness
from chatd.guesses import Guesses
from chatd.limits import LocalLimiter
from chatd.metrics import Metrics
from chatd.nurseries.positions import open_positions
from chatd.nurseries.presence import Presence, open_presence
from chatd.nurseries.readers import Readers, open_readers
from chatd.nurseries.rooms import Rooms, open_rooms
from chatd.nurseries.sockets import Sockets
from chatd.nurseries.typing import Typing, open_typing
from chatd.nurseries.unread import Unread, open_unread


@dataclass(slots=True)
class Parts:
    """The parts; made by `open_parts`.

    Attributes:
        freshness: what a read replica must have replayed; None when there is none.
        verified: who has proved their address lately.
        relay: tells other daemons of committed events; None when there are none.
    """

    rooms: Rooms
    typing: Typing
    presence: Presence
    sockets: Sockets
    readers: Readers
    unread: Unread
    limiter: LocalLimiter
    guesses: Guesses
    freshness: Freshness | None = None
    verified: Recent = field(default_factory=Recent)
    relay: Callable[[Sequence[RoomEvent]], None] | None = None

    def publish(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Tell of the committed events of a transaction. See `chatd.nurseries.journal.Publish`."""
        self.publish_here(events, is_answered=is_answered)
        if self.relay is not None:
            self.relay(events)

    def publish_here(self, events: Sequence[RoomEvent], *, is_answered: bool) -> None:
        """Tell those of it who are here."""
        self.rooms.publish(events, is_answered=is_answered)
        for event in events:
            self.unread.published(event)
            if self.freshness is not None:
                self.freshness.saw(event.session_id, event.seq)


@asynccontextmanager
async def open_parts(
    settings: Settings,
    store: Store,
    sockets: Sockets,
    *,
    now: Callable[[], datetime],
    metrics: Metrics,
    freshness: Freshness | None = None,
) -> AsyncIterator[Parts]:
    """Run the live side for the length of the block.

    Raises:
        StoreError: the accounts cannot be counted.
    """
    is_limited = settings.rate_limits == "on"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        rooms = await enter(open_rooms(store, settings, metrics))
        typing = await enter(open_typing(settings.typing_expiry, rooms.broadcast_here))
        presence = await enter(open_presence(store, settings, now, rooms.announce))
        unread = await enter(open_unread(store, sockets, presence.here))
        readers = await enter(open_readers(sockets, rooms.broadcast, unread.moved))
        await enter(open_positions(sockets.all, rooms.occupied))
        yield Parts(
            rooms,
            typing,
            presence,
            sockets,
            readers,
            unread,
            LocalLimiter(is_on=is_limited),
            Guesses(is_on=is_limited),
            freshness,
        )
