"""What is measured: the stories, told in rounds, with the books read around each.

A scenario takes a `Bench` and yields `Figure`s. Every round repeats the same work, so that the
median is the figure and the spread tells how much to trust it.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench import floor
from bench.accounting import Cost, cost, cpu_seconds, resident_kib
from bench.cluster import cluster
from bench.login import login
from bench.people import Rest
from bench.plan import Bench, Figure
from bench.search import search
from bench.senders import CONTENT, LoadMeter, Senders, fan_out, quantile_ms
from bench.uploads import upload

MICRO = 1e6


def delivery(bench: Bench) -> Iterator[Figure]:
    """One session, one sender with 1 and with 32 messages out: CPU per delivery."""
    scale = bench.scale
    rest = Rest(bench.daemon)
    people = rest.people(scale.people)
    session_id = rest.session(people)
    rest.close()
    tokens = [person.token for person in people for _ in range(scale.sockets_each)]
    with bench.swarm() as swarm:
        peers = swarm.connect(tokens)
        swarm.join(peers, session_id)
        swarm.settle()
        for window in (1, 32):
            per_delivery, rate, busy = [], [], []
            fan_out(swarm, peers[0], session_id, window, min(scale.seconds, 1.0))  # warm
            for _ in range(scale.rounds):
                swarm.settle(0.05)
                before, load = cpu_seconds(bench.daemon.pid), LoadMeter()
                count = fan_out(swarm, peers[0], session_id, window, scale.seconds)
                rate.append(count / load.seconds())
                busy.append(load.busy())
                used = cpu_seconds(bench.daemon.pid) - before
                per_delivery.append(used / count * MICRO)
            yield Figure(f"delivery, window {window}", "CPU µs", per_delivery)
            yield Figure(f"deliveries, window {window}", "1/s", rate)
            yield Figure(f"  load generator busy, window {window}", "%", busy)
        counter = peers[0].counter
        bench.frame_bytes = round(counter.delivered_bytes / counter.deliveries)


def write_floor(bench: Bench) -> Iterator[Figure]:
    """A bare loop of `os.write` to as many sockets: what no server can be cheaper than.

    A server may join the frames that wait and so stay below the floor of single writes: beside
    window 32 stands what a frame costs when all 32 leave in one write.
    """
    for name, window, joined in (
        ("floor, window 1", 1, 1),
        ("floor, window 32", 32, 1),
        ("floor, 32 in one write", 1, 32),
    ):
        values = [_floor_round(bench, window, joined) for _ in range(bench.scale.rounds)]
        yield Figure(name, "CPU µs", values)


def _floor_round(bench: Bench, window: int, joined: int) -> float:
    scale = bench.scale
    write = floor.measure(
        sockets=scale.people * scale.sockets_each,
        size=bench.frame_bytes * joined,
        window=window,
        writes=scale.floor_writes // joined,
    )
    return write / joined


def stored(bench: Bench) -> Iterator[Figure]:
    """Many sessions, one sender each: CPU per stored message, its deliveries included."""
    scale = bench.scale
    rest = Rest(bench.daemon)
    people = rest.people(scale.sessions)  # one a session: no unread counts for other sockets
    session_ids = [rest.session([person]) for person in people]
    rest.close()
    with bench.swarm() as swarm:
        places = []
        for person, session_id in zip(people, session_ids, strict=True):
            peers = swarm.connect([person.token] * scale.sockets_each)
            swarm.join(peers, session_id)
            places.append((peers[0], session_id))
        swarm.settle()
        senders = Senders(swarm, places)
        for window in (1, 4):
            senders.run(window, min(scale.seconds, 1.0))  # warm
            rounds = [_stored_round(bench, senders, window) for _ in range(scale.rounds)]
            for name, unit, read in STORED_FIGURES:
                values = [read(one) for one in rounds]
                yield Figure(f"{name}, window {window}", unit, values)


@dataclass(frozen=True)
class StoredRound:
    """What one round of `stored` came to."""

    count: int
    seconds: float
    used: Cost
    busy: float
    latencies: list[float] = field(repr=False)

    def latency_ms(self, part: float) -> float:
        """Return a quantile of the acks in milliseconds."""
        return quantile_ms(self.latencies, part)


STORED_FIGURES: tuple[tuple[str, str, Callable[[StoredRound], float]], ...] = (
    ("stored message", "CPU µs", lambda one: one.used.own / one.count * MICRO),
    ("  its PostgreSQL", "CPU µs", lambda one: one.used.children / one.count * MICRO),
    ("  ack p50", "ms", lambda one: one.latency_ms(0.5)),
    ("  ack p99", "ms", lambda one: one.latency_ms(0.99)),
    ("  messages", "1/s", lambda one: one.count / one.seconds),
    ("  load generator busy", "%", lambda one: one.busy),
)


def _stored_round(bench: Bench, senders: Senders, window: int) -> StoredRound:
    before, load = cost(bench.daemon.pid), LoadMeter()
    count = senders.run(window, bench.scale.seconds)
    seconds, busy = load.seconds(), load.busy()
    used = cost(bench.daemon.pid) - before
    return StoredRound(count, seconds, used, busy, list(senders.latencies))


def idle(bench: Bench) -> Iterator[Figure]:
    """Connections that do nothing: memory each, and the CPU of getting there.

    A round is one more step of connections on the same daemon, never a second go: memory that
    was used once and given back would make the next one look free.
    """
    scale, pid = bench.scale, bench.daemon.pid
    rest = Rest(bench.daemon)
    people = rest.people(scale.people)
    rest.close()
    memory, connect = [], []
    with bench.swarm() as warm_up:
        warm_up.connect([person.token for person in people])
        warm_up.settle()
    with bench.swarm() as swarm:
        for _ in range(scale.idle_steps):
            tokens = [people[n % len(people)].token for n in range(scale.idle_step)]
            memory_before, cpu_before = resident_kib(pid), cpu_seconds(pid)
            swarm.connect(tokens)
            connect.append((cpu_seconds(pid) - cpu_before) / scale.idle_step * MICRO)
            swarm.settle()
            memory.append((resident_kib(pid) - memory_before) / scale.idle_step)
    yield Figure("idle connection", "KiB", memory)
    yield Figure("connect, to ready", "CPU µs", connect)


def history(bench: Bench) -> Iterator[Figure]:
    """A page of 50 messages over REST, on one kept-alive connection."""
    rest = Rest(bench.daemon)
    (person,) = rest.people(1)
    session_id = rest.session([person])
    path = f"/chat/sessions/{session_id}/messages"
    for _ in range(120):
        rest.call("POST", path, {"content": CONTENT}, person.token)
    rest.close()
    connection = http.client.HTTPConnection(*bench.daemon.address, timeout=30)
    own, children = [], []
    for number in range(bench.scale.rounds + 1):
        before = cost(bench.daemon.pid)
        for _ in range(bench.scale.history_calls):
            headers = {"Authorization": f"Bearer {person.token}"}
            connection.request("GET", f"{path}?limit=50", headers=headers)
            response = connection.getresponse()
            assert response.status == http.client.OK, response.read()
            response.read()
        used = cost(bench.daemon.pid) - before
        if number:  # the first round warms up
            own.append(used.own / bench.scale.history_calls * MICRO)
            children.append(used.children / bench.scale.history_calls * MICRO)
    connection.close()
    yield Figure("history page of 50", "CPU µs", own)
    yield Figure("  its PostgreSQL", "CPU µs", children)


Scenario = Callable[[Bench], Iterator[Figure]]
SCENARIOS: dict[str, Scenario] = {
    "delivery": delivery,
    "floor": write_floor,
    "stored": stored,
    "idle": idle,
    "history": history,
    "search": search,
    "login": login,
    "upload": upload,
    "cluster": cluster,
}
# The last three have their own.
NEEDS_NO_SERVER = frozenset({"floor", "search", "login", "upload", "cluster"})
