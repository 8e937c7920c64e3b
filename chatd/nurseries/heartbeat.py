"""The heartbeat of one connection: pings, the silence timeout, and the end of its access token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import trio

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.model import dumps, iso
from chatd.tokens import Identity


class Beating(Protocol):
    """What a heartbeat needs of its connection."""

    @property
    def heard(self) -> float:
        """When the peer last gave a sign of life, on Trio's clock."""

    def ping(self) -> None:
        """Ask the peer for a sign of life; never waits."""

    def push(self, name: str, data: bytes) -> None:
        """Send an event; never waits."""

    def cut(self, code: CloseCode) -> None:
        """End the connection."""


@dataclass(slots=True)
class Heartbeat:
    """Keeps one connection honest; `run` is a task of its nursery."""

    connection: Beating
    settings: Settings
    now: Callable[[], datetime]
    expires_at: datetime | None = None
    _expires: float = 0.0  # on Trio's clock
    _is_warned: bool = False

    def follow(self, identity: Identity) -> None:
        """Watch over this token from now on."""
        self.expires_at = datetime.fromtimestamp(identity.expires_at, UTC)
        left = identity.expires_at - self.now().timestamp()
        self._expires = trio.current_time() + left
        self._is_warned = False

    async def run(self) -> None:
        """Ping a silent peer, cut a lost one, warn of the token's end and cut after it."""
        pinged: float | None = None
        interval, timeout = self.settings.ping_interval, self.settings.ping_timeout
        while True:
            heard = self.connection.heard
            due = heard + interval if pinged is None else pinged + timeout
            await trio.sleep_until(min(due, self._token_due()))
            now = trio.current_time()
            if now >= self._token_due():
                if self._is_warned:
                    self.connection.cut(CloseCode.TOKEN_EXPIRED)
                    return
                self._warn()
            heard = self.connection.heard
            if pinged is not None and heard >= pinged:
                pinged = None
            elif pinged is not None and now >= pinged + timeout:
                self.connection.cut(CloseCode.HEARTBEAT_LOST)
                return
            elif pinged is None and now >= heard + interval:
                self.connection.ping()
                pinged = now

    def _token_due(self) -> float:
        if not self._is_warned:
            return self._expires - self.settings.token_expiry_warning
        return self._expires + self.settings.token_expiry_grace

    def _warn(self) -> None:
        self._is_warned = True
        left = max(0.0, self._expires - trio.current_time())
        expires_at = self.expires_at and iso(self.expires_at)
        warning = {"expiresAt": expires_at, "inMs": round(left * 1000)}
        self.connection.push("auth:expiring", dumps(warning))
