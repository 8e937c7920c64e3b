"""`session:unread`: what is unread in sessions that a socket has not joined.

A committed event marks its session. After a window all marked sessions are told in one read of the
store, for all their live members at once, with absolute values: what a client missed of them does
not matter. A socket that has joined the session counts by itself and is not told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
import trio

from chatd.context import EVERYBODY, RoomEvent, Socket
from chatd.contract.reading import ReadingStore, UnreadQuestion
from chatd.errors import StoreError
from chatd.model import dumps
from chatd.nurseries.window import Window
from chatd.payloads import unread_payloads

T = TypeVar("T")
_Changed = tuple[UUID, UUID | None]  # a session, and the one member who is to be told or all

INTERVAL = 0.25  # seconds between two tellings of a session: a list that a person reads
LARGE = 200  # members above which only those who are mentioned are told: the others look in it
QUESTIONS = 1000  # of one read: some 10 ms of PostgreSQL
COUNTED = frozenset({"message:new", "message:updated", "message:deleted"})

log = structlog.get_logger("chatd.unread")


class UserSockets(Protocol):
    """What this needs of the registry of sockets."""

    def of_user(self, user_id: UUID) -> list[Socket]:
        """Return a user's live sockets."""


class Unread:
    """Tells what is unread; made by `open_unread`.

    Args:
        here: returns the users of a session who are connected, as far as it is known.
    """

    def __init__(
        self, store: ReadingStore, sockets: UserSockets, here: Callable[[UUID], Collection[UUID]]
    ) -> None:
        self._store = store
        self._sockets = sockets
        self._here = here
        # By integers: a UUID is hashed and compared in Python, 2 µs of each message.
        self.window: Window[int | tuple[int, int], _Changed] = Window(INTERVAL, self._tell)
        self._removed: set[tuple[UUID, UUID]] = set()  # since the read that is under way began
        self._is_reading = False

    def published(self, event: RoomEvent) -> None:
        """Tell the members of a session soon, when this event changes what they have unread."""
        if event.removed is not None and self._is_reading:
            self._removed.add((event.session_id, event.removed))
        if event.name in COUNTED:
            session_id = event.session_id
            self.window.put(session_id.int, (session_id, None))

    def changed(self, session_id: UUID) -> None:
        """Tell the members of a session soon: something has changed that was not heard."""
        self.window.put(session_id.int, (session_id, None))

    def moved(self, session_id: UUID, user_id: UUID) -> None:
        """Tell one member soon: their marker has moved."""
        self.window.put((session_id.int, user_id.int), (session_id, user_id))

    async def _tell(self, changed: dict[int | tuple[int, int], _Changed]) -> None:
        questions: dict[tuple[UUID, UUID], UnreadQuestion] = {}
        for session_id, mover in changed.values():
            for user_id in self._here(session_id) if mover is None else (mover,):
                key = session_id, user_id
                if self._elsewhere(*key) and (mover is not None or key not in questions):
                    questions[key] = UnreadQuestion(*key, is_large_too=mover is not None)
        for part in _parts(questions.values(), QUESTIONS):
            try:
                self._is_reading = True
                page = await self._store.unread_states(part, large=LARGE)
            except StoreError as trouble:
                # Said again with the next change, and whole at every connect.
                log.warning("unread not told", members=len(part), error=type(trouble).__name__)
                continue
            finally:
                self._is_reading = False
                removed, self._removed = self._removed, set()
            for row, payload in unread_payloads(page):
                if not removed.isdisjoint(
                    {(row.session_id, row.user_id), (row.session_id, EVERYBODY)}
                ):
                    continue  # they were told of their end: nothing of the session follows
                data = dumps(payload)
                for socket in self._elsewhere(row.session_id, row.user_id):
                    socket.push_latest("session:unread", row.session_id, data)

    def _elsewhere(self, session_id: UUID, user_id: UUID) -> list[Socket]:
        """Return a user's sockets that have not joined a session."""
        return [s for s in self._sockets.of_user(user_id) if session_id not in s.places]


def _parts(items: Iterable[T], size: int) -> Iterable[Sequence[T]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


@asynccontextmanager
async def open_unread(
    store: ReadingStore, sockets: UserSockets, here: Callable[[UUID], Collection[UUID]]
) -> AsyncIterator[Unread]:
    """Tell for the length of the block."""
    async with trio.open_nursery() as nursery:
        unread = Unread(store, sockets, here)
        nursery.start_soon(unread.window.run)
        yield unread
        nursery.cancel_scope.cancel(reason="the daemon stops")
