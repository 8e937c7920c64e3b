"""A GiB on its way into the data folder while others talk: their acks, and the daemon's memory.

The upload comes from a process of its own: once as fast as it is taken, once at the pace of a Gbit
line. The talk is at a pace, too: what it waits for is told, not how much of it fits.
"""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.accounting import PROC, cpu_seconds
from bench.daemon import Server, started
from bench.people import Person, Rest
from bench.plan import Bench, Figure, Scale, ratio
from bench.senders import Senders, quantile_ms

RATE = 300  # messages a second, of all sessions
GIBIT = 125_000_000  # bytes a second
PIECE = 1_048_576
CALM = 5.0  # seconds of a round without an upload
TYPE = "application/octet-stream"
SETTINGS = {
    "CHATD_FILE_BYTES": str(2**31),
    "CHATD_USER_FILE_BYTES": str(2**40),
    "CHATD_USER_UPLOADS": "1000",
}


def upload(bench: Bench) -> Iterator[Figure]:
    """Acks at a pace without an upload, and beside one at a Gbit/s and one without a limit.

    Each upload comes twice, to this daemon and to another one of the machine: what it takes from
    everybody who shares cores and disk is not the daemon's, what its own people lose beyond is.
    """
    scale = bench.scale
    with started(SETTINGS) as server, started(SETTINGS) as other:
        bench.server = server
        uploaders = {each: _people(each, 1)[0][0] for each in (server, other)}
        people, session_ids = _people(server, scale.sessions)
        with bench.swarm() as swarm:
            places = []
            for person, session_id in zip(people, session_ids, strict=True):
                peers = swarm.connect([person.token])
                swarm.join(peers, session_id)
                places.append((peers[0], session_id))
            swarm.settle()
            senders = Senders(swarm, places)
            senders.pace(RATE, 1)  # warm
            for name, pace in (("1 Gbit/s", GIBIT), ("no limit", 10**12)):
                calm, here, elsewhere = Talk(), Talk(), Talk()
                for _ in range(scale.upload_rounds):
                    calm.measure(server, senders)
                    here.measure(server, senders, (server, uploaders[server], scale, pace))
                    elsewhere.measure(server, senders, (other, uploaders[other], scale, pace))
                yield from calm.figures(f"no upload, beside {name}")
                yield from here.figures(f"upload: {name}")
                yield from elsewhere.figures(f"upload to another daemon: {name}")
                yield ratio(f"ack p99, upload here / elsewhere: {name}", here.p99, elsewhere.p99)


def _people(server: Server, count: int) -> tuple[list[Person], list[str]]:
    """Return people, and a session that each has alone."""
    rest = Rest(server)
    people = rest.people(count)
    session_ids = [rest.session([person]) for person in people]
    rest.close()
    return people, session_ids


@dataclass
class Talk:
    """What those see who talk, one value a round; and what the daemon needs that they talk to."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def measure(
        self,
        server: Server,
        senders: Senders,
        upload: tuple[Server, Person, Scale, int] | None = None,
    ) -> None:
        """Talk to a server while somebody uploads to one, or for some seconds."""
        before = _peak_kib(server.pid, is_new=True)
        used, began = cpu_seconds(server.pid), time.perf_counter()
        latencies: list[float] = []
        if upload is None:
            senders.pace(RATE, CALM)
            latencies += senders.latencies
        else:
            target, person, scale, pace = upload
            process = _start(target, person, scale.upload_bytes, pace)
            while process.poll() is None:
                senders.pace(RATE, 0.5)
                latencies += senders.latencies
            assert process.returncode == 0
            self.rates.append(scale.upload_bytes / 1e6 / (time.perf_counter() - began))
        self.busy.append((cpu_seconds(server.pid) - used) / (time.perf_counter() - began) * 100)
        self.memory.append((_peak_kib(server.pid) - before) / 1024)
        self.p50.append(quantile_ms(latencies, 0.5))
        self.p99.append(quantile_ms(latencies, 0.99))

    def figures(self, when: str) -> Iterator[Figure]:
        """Return them, named for what went on meanwhile."""
        yield Figure(f"ack p50, {when}", "ms", self.p50)
        yield Figure(f"ack p99, {when}", "ms", self.p99)
        yield Figure("  daemon busy", "%", self.busy)
        yield Figure("  daemon's memory, at its peak", "MiB more", self.memory)
        if self.rates:
            yield Figure("  upload", "MB/s", self.rates)


def _start(server: Server, person: Person, size: int, pace: int) -> subprocess.Popen[bytes]:
    """Begin an upload in a process of its own."""
    rest = Rest(server)
    body = {"fileName": "large", "size": size, "mimeType": TYPE}
    url = rest.call("POST", "/files", body, person.token)["upload"]["url"]
    rest.close()
    command = [sys.executable, "-m", "bench.uploads", server.host, str(server.port), url]
    return subprocess.Popen([*command, str(size), str(pace)], cwd=Path(__file__).parents[1])


def _peak_kib(pid: int, *, is_new: bool = False) -> int:
    """Return the most memory that a process had since the last call with `is_new`."""
    if is_new:
        (PROC / str(pid) / "clear_refs").write_text("5")  # proc(5): the peak starts anew
    lines = (PROC / str(pid) / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def send(host: str, port: int, url: str, size: int, pace: int) -> int:
    """Upload so many bytes at a pace; return the exit code."""
    piece = hashlib.shake_256(b"bench").digest(PIECE)
    with socket.create_connection((host, port), timeout=60) as stream:
        head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\n"
        stream.sendall(f"{head}Content-Length: {size}\r\nConnection: close\r\n\r\n".encode())
        began = time.perf_counter()
        for sent in range(0, size, PIECE):
            time.sleep(max(0.0, began + sent / pace - time.perf_counter()))
            stream.sendall(piece[: size - sent])
        answer = stream.recv(4096)
    return 0 if answer.startswith(b"HTTP/1.1 200 ") else 1


if __name__ == "__main__":
    sys.exit(send(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
