"""The heartbeat of one connection: pings, the silence timeout, and one other deadline.

One task watches over all of them, because a task costs an idle connection 2 KiB.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import trio

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.model import dumps, iso_or_none
from chatd.tokens import Identity


class Beating(Protocol):
    """What a heartbeat needs of its connection."""

    @property
    def heard(self) -> float:
        """When the peer last gave a sign of life, on Trio's clock."""

    def ping(self) -> None:
        """Ask the peer for a sign of life; never waits."""

    def cut(self, code: CloseCode) -> None:
        """End the connection."""


class Alarm(Protocol):
    """Another deadline of a connection."""

    @property
    def due(self) -> float:
        """When to ring, on Trio's clock; `math.inf` for never."""

    def ring(self) -> None:
        """Do what is due; never waits."""


class Heartbeat:
    """Keeps one connection honest; `run` is a task of its nursery.

    Args:
        interval: seconds of silence until a ping.
        timeout: seconds for its answer; anything that is heard is one.
        is_steady: ping at every interval, silent or not: Engine.IO's clients leave a server that
            does not ping them.
    """

    __slots__ = ("_alarm", "_beat", "_connection", "_interval", "_is_steady", "_sleep", "_timeout")

    def __init__(
        self, connection: Beating, interval: float, timeout: float, *, is_steady: bool = False
    ) -> None:
        self._connection = connection
        self._interval = interval
        self._timeout = timeout
        self._is_steady = is_steady
        self._alarm: Alarm | None = None
        self._beat = math.inf  # when the next ping, or the end of its timeout, is due
        self._sleep: trio.CancelScope | None = None

    def watch(self, alarm: Alarm | None) -> None:
        """Watch over this deadline too, in place of an earlier one."""
        self._alarm = alarm
        if self._sleep is not None:  # also when it is later: to wake for nothing costs more
            due = min(self._beat, self._alarm_due())
            if due != self._sleep.deadline:
                self._sleep.deadline = due

    def _alarm_due(self) -> float:
        return math.inf if self._alarm is None else self._alarm.due

    async def run(self) -> None:
        """Ping a silent peer, cut a lost one, ring the alarm when it is due; until cancelled."""
        pinged: float | None = None
        last = trio.current_time()
        while True:
            base = last if self._is_steady else self._connection.heard
            self._beat = base + self._interval if pinged is None else pinged + self._timeout
            await self._sleep_until(min(self._beat, self._alarm_due()))
            now = trio.current_time()
            if now >= self._alarm_due():
                assert self._alarm is not None  # noqa: S101 - nothing is due at infinity
                self._alarm.ring()
            heard = self._connection.heard
            if pinged is not None and heard >= pinged:
                pinged = None
            elif pinged is not None and now >= pinged + self._timeout:
                self._connection.cut(CloseCode.HEARTBEAT_LOST)
                return
            elif pinged is None and now >= (last if self._is_steady else heard) + self._interval:
                self._connection.ping()
                pinged = last = now

    async def _sleep_until(self, deadline: float) -> None:
        with trio.CancelScope(deadline=deadline) as self._sleep:
            await trio.sleep_forever()
        self._sleep = None


class Pushing(Protocol):
    """What the end of a token needs of its socket."""

    def push(self, name: str, data: bytes) -> None:
        """Send an event; never waits."""

    def cut(self, code: CloseCode) -> None:
        """End the connection."""


class TokenAlarm:
    """Warns of the end of a socket's access token, and cuts the socket some time after it.

    An API token is not renewed: its end is that of its sockets, and they are to stay away.
    """

    __slots__ = ("_expires", "_identity", "_is_warned", "_now", "_settings", "_socket")

    def __init__(
        self, socket: Pushing, settings: Settings, now: Callable[[], datetime], identity: Identity
    ) -> None:
        self._socket = socket
        self._settings = settings
        self._now = now
        self.follow(identity)

    def follow(self, identity: Identity) -> None:
        """Watch over this token from now on."""
        self._identity = identity
        left = identity.expires_at - self._now().timestamp()
        self._expires = trio.current_time() + left
        self._is_warned = False

    @property
    def due(self) -> float:
        """When to warn, or to cut. See `Alarm`."""
        if self._identity.scopes is not None:
            return self._expires
        if not self._is_warned:
            return self._expires - self._settings.token_expiry_warning
        return self._expires + self._settings.token_expiry_grace

    def ring(self) -> None:
        """Warn, the second time cut. See `Alarm`."""
        if self._identity.scopes is not None:
            self._socket.cut(CloseCode.REVOKED)
            return
        if self._is_warned:
            self._socket.cut(CloseCode.TOKEN_EXPIRED)
            return
        self._is_warned = True
        left = max(0.0, self._expires - trio.current_time())
        warning = {"expiresAt": iso_or_none(self._identity.ends_at), "inMs": round(left * 1000)}
        self._socket.push("auth:expiring", dumps(warning))
