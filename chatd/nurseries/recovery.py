"""Connection state recovery: what a Socket.IO client that comes back with its `pid` is given.

State is known of live connections too: a client that notices a dead link first comes back while the
old connection still looks alive, and takes it over (socket.io issue 4880). It is taken once: of two
that return with the same `pid` one gets it. At the stop it is written to the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

import trio

from chatd.ids import random_text

PID_BYTES = 18  # 144 random bits
PER_OWNER = 20  # states of one user: twice the sockets that one may have
MAX_SAVED = 10_000  # of clients that went; one is some KiB, the oldest is forgotten first
FEUD = 10.0  # seconds after a takeover in which the one that was replaced does not get it back

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Holder(Protocol[S_co]):
    """A live connection that has a `pid`."""

    def has_told(self, offset: object) -> bool:
        """Return whether a client with this offset has heard this very connection."""

    def surrender(self) -> S_co:
        """Leave to a newer connection, at once, and return the state."""


def new_pid() -> str:
    """Return a private id: whoever shows it, and may log in as the same user, gets the state."""
    return random_text(PID_BYTES)


class _Live(NamedTuple, Generic[S]):
    holder: Holder[S]
    owner: UUID | None


class Saved(NamedTuple, Generic[S]):
    """The state of a client that went; `forget_at` is a time on Trio's clock."""

    owner: UUID | None
    forget_at: float
    state: S


class Recoveries(Generic[S]):
    """The states of one server. An owner is the user who alone may have a state.

    Args:
        seconds: how long the state of a client that went is kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._live: dict[str, _Live[S]] = {}
        self._took_over: dict[str, float] = {}  # pid -> when its live connection was replaced
        self._saved: OrderedDict[str, Saved[S]] = OrderedDict()
        self._owned: dict[UUID, list[str]] = {}  # owner -> pids that are saved, oldest first

    def opened(self, pid: str, owner: UUID | None, holder: Holder[S]) -> None:
        """Note the live connection of a `pid`."""
        self._live[pid] = _Live(holder, owner)

    def closed(self, pid: str, holder: Holder[S], state: S | None) -> None:
        """Note that a connection went, and keep its state if it may come back."""
        live = self._live.get(pid)
        if live is None or live.holder is not holder:
            return  # a newer one has it
        del self._live[pid]
        self._took_over.pop(pid, None)
        if state is not None:
            self.save(pid, live.owner, state)

    def save(self, pid: str, owner: UUID | None, state: S) -> None:
        """Keep a state for the one who comes for it."""
        self._forget()
        self._drop(pid)
        if owner is not None:
            pids = self._owned.setdefault(owner, [])
            pids.append(pid)
            if len(pids) > PER_OWNER:  # so that nobody pushes out the states of others
                self._drop(pids[0])
        self._saved[pid] = Saved(owner, trio.current_time() + self._seconds, state)

    def _drop(self, pid: str) -> None:
        saved = self._saved.pop(pid, None)
        if saved is None or saved.owner is None:
            return
        pids = self._owned[saved.owner]
        pids.remove(pid)
        if not pids:
            del self._owned[saved.owner]

    def claim(self, pid: str, owner: UUID | None, offset: object) -> S | None:
        """Take the state of a `pid`, from its live connection if there is one; once.

        Args:
            offset: what the client has heard last: it tells an honest client, whose link was cut
                again, from a second one that shows the same `pid`. Those two would replace each
                other for ever.
        """
        live = self._live.get(pid)
        if live is not None:
            return self._take_over(pid, live.holder, offset) if live.owner == owner else None
        self._forget()
        saved = self._saved.get(pid)
        if saved is None or saved.owner != owner:
            return None
        self._drop(pid)
        return saved.state

    def _take_over(self, pid: str, holder: Holder[S], offset: object) -> S | None:
        self._forget()
        if pid in self._took_over and not holder.has_told(offset):
            return None
        del self._live[pid]
        self._took_over[pid] = trio.current_time()
        return holder.surrender()

    def _forget(self) -> None:
        """Drop what is too old or too much; the oldest stand first."""
        now = trio.current_time()
        for pid in [pid for pid, at in self._took_over.items() if at <= now - FEUD]:
            del self._took_over[pid]
        while self._saved:
            pid, saved = next(iter(self._saved.items()))
            if saved.forget_at > now and len(self._saved) < MAX_SAVED:
                return
            self._drop(pid)

    def saved(self) -> Iterator[tuple[str, Saved[S]]]:
        """Yield what is kept now, with its `pid`."""
        self._forget()
        yield from self._saved.items()
