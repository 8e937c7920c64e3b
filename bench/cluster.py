"""Two daemons on one database and one Redis beside one alone: what a delivery costs on each.

The rounds are told in turns, on the same PostgreSQL, and each is compared with the one beside it:
the machine is shared with others, so the ratios are the figures.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.accounting import cpu_seconds
from bench.daemon import Server, free_port, started
from bench.peers.postgres import open_databases
from bench.people import Person, Rest
from bench.plan import Bench, Figure
from bench.senders import CONTENT, Senders, fan_out
from bench.swarm import Peer, Swarm

MICRO = 1e6
WINDOWS = (1, 16)
FEW, MANY = 10, 500  # sockets at the other daemon while somebody sends here
SECRET = "bench:" + "0123456789abcdef" * 4
START_TIMEOUT = 10.0  # seconds


def cluster(bench: Bench) -> Iterator[Figure]:
    """CPU per delivery, per stored message and per publication, of one daemon and of two."""
    with ExitStack() as stack:
        databases = stack.enter_context(open_databases())
        redis = stack.enter_context(running_redis())
        databases.create("alone", is_empty=True)
        databases.create("together", is_empty=True)
        keys = {"CHATD_SIGNING_KEYS": SECRET}
        alone = {**keys, "CHATD_DATABASE_URL": databases.conninfo("alone")}
        together = {
            **keys,
            "CHATD_DATABASE_URL": databases.conninfo("together"),
            "CHATD_REDIS_URL": redis,
        }
        one = Site([stack.enter_context(started(alone))])
        two = Site([stack.enter_context(started(together)) for _ in range(2)])
        yield from _deliveries(bench, one, two)
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


def _deliveries(bench: Bench, one: Site, two: Site) -> Iterator[Figure]:
    """One session whose members are spread over the daemons."""
    scale = bench.scale
    with Swarm(bench.make_wire(), ("", 0)) as alone, Swarm(bench.make_wire(), ("", 0)) as both:
        places = []
        for site, swarm in ((one, alone), (two, both)):
            people = site.people(scale.people)
            session_id = site.session(people)
            tokens = [person.token for person in people for _ in range(scale.sockets_each)]
            peers = site.connect(swarm, tokens)
            swarm.join(peers, session_id)
            swarm.settle()
            places.append((site, swarm, peers[0], session_id))
        for window in WINDOWS:
            values: list[list[float]] = [[], []]
            for number in range(2 * scale.rounds + 1):
                for index, (site, swarm, sender, session_id) in enumerate(places):
                    swarm.settle(0.05)
                    before = site.cpu()
                    count = fan_out(swarm, sender, session_id, window, scale.seconds / 2)
                    if number:  # the first round warms up
                        values[index].append((site.cpu() - before) / count * MICRO)
            yield from _compared(f"delivery, window {window}", values)


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
        yield from _compared("stored message", values)


def _compared(name: str, values: Sequence[list[float]]) -> Iterator[Figure]:
    """Return the figures of one daemon and of two, and of each round what two cost more."""
    yield Figure(f"{name}, one daemon", "CPU µs", values[0])
    yield Figure(f"{name}, two daemons", "CPU µs", values[1])
    ratios = [two / one for one, two in zip(*values, strict=True)]
    yield Figure(f"{name}, two daemons / one", "x", ratios)


def _published(bench: Bench, two: Site) -> Iterator[Figure]:
    """What it costs a daemon to store and publish, with few and many members at the other one."""
    scale = bench.scale
    here, there = two.servers
    for sockets in (FEW, MANY):
        people = two.people(min(sockets, scale.people) + 1)
        session_id = two.session(people)
        rest = Rest(here)
        path = f"/chat/sessions/{session_id}/messages"
        with Swarm(bench.make_wire(), there.address) as swarm:
            tokens = [people[1 + n % (len(people) - 1)].token for n in range(sockets)]
            peers = swarm.connect(tokens)
            swarm.join(peers, session_id)
            swarm.settle()
            values = []
            for number in range(scale.rounds + 1):
                before = cpu_seconds(here.pid)
                for _ in range(scale.history_calls):
                    rest.call("POST", path, {"content": CONTENT}, people[0].token)
                used = cpu_seconds(here.pid) - before
                swarm.settle(0.05)
                if number:
                    values.append(used / scale.history_calls * MICRO)
            yield Figure(f"POST of a message, {sockets} sockets elsewhere", "CPU µs", values)
        rest.close()


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
