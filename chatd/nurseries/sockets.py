"""The registry of live sockets: by user and by login; revocation and the drain go through it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.errors import CloseCode


class Cuttable(Socket, Protocol):
    """A socket that the daemon can end."""

    def cut(self, code: CloseCode) -> None:
        """End this connection, with a goodbye where the outbox allows; twice is once."""


class Sockets:
    """See `chatd.context.Sockets`.

    Args:
        per_user: live sockets that one user may have.
        token_ttl: seconds for which a revoked login's access tokens may still be alive.
    """

    def __init__(self, *, per_user: int, token_ttl: float) -> None:
        self._per_user = per_user
        self._token_ttl = token_ttl
        self._by_user: dict[UUID, list[Cuttable]] = {}
        self._by_family: dict[UUID, list[Cuttable]] = {}
        self._revoked: dict[UUID, float] = {}  # family -> time on Trio's clock to forget it

    def add(self, socket: Cuttable) -> bool:
        """Register a socket; False when its user has too many."""
        sockets = self._by_user.setdefault(socket.identity.user_id, [])
        if len(sockets) >= self._per_user:
            return False
        sockets.append(socket)
        self._by_family.setdefault(socket.identity.family_id, []).append(socket)
        return True

    def remove(self, socket: Cuttable) -> None:
        """Forget a socket."""
        _discard(self._by_user, socket.identity.user_id, socket)
        _discard(self._by_family, socket.identity.family_id, socket)

    def of_user(self, user_id: UUID) -> list[Socket]:
        """Return a user's live sockets."""
        return list(self._by_user.get(user_id, ()))

    def all(self) -> list[Cuttable]:
        """Return every live socket."""
        return [socket for sockets in self._by_user.values() for socket in sockets]

    def cut_families(self, family_ids: Iterable[UUID], code: CloseCode) -> None:
        """End all sockets of these logins, and refuse their access tokens from now on."""
        now = trio.current_time()
        # Oldest first: a dict keeps the order of insertion.
        for family_id, forget_at in list(self._revoked.items()):
            if forget_at > now:
                break
            del self._revoked[family_id]
        for family_id in family_ids:
            self._revoked.pop(family_id, None)
            self._revoked[family_id] = now + self._token_ttl
            for socket in list(self._by_family.get(family_id, ())):
                socket.cut(code)

    def is_revoked(self, family_id: UUID) -> bool:
        """Return whether a login was revoked while its access tokens may still be alive."""
        return family_id in self._revoked

    async def drain(self, seconds: float, rng: random.Random) -> None:
        """End all sockets in random order, evenly over `seconds`: they do not return at once."""
        sockets = self.all()
        rng.shuffle(sockets)
        start = trio.current_time()
        for index, socket in enumerate(sockets):
            await trio.sleep_until(start + seconds * index / len(sockets))
            socket.cut(CloseCode.DRAINING)


def _discard(index: dict[UUID, list[Cuttable]], key: UUID, socket: Cuttable) -> None:
    sockets = index.get(key)
    if sockets is not None and socket in sockets:
        sockets.remove(socket)
        if not sockets:
            del index[key]
