"""A flood of logins, and somebody who looks at the clock meanwhile: each a process of its own.

    python -m bench.flood logins HOST PORT RATE SECONDS     a login every 1/RATE s, answered or not
    python -m bench.flood probe HOST PORT SECONDS           GET /healthz every 10 ms

Both print what they saw as JSON. In the process that measures, the flood would be in the way of the
measurement.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import trio

from bench.daemon import ROOT, Server

PROBE_INTERVAL = 0.01  # seconds
PATIENCE = 60.0  # seconds for one answer: the queue of hashes is 32 long
BODY = json.dumps({"email": "nobody@example.org", "password": "correct horse battery"})
LOGIN = (
    "POST /auth/login HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()
PROBE = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"


@contextmanager
def running(server: Server, kind: str, *numbers: float) -> Iterator[list[Any]]:
    """Run one of the two beside the block; the list has what it printed behind the block."""
    command = [sys.executable, "-m", "bench.flood", kind, server.host, str(server.port)]
    seen: list[Any] = []
    with subprocess.Popen(
        [*command, *map(str, numbers)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        yield seen
        output, _ = process.communicate()
    seen.append(json.loads(output))


async def flood(host: str, port: int, rate: float, seconds: float) -> dict[str, int]:
    """Log in `rate` times a second, each on a connection of its own; return the statuses."""
    seen: Counter[str] = Counter()

    async def one() -> None:
        try:
            with trio.fail_after(PATIENCE):
                stream = await trio.open_tcp_stream(host, port)
                async with stream:
                    await stream.send_all(LOGIN)
                    answer = b""
                    while piece := await stream.receive_some():
                        answer += piece
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as failure:
            seen[type(failure).__name__] += 1
            return
        status = answer[9:12].decode()
        seen[status + ("" if b"\r\nretry-after: " not in answer.lower() else " later")] += 1

    async with trio.open_nursery() as nursery:
        began = trio.current_time()
        for number in range(int(rate * seconds)):
            await trio.sleep_until(began + number / rate)
            nursery.start_soon(one)
    return seen


def probe(host: str, port: int, seconds: float) -> list[float]:
    """Return the seconds that each answer took: the loop's lag, and the machine's own."""
    latencies = []
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        while (sent_at := time.perf_counter()) - began < seconds:
            connection.sendall(PROBE)
            answer = connection.recv(65_536)
            latencies.append(time.perf_counter() - sent_at)
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            time.sleep(PROBE_INTERVAL)
    return latencies


def main(arguments: Sequence[str]) -> None:
    """Do what is asked for and print it."""
    kind, host, port, *numbers = arguments
    if kind == "logins":
        rate, seconds = map(float, numbers)
        print(json.dumps(trio.run(flood, host, int(port), rate, seconds)))
    else:
        print(json.dumps(probe(host, int(port), float(numbers[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
