"""How far this daemon has heard each session of its people: what a lost frame is found by.

Sessions that somebody here has joined compare themselves every few seconds (`Rooms`). Of the others
a lost event would leave a number unread too small; they are compared when something may have been
lost, and now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import structlog
import trio

from chatd.context import RoomEvent
from chatd.contract import Store
from chatd.errors import StoreError
from chatd.nurseries.rooms import Rooms
from chatd.nurseries.window import Window
from chatd.rows import PositionRow

AT_ONCE = 500  # sessions of one read: a millisecond of PostgreSQL
SETTLE_AFTER = 0.02  # seconds: who connects begins to hear fifty sessions in a step
INTERVAL = 30.0  # seconds between two comparisons of all

log = structlog.get_logger("chatd.cluster")


class Heads:
    """Compares; `window.run` and `run` are tasks.

    Args:
        interests: returns the sessions of which somebody is here.
        on_change: told a session of which something was not heard.
    """

    def __init__(
        self,
        store: Store,
        rooms: Rooms,
        interests: Callable[[], Sequence[UUID]],
        on_change: Callable[[UUID], None],
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._interests = interests
        self._on_change = on_change
        self._heard: dict[int, int] = {}
        self.window: Window[UUID, None] = Window(SETTLE_AFTER, self._compare_window)

    def saw(self, events: Iterable[RoomEvent]) -> None:
        """Take note of events of known sessions that were published here or heard."""
        heard = self._heard
        for event in events:
            key = event.session_id.int
            if heard.get(key, event.seq) < event.seq:
                heard[key] = event.seq

    def stands(self, positions: Iterable[PositionRow]) -> None:
        """Take note of what somebody who connects has read."""
        heard = self._heard
        for position in positions:
            known = heard.setdefault(position.session_id.int, position.seq)
            if known < position.seq:  # others here may not have heard of it
                self.begin(position.session_id)

    def forget(self, session_id: UUID) -> None:
        """Nobody of this session is here any more."""
        self._heard.pop(session_id.int, None)

    def begin(self, session_id: UUID) -> None:
        """From now on a session's events are heard: compare what came before, soon."""
        self.window.put(session_id, None)

    async def _compare_window(self, sessions: dict[UUID, None]) -> None:
        await self.compare(list(sessions))

    async def compare(self, session_ids: Sequence[UUID]) -> None:
        """Find out of which of these sessions something was lost, and have that made up for."""
        for start in range(0, len(session_ids), AT_ONCE):
            part = session_ids[start : start + AT_ONCE]
            before = {session_id: self._heard.get(session_id.int, 0) for session_id in part}
            try:
                heads = await self._store.heads(part)
            except StoreError as trouble:
                log.warning("sessions not compared", error=type(trouble).__name__)
                return
            self._rooms.compare(heads, part)
            for session_id, known in before.items():
                head = heads.get(session_id)
                if head is not None and known < head:
                    self._heard[session_id.int] = max(head, self._heard.get(session_id.int, 0))
                    self._on_change(session_id)

    async def compare_all(self) -> None:
        """Compare everything of which somebody is here, and forget the rest."""
        sessions = self._interests()
        heard = self._heard
        kept = ((session_id.int, heard.get(session_id.int)) for session_id in sessions)
        self._heard = {key: seq for key, seq in kept if seq is not None}
        await self.compare(sessions)

    async def run(self) -> None:
        """Compare now and then, until cancelled."""
        while True:
            await trio.sleep(INTERVAL)
            await self.compare_all()
