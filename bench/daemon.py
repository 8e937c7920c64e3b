"""Starts and stops what is measured; the daemon has a data folder of its own."""

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 60.0  # seconds to /readyz: the first start makes a PostgreSQL cluster
STOP_TIMEOUT = 30.0  # seconds to the exit after SIGTERM
LOG_TAIL = 3000  # bytes of its log, shown after an error
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
def started(extra: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `chatd serve` for the length of the block, with more settings if there are any.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    with tempfile.TemporaryDirectory(prefix="chatd-bench-") as folder:
        base = Path(folder)
        base.chmod(0o711)  # PostgreSQL runs as another user when we are root, and must get in
        port = free_port()
        settings = SETTINGS | {"CHATD_PORT": str(port), "CHATD_DATA_DIR": str(base / "data")}
        command = [sys.executable, "-m", "chatd", "serve"]
        with launched(command, settings | dict(extra or {}), port) as server:
            yield server


@contextmanager
def launched(command: Sequence[str], settings: Mapping[str, str], port: int) -> Iterator[Server]:
    """Run a server that answers `/readyz` for the length of the block.

    After an error in the block, or before it, the end of the server's log stands on stderr.

    Args:
        command: what to run, in the folder of the repository.
        settings: put over our environment.
        port: where it will listen on 127.0.0.1.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    raise_file_limit()  # inherited by the server
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            server = Server("127.0.0.1", port, process.pid)
            _wait_ready(server, process)
            yield server
        except Exception:
            print(_tail(log), file=sys.stderr)
            raise
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


def _wait_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not _is_ready(server):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server is not ready (exit {process.poll()})")
        time.sleep(0.1)


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL))
    return log.read().decode(errors="replace")


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
        print("the server did not stop; killing it", file=sys.stderr)
        process.kill()
        process.wait()
