"""Logins: whether they tell which addresses have an account, and what a flood does to others.

With the cost of a password hash that is the default, and without rates: they would stop a flood
from one address ahead of the queue of hashes, which is what is measured.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.accounting import main_thread_time
from bench.daemon import Server, started
from bench.flood import running
from bench.people import Rest
from bench.plan import Bench, Figure
from bench.senders import LoadMeter, Senders, quantile_ms

SETTINGS = {"CHATD_BCRYPT_ROUNDS": "12"}
FLOOD_RATE = 200.0  # logins a second
PACE = 50.0  # messages a second of who is there already
KNOWN, UNKNOWN = "known@example.org", "unknown@example.org"
PASSWORD = "correct horse battery"


def login(bench: Bench) -> Iterator[Figure]:
    """Time of a refusal for an address with and without an account; a flood."""
    with started(SETTINGS) as server:
        yield from _enumeration(server, bench.scale.login_tries)
        yield from _flood(server, bench)


def _enumeration(server: Server, tries: int) -> Iterator[Figure]:
    """Ask in turns, so that whatever else the machine does meets both."""
    rest = Rest(server)
    rest.call("POST", "/auth/register", {"email": KNOWN, "password": PASSWORD})
    rest.close()
    took: dict[str, list[float]] = {KNOWN: [], UNKNOWN: []}
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    for _ in range(tries):
        for address, times in took.items():
            times.append(_refused(connection, address) * 1000)
    connection.close()
    yield Figure("login refused, known address", "ms", took[KNOWN])
    yield Figure("login refused, unknown address", "ms", took[UNKNOWN])


def _refused(connection: http.client.HTTPConnection, address: str) -> float:
    body = json.dumps({"email": address, "password": "wrong horse battery"})
    began = time.perf_counter()
    connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    took = time.perf_counter() - began
    assert answer.status == http.client.UNAUTHORIZED, answer.status
    return took


def _flood(server: Server, bench: Bench) -> Iterator[Figure]:
    """Send at a pace in one session: without the flood, with it, and with it at another daemon.

    The last is what the flood takes from everybody who shares the cores; what this daemon's own
    people lose beyond that is the daemon's.
    """
    bench.server = server
    rest = Rest(server)
    people = rest.people(1)
    session_id = rest.session(people)
    rest.close()
    seconds = bench.scale.flood_seconds
    calm, flooded, beside = Calm(), Calm(), Calm()
    statuses: Counter[str] = Counter()
    with started(SETTINGS) as other, bench.swarm() as swarm:
        peers = swarm.connect([people[0].token])
        swarm.join(peers, session_id)
        swarm.settle()
        senders = Senders(swarm, [(peers[0], session_id)])
        senders.pace(PACE, 1)  # warm
        for _ in range(bench.scale.flood_rounds):
            calm.measure(server, senders, seconds)
            with running(server, "logins", FLOOD_RATE, seconds) as answered:
                flooded.measure(server, senders, seconds)
            statuses.update(answered[0])
            with running(other, "logins", FLOOD_RATE, seconds):
                beside.measure(server, senders, seconds)
    yield from calm.figures("")
    yield from flooded.figures(", 200 logins/s")
    yield from beside.figures(", 200 logins/s elsewhere")
    share = 100 / statuses.total()
    yield Figure("flood, 503 with Retry-After", "%", [statuses.pop("503 later", 0) * share])
    yield Figure("flood, hashed", "%", [statuses.pop("401", 0) * share])
    yield Figure("flood, answered otherwise or not at all", "%", [statuses.total() * share])


@dataclass
class Calm:
    """What somebody sees who is there already, one value a round."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    ran: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    def measure(self, server: Server, senders: Senders, seconds: float) -> None:
        """Send at a pace, and ask what needs no store, for some seconds."""
        before, load = main_thread_time(server.pid), LoadMeter()
        with running(server, "probe", seconds) as probed:
            senders.pace(PACE, seconds)
        used = main_thread_time(server.pid) - before
        self.ran.append(used.ran / load.seconds() * 100)
        self.waited.append(used.waited / load.seconds() * 100)
        self.p50.append(quantile_ms(senders.latencies, 0.5))
        self.p99.append(quantile_ms(senders.latencies, 0.99))
        self.lag.append(quantile_ms(probed[0], 0.99))

    def figures(self, when: str) -> Iterator[Figure]:
        """Return them, named for what went on meanwhile."""
        yield Figure(f"ack p50 at 50 messages/s{when}", "ms", self.p50)
        yield Figure(f"ack p99 at 50 messages/s{when}", "ms", self.p99)
        yield Figure(f"answer of /healthz, p99{when}", "ms", self.lag)
        yield Figure(f"  event loop at work{when}", "%", self.ran)
        yield Figure(f"  event loop kept from a core{when}", "%", self.waited)
