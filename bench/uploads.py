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
from pathlib import Path

from bench.accounting import PROC, cpu_seconds
from bench.daemon import Server, started
from bench.people import Person, Rest
from bench.plan import Bench, Figure
from bench.senders import Senders, quantile_ms

RATE = 300  # messages a second, of all sessions
GIBIT = 125_000_000  # bytes a second
PIECE = 1_048_576
TYPE = "application/octet-stream"
SETTINGS = {
    "CHATD_FILE_BYTES": str(2**31),
    "CHATD_USER_FILE_BYTES": str(2**40),
    "CHATD_USER_UPLOADS": "1000",
}


def upload(bench: Bench) -> Iterator[Figure]:
    """Acks at a pace without an upload, beside one at a Gbit/s, and beside one without a limit."""
    scale = bench.scale
    with started(SETTINGS) as server:
        bench.server = server
        rest = Rest(server)
        people = rest.people(scale.sessions)
        session_ids = [rest.session([person]) for person in people]
        rest.close()
        with bench.swarm() as swarm:
            places = []
            for person, session_id in zip(people, session_ids, strict=True):
                peers = swarm.connect([person.token])
                swarm.join(peers, session_id)
                places.append((peers[0], session_id))
            swarm.settle()
            senders = Senders(swarm, places)
            senders.pace(RATE, 1)  # warm
            for name, pace in (("none", 0), ("1 Gbit/s", GIBIT), ("no limit", 10**12)):
                yield from _beside(bench, senders, people[0], name, pace)


def _beside(
    bench: Bench, senders: Senders, person: Person, name: str, pace: int
) -> Iterator[Figure]:
    server, size = bench.daemon, bench.scale.upload_bytes
    p50, p99, rates, cpu, memory = [], [], [], [], []
    for _ in range(bench.scale.upload_rounds):
        before = _peak_kib(server.pid, is_new=True)
        used, began = cpu_seconds(server.pid), time.perf_counter()
        if pace:
            process = _start(server, person, size, pace)
            latencies: list[float] = []
            while process.poll() is None:
                senders.pace(RATE, 0.5)
                latencies += senders.latencies
            assert process.returncode == 0
            rates.append(size / 1e6 / (time.perf_counter() - began))
        else:
            senders.pace(RATE, 5)
            latencies = list(senders.latencies)
        cpu.append((cpu_seconds(server.pid) - used) / (time.perf_counter() - began) * 100)
        memory.append((_peak_kib(server.pid) - before) / 1024)
        p50.append(quantile_ms(latencies, 0.5))
        p99.append(quantile_ms(latencies, 0.99))
    yield Figure(f"ack p50, upload: {name}", "ms", p50)
    yield Figure(f"ack p99, upload: {name}", "ms", p99)
    yield Figure("  daemon busy", "%", cpu)
    yield Figure("  daemon's memory, at its peak", "MiB more", memory)
    if rates:
        yield Figure("  upload", "MB/s", rates)


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
