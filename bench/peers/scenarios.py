"""What every server is told, in rounds: a scenario is a generator, and each `next` is a round.

A round yields its values by the name of the figure. What a scenario needs is opened before the
first round and closed with the generator. While other servers have their round this one's sockets
wait, Engine.IO's pings on them are answered before the next round's books are opened.
"""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass

from bench.accounting import Cost, cost, cpu_seconds, resident_kib
from bench.daemon import Server
from bench.people import Person, Rest
from bench.plan import Scale
from bench.senders import LoadMeter, Senders, fan_out, quantile_ms
from bench.swarm import Swarm
from bench.wires import SocketIoWire

RATE = 300.0  # messages a second over all sessions of `ack`: below what the slowest can do
WINDOWS = (1, 16)  # of `delivery`
STORED_WINDOWS = (1, 4)
HISTORY_MESSAGES = 120
QUIET = 0.05  # seconds without a byte before the books are opened
MICRO = 1e6
LOAD = "  load generator busy"

Round = dict[str, float]
Story = Generator[Round, None, None]


@dataclass(frozen=True)
class Subject:
    """The server of a scenario, and how much of everything."""

    server: Server
    postgres: int  # pid
    scale: Scale

    def swarm(self) -> Swarm:
        """Return an empty swarm."""
        return Swarm(SocketIoWire(), self.server.address)

    def people(self, count: int) -> tuple[Rest, list[Person]]:
        """Return a connection for REST, and people who have just registered."""
        rest = Rest(self.server)
        return rest, rest.people(count)


class Books:
    """What the server, PostgreSQL and the load generator have cost since this was made."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._server = cost(subject.server.pid)
        self._postgres = cost(subject.postgres)
        self.load = LoadMeter()

    def server(self) -> float:
        """Return the CPU seconds of the server with its children."""
        return _whole(cost(self._subject.server.pid) - self._server)

    def postgres(self) -> float:
        """Return the CPU seconds of PostgreSQL, which nobody else uses in this round."""
        return _whole(cost(self._subject.postgres) - self._postgres)


def _whole(used: Cost) -> float:
    return used.own + used.children


def delivery(subject: Subject) -> Story:
    """One session of many sockets and one sender."""
    scale = subject.scale
    rest, people = subject.people(scale.people)
    session_id = rest.session(people)
    rest.close()
    with subject.swarm() as swarm:
        peers = swarm.connect(
            [person.token for person in people for _ in range(scale.sockets_each)]
        )
        swarm.join(peers, session_id)
        for window in WINDOWS:
            fan_out(swarm, peers[0], session_id, window, scale.seconds)  # warm
        while True:
            values: Round = {}
            for window in WINDOWS:
                swarm.settle(QUIET)
                books = Books(subject)
                count = fan_out(swarm, peers[0], session_id, window, scale.seconds)
                suffix = f", window {window}"
                values[f"deliveries per CPU second{suffix}"] = count / books.server()
                values[f"  deliveries per second{suffix}"] = count / books.load.seconds()
                values[LOAD + f", delivery{suffix}"] = books.load.busy()
            yield values


def stored(subject: Subject) -> Story:
    """Many sessions of a few sockets, a sender in each: closed loops, then one pace for all."""
    with subject.swarm() as swarm:
        senders = _senders(subject, swarm)
        seconds = subject.scale.seconds
        senders.run(STORED_WINDOWS[-1], seconds)  # warm
        while True:
            values: Round = {}
            for window in STORED_WINDOWS:
                swarm.settle(QUIET)
                books = Books(subject)
                count, suffix = senders.run(window, seconds), f", window {window}"
                values[f"stored per CPU second{suffix}"] = count / books.server()
                values[f"  its PostgreSQL, CPU µs{suffix}"] = books.postgres() / count * MICRO
                values[f"  stored per second{suffix}"] = count / books.load.seconds()
                values |= _acks(senders, suffix)
                values[LOAD + f", stored{suffix}"] = books.load.busy()
            yield values


def ack(subject: Subject) -> Story:
    """The same sessions at one rate that is below saturation for every server."""
    with subject.swarm() as swarm:
        senders = _senders(subject, swarm)
        seconds = subject.scale.seconds * 2
        senders.pace(RATE, seconds)  # warm
        while True:
            swarm.settle(QUIET)
            books = Books(subject)
            count, suffix = senders.pace(RATE, seconds), f", {RATE:.0f}/s"
            values = {f"stored message, CPU µs{suffix}": books.server() / count * MICRO}
            values[f"  server busy, %{suffix}"] = books.server() / books.load.seconds() * 100
            values |= _acks(senders, suffix)
            values[LOAD + f", ack{suffix}"] = books.load.busy()
            yield values


def _senders(subject: Subject, swarm: Swarm) -> Senders:
    scale = subject.scale
    rest, people = subject.people(scale.sessions)
    places = []
    for person in people:
        session_id = rest.session([person])
        peers = swarm.connect([person.token] * scale.sockets_each)
        swarm.join(peers, session_id)
        places.append((peers[0], session_id))
    rest.close()
    return Senders(swarm, places)


def _acks(senders: Senders, suffix: str) -> Round:
    return {
        f"ack p50, ms{suffix}": quantile_ms(senders.latencies, 0.5),
        f"ack p99, ms{suffix}": quantile_ms(senders.latencies, 0.99),
    }


def idle(subject: Subject) -> Story:
    """Connections that do nothing; a round is one more step of them on the same server.

    Memory is told once, in the last round, for all of them: heaps grow and shrink in lumps.
    """
    scale, pid = subject.scale, subject.server.pid
    rest, people = subject.people(scale.people)
    rest.close()
    tokens = [people[number % len(people)].token for number in range(scale.idle_step)]
    with subject.swarm() as swarm:
        swarm.connect(tokens)  # warm
        swarm.settle()
        memory, warmed_up = resident_kib(pid), len(swarm.peers)
        for step in range(1, scale.idle_steps + 1):
            swarm.settle(QUIET)
            cpu = cpu_seconds(pid)
            swarm.connect(tokens)
            values = {"connect, CPU µs": (cpu_seconds(pid) - cpu) / scale.idle_step * MICRO}
            if step == scale.idle_steps:
                swarm.settle()
                grown = resident_kib(pid) - memory
                values["idle connection, KiB"] = grown / (len(swarm.peers) - warmed_up)
            yield values


def history(subject: Subject) -> Story:
    """A page of 50 messages over REST, on one kept-alive connection."""
    rest, people = subject.people(1)
    session_id = rest.session(people)
    rest.close()
    with subject.swarm() as swarm:
        peers = swarm.connect([people[0].token])
        swarm.join(peers, session_id)
        Senders(swarm, [(peers[0], session_id)]).pace(1000, HISTORY_MESSAGES / 1000)
    path = f"/chat/sessions/{session_id}/messages?limit=50"
    for number in itertools.count():
        books = Books(subject)
        _get_pages(subject, path, people[0].token)
        calls = subject.scale.history_calls
        if number:  # the first round warms up
            yield {
                "history page of 50, CPU µs": books.server() / calls * MICRO,
                "  its PostgreSQL, CPU µs": books.postgres() / calls * MICRO,
            }


def _get_pages(subject: Subject, path: str, token: str) -> None:
    connection = http.client.HTTPConnection(*subject.server.address, timeout=30)
    for _ in range(subject.scale.history_calls):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        page = response.read()
        assert response.status == http.client.OK, page
        assert page.count(b'"sender"') == 50, page
    connection.close()


SCENARIOS: dict[str, Callable[[Subject], Story]] = {
    "delivery": delivery,
    "stored": stored,
    "ack": ack,
    "idle": idle,
    "history": history,
}
