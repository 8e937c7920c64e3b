"""How many may come from one address: connections, connects and handshakes.

One address may be an office, so the numbers are settings; behind `trusted_proxies` the address is
the one that they forward, for a proxy carries everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio

from chatd.addresses import Proxies, address_key
from chatd.config import Settings
from chatd.errors import Overloaded
from chatd.limits import Limiter, LocalLimiter, rate_of

RETRY_AFTER = 5.0  # seconds: somebody at that address has to go first


class Doors:
    """Counts who comes in, by address; one for a daemon.

    Args:
        limiter: whose tables count; by default one of its own.
    """

    def __init__(self, settings: Settings, limiter: Limiter | None = None) -> None:
        self.proxies = Proxies(settings.trusted_proxies)
        self._is_on = settings.rate_limits == "on"
        self._limiter = limiter or LocalLimiter(is_on=self._is_on)
        self._max = settings.max_connections_per_address
        self._connect_rate = rate_of(settings.connect_rate)
        self._handshake_rate = rate_of(settings.handshake_rate)
        self._open: dict[str, int] = {}  # of addresses with an open connection

    def connect(self, peer: str) -> None:
        """Count a new connection of a peer, unless it is a proxy of ours.

        Raises:
            Overloaded: it has as many connections as one address may.
            RateLimited: it connects too often.
        """
        if self._is_on and not self.proxies.trusts(peer):
            self.check_space(peer)
            self._limiter.check(
                "connect", (address_key(peer),), self._connect_rate, trio.current_time()
            )

    def handshake(self, address: str) -> None:
        """Count the handshake of a new socket, on a WebSocket or by polling.

        Raises:
            RateLimited: the address opens sockets too often.
        """
        self._limiter.check(
            "handshake", (address_key(address),), self._handshake_rate, trio.current_time()
        )

    def check_space(self, address: str) -> None:
        """Look whether an address may have one more.

        Raises:
            Overloaded: it may not.
        """
        if self._is_on and self._open.get(address_key(address), 0) >= self._max:
            msg = "too many connections from one address"
            raise Overloaded(msg, retry_after=RETRY_AFTER)

    def check_polling(self, address: str, peers: Sequence[str]) -> None:
        """Look whether an address may have one more session that polls.

        Args:
            peers: the addresses of all that poll now.

        Raises:
            Overloaded: it may not.
        """
        if not self._is_on or len(peers) < self._max:
            return  # nobody can have too many
        key = address_key(address)
        if sum(address_key(peer) == key for peer in peers) >= self._max:
            msg = "too many connections from one address"
            raise Overloaded(msg, retry_after=RETRY_AFTER)

    @contextmanager
    def held(self, address: str) -> Iterator[None]:
        """Keep a place of an address for the length of the block; a proxy has as many as it wants.

        What came through a proxy is held by the address behind it.
        """
        self.enter(address)
        try:
            yield
        finally:
            self.leave(address)

    def enter(self, address: str) -> None:
        """Take a place of an address; `leave` gives it back. A block for it is 400 bytes."""
        key = address_key(address)
        self._open[key] = self._open.get(key, 0) + 1

    def leave(self, address: str) -> None:
        """Give a place back."""
        key = address_key(address)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]
