"""What is said to a server: by one sender, by many in a closed loop, by many at a pace."""

from __future__ import annotations

import itertools
import time

from bench.swarm import Peer, Swarm

CONTENT = "The quick brown fox jumps over the lazy dog, twice a day and once at night. " * 2


class LoadMeter:
    """How busy this process is: near 100 % it, and not the server, sets the rates and latencies."""

    def __init__(self) -> None:
        self._started_at, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Return the wall time since the start."""
        return time.perf_counter() - self._started_at

    def busy(self) -> float:
        """Return this process's CPU time in percent of the wall time."""
        return (time.process_time() - self._cpu) / self.seconds() * 100


def fan_out(swarm: Swarm, sender: Peer, session_id: str, window: int, seconds: float) -> int:
    """Send for some seconds, never more than `window` ahead of all readers; return deliveries."""
    start, readers, sent = swarm.deliveries, len(swarm.peers), 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        arrived = (swarm.deliveries - start) // readers
        while sent - arrived < window:
            sender.send(swarm.wire.send(sent, session_id, CONTENT))
            sent += 1
        _poll_something(swarm)
    swarm.pump(lambda: swarm.deliveries - start >= sent * readers)
    return swarm.deliveries - start


def _poll_something(swarm: Swarm) -> None:
    before = swarm.deliveries
    swarm.pump(lambda: swarm.deliveries > before)


class Senders:
    """One sender a session; `latencies` are those of the last run, in seconds from send to ack."""

    def __init__(self, swarm: Swarm, places: list[tuple[Peer, str]]) -> None:
        self._swarm = swarm
        self._places = places
        self._sent_at: dict[int, tuple[Peer, str, float]] = {}
        self._ids = itertools.count()
        self._is_open = False
        self.latencies: list[float] = []
        for peer, _ in places:
            peer.answered = self._answered

    def run(self, window: int, seconds: float) -> int:
        """Keep `window` messages out in each session; return how many were stored in the end."""
        self.latencies.clear()
        self._is_open = True
        deadline = time.perf_counter() + seconds
        first = self._swarm.deliveries
        for peer, session_id in self._places * window:
            self._send(peer, session_id)
        self._swarm.pump(lambda: time.perf_counter() >= deadline)
        self._is_open = False
        return self._stored(first)

    def pace(self, rate: float, seconds: float) -> int:
        """Send `rate` messages a second, one session after the other, whatever the server does.

        Returns how many were stored, all of them. A latency counts from the moment of sending,
        which is up to 1 ms late: epoll_wait(2) counts in milliseconds.
        """
        self.latencies.clear()
        first, started_at = self._swarm.deliveries, time.perf_counter()
        for number in range(int(rate * seconds)):
            due_at = started_at + number / rate
            self._swarm.poll(0)
            while (left := due_at - time.perf_counter()) > 0:
                self._swarm.poll(left)
            self._send(*self._places[number % len(self._places)])
        return self._stored(first)

    def _stored(self, first: int) -> int:
        """Wait for every ack and every delivery, and return the number of acks."""
        swarm, wanted = self._swarm, len(self._swarm.peers) // len(self._places)
        swarm.pump(
            lambda: not self._sent_at and swarm.deliveries - first >= len(self.latencies) * wanted
        )
        return len(self.latencies)

    def _send(self, peer: Peer, session_id: str) -> None:
        request_id = next(self._ids)
        self._sent_at[request_id] = (peer, session_id, time.perf_counter())
        peer.send(self._swarm.wire.send(request_id, session_id, CONTENT))

    def _answered(self, request_id: int, at: float) -> None:
        peer, session_id, sent_at = self._sent_at.pop(request_id)
        self.latencies.append(at - sent_at)
        if self._is_open:
            self._send(peer, session_id)


def quantile_ms(latencies: list[float], part: float) -> float:
    """Return a quantile of some seconds, in milliseconds."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000
