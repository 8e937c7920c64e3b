"""Two daemons on one database and one Redis beside one alone: what a delivery costs on each.

The rounds are told in turns, on the same PostgreSQL, and each is compared with the one beside it:
the machine is shared with others, so the ratios are the figures.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.accounting import cpu_seconds
from bench.daemon import Server, free_port, started
from bench.peers.postgres import open_databases
from bench.people import Person, Rest
from bench.plan import Bench, Figure, ratio
from bench.senders import CONTENT, Senders
from bench.swarm import Peer, Swarm

MICRO = 1e6
WINDOWS = (1, 16)
FEW, MANY = 10, 500  # sockets at the other daemon while somebody sends here
SECRET = "bench:" + "0123456789abcdef" * 4
START_TIMEOUT = 10.0  # seconds


def cluster(bench: Bench) -> Iterator[Figure]:
    """CPU per delivery, per stored message and per publication, of one daemon and of two.

    Beside both stand two daemons that know nothing of each other: what two processes on these cores
    take from each other's caches is no cost of a cluster.
    """
    with ExitStack() as stack:
        databases = stack.enter_context(open_databases())
        redis = stack.enter_context(running_redis())

        def start(name: str, **more: str) -> Server:
            settings = {
                "CHATD_SIGNING_KEYS": SECRET,
                "CHATD_DATABASE_URL": databases.conninfo(name),
                **more,
            }
            return stack.enter_context(started(settings))

        for name in ("alone", "together", "here", "there"):
            databases.create(name, is_empty=True)
        one = Site([start("alone")])
        two = Site([start("together", CHATD_REDIS_URL=redis) for _ in range(2)])
        apart = [Site([start(name)]) for name in ("here", "there")]
        yield from _deliveries(bench, one, two, apart)
        yield from _stored(bench, one, two)
        yield from _published(bench, two)


@dataclass(frozen=True)
class Site:
    """Daemons that have the same database."""

    servers: Sequence[Server]

    def cpu(self) -> float:
        """Return the CPU seconds of all of them."""
        return sum(cpu_seconds(server.pid) for server in self.servers)

    def people(self, count: int) -> list[Person]:
        """Register people."""
        rest = Rest(self.servers[0])
        try:
            return rest.people(count)
        finally:
            rest.close()

    def session(self, people: Sequence[Person]) -> str:
        """Create a session."""
        rest = Rest(self.servers[0])
        try:
            return rest.session(people)
        finally:
            rest.close()

    def connect(self, swarm: Swarm, tokens: Sequence[str]) -> list[Peer]:
        """Connect one peer a token, spread evenly over the daemons."""
        count = len(self.servers)
        peers = []
        for number, server in enumerate(self.servers):
            peers += swarm.connect(tokens[number::count], server.address)
        return peers


class Hall:
    """One session at each of some sites; what is said is said in all of them at once."""

    def __init__(self, bench: Bench, sites: Sequence[Site], sockets_each: int) -> None:
        self.swarm = Swarm(bench.make_wire(), sites[0].servers[0].address)
        self._sites = sites
        self._senders: list[tuple[Peer, str]] = []
        for site in sites:
            people = site.people(bench.scale.people)
            session_id = site.session(people)
            tokens = [person.token for person in people for _ in range(sockets_each)]
            peers = site.connect(self.swarm, tokens)
            self.swarm.join(peers, session_id)
            self._senders.append((peers[0], session_id))
        self.swarm.settle()

    def measure(self, window: int, seconds: float) -> float:
        """Send for some seconds, `window` ahead of all readers; return the CPU µs of a delivery."""
        swarm = self.swarm
        swarm.settle(0.05)
        before = sum(site.cpu() for site in self._sites)
        start, readers, sent = swarm.deliveries, len(swarm.peers), 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            while sent - (swarm.deliveries - start) // readers < window:
                for sender, session_id in self._senders:
                    sender.send(swarm.wire.send(sent, session_id, CONTENT))
                sent += 1
            seen = swarm.deliveries
            swarm.pump(lambda seen=seen: swarm.deliveries > seen)  # type: ignore[misc]
        swarm.pump(lambda: swarm.deliveries - start >= sent * readers)
        used = sum(site.cpu() for site in self._sites) - before
        return used / (swarm.deliveries - start) * MICRO


def _deliveries(bench: Bench, one: Site, two: Site, apart: Sequence[Site]) -> Iterator[Figure]:
    """As many sockets at each of two daemons as at one, half of them at each, and two apart."""
    scale = bench.scale
    halls = {
        "one daemon": Hall(bench, [one], scale.sockets_each),
        "two daemons": Hall(bench, [two], 2 * scale.sockets_each),
        "two that are apart": Hall(bench, apart, scale.sockets_each),
        "two with half of them each": Hall(bench, [two], scale.sockets_each),
    }
    with ExitStack() as stack:
        for hall in halls.values():
            stack.enter_context(hall.swarm)
        for window in WINDOWS:
            values: dict[str, list[float]] = {name: [] for name in halls}
            for number in range(2 * scale.rounds + 1):
                for name, hall in halls.items():
                    value = hall.measure(window, scale.seconds / 2)
                    if number:  # the first round warms up
                        values[name].append(value)
            what = f"delivery, window {window}"
            for name, each in values.items():
                yield Figure(f"{what}, {name}", "CPU µs", each)
            of_one, *others = values.values()
            for name, each in zip(["two", "apart", "half"], others, strict=True):
                yield ratio(f"{what}, {name} / one", each, of_one)


def _stored(bench: Bench, one: Site, two: Site) -> Iterator[Figure]:
    """Many sessions of ten sockets, half of them at each daemon."""
    scale = bench.scale
    with Swarm(bench.make_wire(), ("", 0)) as alone, Swarm(bench.make_wire(), ("", 0)) as both:
        senders = []
        for site, swarm in ((one, alone), (two, both)):
            people = site.people(scale.sessions)
            places = []
            for person in people:
                session_id = site.session([person])
                peers = site.connect(swarm, [person.token] * scale.sockets_each)
                swarm.join(peers, session_id)
                places.append((peers[0], session_id))
            swarm.settle()
            senders.append((site, Senders(swarm, places)))
        values: list[list[float]] = [[], []]
        for number in range(scale.rounds + 1):
            for index, (site, crowd) in enumerate(senders):
                before = site.cpu()
                count = crowd.run(1, scale.seconds)
                if number:
                    values[index].append((site.cpu() - before) / count * MICRO)
        yield Figure("stored message, one daemon", "CPU µs", values[0])
        yield Figure("stored message, two daemons", "CPU µs", values[1])
        yield ratio("stored message, two / one", values[1], values[0])


def _published(bench: Bench, two: Site) -> Iterator[Figure]:
    """What it costs a daemon to store and publish, with few and many members at the other one."""
    scale = bench.scale
    here, there = two.servers
    rest = Rest(here)
    values: dict[int, list[float]] = {FEW: [], MANY: []}
    with ExitStack() as stack:
        halls = []
        for sockets in values:
            people = two.people(scale.people + 1)
            session_id = two.session(people)
            swarm = stack.enter_context(Swarm(bench.make_wire(), there.address))
            tokens = [people[1 + number % scale.people].token for number in range(sockets)]
            swarm.join(swarm.connect(tokens), session_id)
            swarm.settle()
            halls.append((sockets, swarm, f"/chat/sessions/{session_id}/messages", people[0].token))
        for number in range(scale.rounds + 1):
            for sockets, swarm, path, token in halls:
                before = cpu_seconds(here.pid)
                for _ in range(scale.history_calls):
                    rest.call("POST", path, {"content": CONTENT}, token)
                used = cpu_seconds(here.pid) - before
                swarm.settle(0.05)
                if number:
                    values[sockets].append(used / scale.history_calls * MICRO)
    rest.close()
    for sockets, each in values.items():
        yield Figure(f"POST of a message, {sockets} sockets elsewhere", "CPU µs", each)
    yield ratio(f"POST of a message, {MANY} / {FEW} sockets elsewhere", values[MANY], values[FEW])


@contextmanager
def running_redis() -> Iterator[str]:
    """Run a Redis that keeps nothing for the block; yields its URL.

    Raises:
        RuntimeError: there is none on this machine.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("the bench of two daemons needs redis-server: apt-get install it")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="chatd-bench-redis-") as folder:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
        process = subprocess.Popen(
            [*command, "--dir", folder], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(START_TIMEOUT)
