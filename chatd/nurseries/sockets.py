"""The registry of live sockets: by user and by login; revocation and the drain go through it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

import trio

from chatd.context import Socket
from chatd.errors import CloseCode


class Cuttable(Socket, Protocol):
    """A socket that the daemon can end."""

    def cut(self, code: CloseCode) -> None:
        """End this connection, with a goodbye where the outbox allows; twice is once."""


class SocketRelay(Protocol):
    """Tells the other daemons of a cluster; never waits."""

    def told(
        self, user_id: UUID, name: str, data: bytes, *, outside: UUID | None, is_durable: bool
    ) -> None:
        """A user was told something. See `chatd.context.Sockets.tell`."""

    def cut(self, family_ids: Sequence[UUID], code: CloseCode) -> None:
        """Logins were ended."""

    def cut_user(self, user_id: UUID, code: CloseCode, *, kept: UUID | None) -> None:
        """All logins of a user with a live socket were ended."""

    def present(self, user_id: UUID, *, is_here: bool) -> None:
        """A user has a socket here, the first; or none any more."""


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
        self.relay: SocketRelay | None = None

    def add(self, socket: Cuttable) -> bool:
        """Register a socket; False when its user has too many."""
        sockets = self._by_user.setdefault(socket.identity.user_id, [])
        if len(sockets) >= self._per_user:
            return False
        sockets.append(socket)
        if len(sockets) == 1 and self.relay is not None:
            self.relay.present(socket.identity.user_id, is_here=True)
        self._by_family.setdefault(socket.identity.family_id, []).append(socket)
        return True

    def remove(self, socket: Cuttable) -> None:
        """Forget a socket."""
        user_id = socket.identity.user_id
        _discard(self._by_user, user_id, socket)
        if self.relay is not None and user_id not in self._by_user:
            self.relay.present(user_id, is_here=False)
        _discard(self._by_family, socket.identity.family_id, socket)

    def of_user(self, user_id: UUID) -> list[Socket]:
        """Return a user's live sockets."""
        return list(self._by_user.get(user_id, ()))

    def all(self) -> list[Cuttable]:
        """Return every live socket."""
        return [socket for sockets in self._by_user.values() for socket in sockets]

    def api_tokens(self) -> dict[UUID, set[UUID]]:
        """Return the API tokens that sockets here have come with, by their user."""
        found: dict[UUID, set[UUID]] = {}
        for socket in self.all():
            identity = socket.identity
            if identity.scopes is not None:
                found.setdefault(identity.user_id, set()).add(identity.family_id)
        return found

    def tell(
        self,
        user_id: UUID,
        name: str,
        data: bytes,
        *,
        but: Socket | None = None,
        outside: UUID | None = None,
        is_durable: bool = False,
    ) -> None:
        """Send an event to a user's sockets, at whatever daemon. See `chatd.context.Sockets`."""
        self.tell_here(user_id, name, data, but=but, outside=outside, is_durable=is_durable)
        if self.relay is not None:
            self.relay.told(user_id, name, data, outside=outside, is_durable=is_durable)

    def tell_here(
        self,
        user_id: UUID,
        name: str,
        data: bytes,
        *,
        but: Socket | None = None,
        outside: UUID | None = None,
        is_durable: bool = False,
    ) -> None:
        """Send an event to those of a user's sockets that are here."""
        for socket in self._by_user.get(user_id, ()):
            if socket is but or (outside is not None and outside in socket.places):
                continue
            if is_durable:
                socket.push(name, data)
            else:
                socket.push_ephemeral(name, data)

    def cut_families(self, family_ids: Iterable[UUID], code: CloseCode) -> None:
        """End all sockets of these logins, everywhere. See `chatd.context.Sockets`."""
        ids = list(family_ids)
        self.cut_here(ids, code)
        if self.relay is not None and ids:
            self.relay.cut(ids, code)

    def cut_user(
        self,
        user_id: UUID,
        family_ids: Iterable[UUID],
        code: CloseCode,
        *,
        kept: UUID | None = None,
    ) -> None:
        """End all logins of a user but one, everywhere. See `chatd.context.Sockets`."""
        self.cut_families(set(family_ids) - {kept}, code)
        self.cut_user_here(user_id, code, kept=kept)
        if self.relay is not None:
            self.relay.cut_user(user_id, code, kept=kept)

    def cut_user_here(self, user_id: UUID, code: CloseCode, *, kept: UUID | None) -> None:
        """End those logins of a user that have a live socket here, but one."""
        live = {
            socket.identity.family_id
            for socket in self._by_user.get(user_id, ())
            if kept is None or socket.identity.scopes is None
        }
        self.cut_here(live - {kept}, code)

    def cut_here(self, family_ids: Iterable[UUID], code: CloseCode) -> None:
        """End the sockets of these logins here, and refuse their access tokens from now on."""
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
