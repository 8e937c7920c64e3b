"""`message:read`: how far somebody has read, told to their own devices and to those who joined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import trio

from chatd.context import MarkerMove, Socket
from chatd.model import dumps, iso
from chatd.nurseries.sockets import Sockets
from chatd.nurseries.typing import Broadcast
from chatd.nurseries.window import Window

INTERVAL = 0.5  # seconds between two tellings of a reader in a session
MEMBERS = 100  # above this the others are not told: nobody looks at a hundred ticks


class Readers:
    """See `chatd.context.Readers`; made by `open_readers`.

    Args:
        changed: told session and user whose counts have changed, for sockets elsewhere.
    """

    def __init__(
        self,
        sockets: Sockets,
        broadcast: Broadcast,
        changed: Callable[[UUID, UUID], None],
    ) -> None:
        self._sockets = sockets
        self._broadcast = broadcast
        self._changed = changed
        self.relay: Callable[[UUID, UUID, bytes], None] | None = None  # to other daemons
        self.window: Window[tuple[UUID, UUID], dict[str, Any]] = Window(INTERVAL, self._tell)

    def moved(self, move: MarkerMove, *, by: Socket | None) -> None:
        """Tell the reader's other devices at once, the others soon. See `chatd.context.Readers`."""
        row, user_id = move.row, move.user_id
        payload = {
            "sessionId": row.session_id,
            "userId": user_id,
            "seq": row.last_read_seq,
            "readAt": iso(move.at),
        }
        own = dumps(
            payload
            | {
                "unreadCount": row.unread_count,
                "mentionCount": row.mention_count,
                "markedUnread": move.is_marked,
            }
        )
        self._sockets.tell_here(user_id, "message:read", own, but=by)
        self._changed(row.session_id, user_id)
        if self.relay is not None:
            self.relay(row.session_id, user_id, own)
        if row.is_moved and not move.is_private and row.member_count <= MEMBERS:
            self.window.put((row.session_id, user_id), payload)

    def heard(self, session_id: UUID, user_id: UUID, own: bytes) -> None:
        """Tell a reader's devices here of a marker that has moved at another daemon."""
        self._sockets.tell_here(user_id, "message:read", own)
        self._changed(session_id, user_id)

    async def _tell(self, moves: dict[tuple[UUID, UUID], dict[str, Any]]) -> None:
        for (session_id, user_id), payload in moves.items():
            self._broadcast(session_id, "message:read", dumps(payload), but=user_id)
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_readers(
    sockets: Sockets, broadcast: Broadcast, changed: Callable[[UUID, UUID], None]
) -> AsyncIterator[Readers]:
    """Tell for the length of the block."""
    async with trio.open_nursery() as nursery:
        readers = Readers(sockets, broadcast, changed)
        nursery.start_soon(readers.window.run)
        yield readers
        nursery.cancel_scope.cancel(reason="the daemon stops")
