"""Who types where. The server owns the expiry: nobody types for ever because a client died."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

import trio

from chatd.model import dumps


class Broadcast(Protocol):
    """Sends an event to everybody joined in a session except one user."""

    def __call__(self, session_id: UUID, name: str, data: bytes, *, but: UUID | None) -> None:
        """Send now; never waits."""


class TypingRelay(Protocol):
    """Tells other daemons who types; never waits."""

    def __call__(self, session_id: UUID, user_id: UUID, *, is_typing: bool) -> None:
        """Tell of a start, a renewal or an end."""


class Typing:
    """See `chatd.context.Typing`; made by `open_typing`."""

    def __init__(self, nursery: trio.Nursery, expiry: float, broadcast: Broadcast) -> None:
        self._nursery = nursery
        self._expiry = expiry
        self._broadcast = broadcast
        self._scopes: dict[tuple[UUID, UUID], trio.CancelScope] = {}
        self._elsewhere: set[tuple[UUID, UUID]] = set()  # of these, those of other daemons
        self.relay: TypingRelay | None = None

    def start(self, session_id: UUID, user_id: UUID) -> None:
        """Begin, or renew: the expiry counts from the last start."""
        self.started(session_id, user_id, is_here=True)
        if self.relay is not None:
            self.relay(session_id, user_id, is_typing=True)

    def started(self, session_id: UUID, user_id: UUID, *, is_here: bool) -> None:
        """Tell here that somebody types, also at another daemon: then too it has an end."""
        key = session_id, user_id
        if is_here:
            self._elsewhere.discard(key)
        elif key not in self._scopes:
            self._elsewhere.add(key)
        scope = self._scopes.get(key)
        if scope is None:
            scope = self._scopes[key] = trio.CancelScope()
            self._nursery.start_soon(self._expire, key, scope)
        scope.deadline = trio.current_time() + self._expiry
        self._tell(key, is_typing=True)

    def stop(self, session_id: UUID, user_id: UUID) -> None:
        """End, when the user types there."""
        if self.stopped(session_id, user_id) and self.relay is not None:
            self.relay(session_id, user_id, is_typing=False)

    def stopped(self, session_id: UUID, user_id: UUID) -> bool:
        """Tell here that somebody types no more; return whether they did."""
        key = session_id, user_id
        scope = self._scopes.pop(key, None)
        if scope is None:
            return False
        self._elsewhere.discard(key)
        scope.cancel(reason="stopped typing")
        self._tell(key, is_typing=False)
        return True

    def stop_everywhere(self, user_id: UUID) -> None:
        """End all typing of a user who is gone from here."""
        for session_id, typer in list(self._scopes):
            if typer == user_id and (session_id, typer) not in self._elsewhere:
                self.stop(session_id, user_id)

    def typers(self, session_id: UUID) -> list[UUID]:
        """Return who types in a session."""
        return [user_id for session, user_id in self._scopes if session == session_id]

    async def _expire(self, key: tuple[UUID, UUID], scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep_forever()
        if self._scopes.get(key) is not scope:
            return  # a stop, not the deadline
        if key in self._elsewhere:  # a renewal was lost, perhaps here alone
            self.stopped(*key)
        else:
            self.stop(*key)

    def _tell(self, key: tuple[UUID, UUID], *, is_typing: bool) -> None:
        payload = {
            "sessionId": key[0],
            "userId": key[1],
            "isTyping": is_typing,
            "expiresInMs": round(self._expiry * 1000) if is_typing else 0,
        }
        self._broadcast(key[0], "user:typing", dumps(payload), but=key[1])


@asynccontextmanager
async def open_typing(expiry: float, broadcast: Broadcast) -> AsyncIterator[Typing]:
    """Run the expiries for the length of the block."""
    async with trio.open_nursery() as nursery:
        yield Typing(nursery, expiry, broadcast)
        nursery.cancel_scope.cancel(reason="the daemon stops")
