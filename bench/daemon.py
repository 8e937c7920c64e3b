"""Starts and stops the daemon that is measured, with a data folder of its own."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

START_TIMEOUT = 60.0  # seconds to /readyz: the first start makes a PostgreSQL cluster
STOP_TIMEOUT = 30.0  # seconds to the exit after SIGTERM
SETTINGS = {
    "CHATD_BCRYPT_ROUNDS": "4",
    "CHATD_RATE_LIMITS": "off",
    "CHATD_MAX_SOCKETS_PER_USER": "10000",
    "CHATD_LOG_LEVEL": "warning",
    "CHATD_DRAIN_SECONDS": "1",
}


@dataclass(frozen=True)
class Server:
    """A server that answers at an address, and the process to hold to account."""

    host: str
    port: int
    pid: int

    @property
    def address(self) -> tuple[str, int]:
        """Where to connect."""
        return self.host, self.port


def running(url: str, pid: int) -> Server:
    """Return a server that somebody else started."""
    parts = urlsplit(url)
    return Server(parts.hostname or "127.0.0.1", parts.port or 80, pid)


@contextmanager
def started() -> Iterator[Server]:
    """Run `chatd serve` for the length of the block.

    Raises:
        RuntimeError: it ended, or was not ready in time; with the end of its log.
    """
    raise_file_limit()  # inherited by the daemon
    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        base = Path(folder)
        base.chmod(0o711)  # PostgreSQL runs as another user when we are root, and must get in
        port = free_port()
        environment = os.environ | SETTINGS
        environment |= {"CHATD_PORT": str(port), "CHATD_DATA_DIR": str(base / "data")}
        with (base / "log").open("w+b") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "chatd", "serve"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                server = Server("127.0.0.1", port, process.pid)
                _wait_ready(server, process, base / "log")
                yield server
            finally:
                _stop(process)


def raise_file_limit() -> None:
    """Allow this process and its children as many open files as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _is_ready(server):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the daemon is not ready (exit {process.poll()}):\n{tail}")
        time.sleep(0.1)


def _is_ready(server: Server) -> bool:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False  # not listening yet
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        print("the daemon did not stop; killing it", file=sys.stderr)
        process.kill()
        process.wait()
