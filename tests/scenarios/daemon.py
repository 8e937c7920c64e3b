"""The real daemon as a process: its own data folder, its own PostgreSQL, killed as often as liked.

Everything here blocks: from Trio it is called in a thread (`start`, `stop`), or it takes no time.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

START_TIMEOUT = 60.0  # seconds; the first start makes the cluster, and the machine is shared
QUIET_PORTS = 20_000  # from here up to the ephemeral range
STOP_TIMEOUT = 60.0  # seconds; only a test that has already failed waits for so long
log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO


class Daemon:
    """One data folder and the daemon that works on it, when it runs.

    Args:
        data_dir: kept over restarts.
        wanted_port: for one that must be known ahead; 0 takes a free one.
        settings: as in `CHATD_<NAME>`, beside those that make tests fast.
    """

    def __init__(self, data_dir: Path, *, wanted_port: int = 0, **settings: object) -> None:
        self._wanted_port = wanted_port
        self.data_dir = data_dir
        self.started_in = 0.0  # seconds of the last start
        self.port = 0  # another one after each start: the old one may have become somebody's
        self._log = data_dir.with_name(f"{data_dir.name}.log")
        self._process: subprocess.Popen[bytes] | None = None
        chosen = {
            "bcrypt_rounds": 4,
            "rate_limits": "off",
            "environment": "development",
            "log_format": "json",
            "max_sockets_per_user": 1000,
            **settings,
        }
        outside = {k: v for k, v in os.environ.items() if not k.startswith("CHATD_")}
        ours = {f"CHATD_{name.upper()}": str(value) for name, value in chosen.items()}
        self._environment = outside | ours

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start."""
        assert self._process is not None
        return self._process

    @property
    def is_alive(self) -> bool:
        """Whether the process of the last start still runs."""
        return self._process is not None and self._process.poll() is None

    # Life and death

    def start(self) -> None:
        """Start it and return when it says that it accepts connections. Blocks."""
        assert not self.is_alive
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "chatd", "serve"),
                    *("--port", str(self._wanted_port), "--data-dir", self.data_dir),
                ],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        with self._process.stdout as output:
            ready, _, _ = select.select([output], [], [], START_TIMEOUT)
            line = output.readline().decode() if ready else ""
            assert " serves on http" in line, f"it did not start: {line!r}\n{self.log()[-4000:]}"
            self.port = int(line.rpartition(":")[2])
            while output.readline().strip().decode().partition(" ")[0] not in {"", "stop"}:
                pass  # the rest of the greeting: a closed pipe would end the daemon
        self.started_in = seconds_since(began)

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9, and wait until the process is gone. Its PostgreSQL ends by itself."""
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)

    def kill_postgres(self) -> int:
        """Kill -9 the postmaster; return its process id."""
        pid = int((self.data_dir / "postgres/data/postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        """SIGTERM, and return the exit code. Blocks."""
        self.signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT)

    async def exited(self) -> int:
        """Wait for the process's end and return its exit code."""
        process = self.process
        if process.poll() is None:
            descriptor = os.pidfd_open(process.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        code = process.poll()
        assert code is not None
        return code

    def dispose(self) -> None:
        """End it whatever its state is; for the end of a test."""
        if self.is_alive:
            self.kill()

    # What it says about itself

    def get(self, path: str) -> tuple[int, str]:
        """GET and return status and body. Blocks."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:  # noqa: S310 - ours
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    async def metric(self, name: str) -> float:
        """Return the value of one line of `/metrics`; 0 when there is no such line."""
        _, page = await trio.to_thread.run_sync(self.get, "/metrics")
        values = [line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(name)]
        assert len(values) < 2, f"{name} is not one line"
        return float(values[0]) if values else 0.0

    async def reaches(self, name: str, value: float) -> None:
        """Wait until a metric has at least this value."""
        while await self.metric(name) < value:  # noqa: ASYNC110 - another process tells no event
            await trio.sleep(0.02)

    @contextmanager
    def grows_at_most(self, count: int) -> Iterator[None]:
        """Check that the daemon's own memory has at no moment of the block grown by more."""
        folder = Path(f"/proc/{self.process.pid}")
        (folder / "clear_refs").write_text("5")  # proc(5): the peak starts anew from here
        before = _peak_bytes(folder)
        yield
        grown = _peak_bytes(folder) - before
        log.info("memory: %.1f MiB more", grown / 2**20)
        assert grown <= count

    def log(self) -> str:
        """Return everything that was logged so far, by all starts."""
        return self._log.read_text(errors="replace")

    def complaints(self) -> list[str]:
        """Return what was logged as an error, and what is no log line at all: a traceback."""
        return [line for line in self.log().splitlines() if _is_complaint(line)]


def _peak_bytes(folder: Path) -> int:
    lines = (folder / "status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _is_complaint(line: str) -> bool:
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return True
    return not isinstance(entry, dict) or entry.get("level") not in {"debug", "info", "warning"}


@contextmanager
def running_daemon(data_dir: Path, *, wanted_port: int = 0, **settings: object) -> Iterator[Daemon]:
    """Run a daemon for the block; it must have logged no error by its end. Blocks."""
    daemon = Daemon(data_dir, wanted_port=wanted_port, **settings)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.dispose()
    assert daemon.complaints() == []


def quiet_port() -> int:
    """Return a free port that nobody is given by chance, also while a daemon on it is away.

    The kernel takes those of the ephemeral range for whoever asks for any (ip(7)).
    """
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    while True:
        port = secrets.choice(range(QUIET_PORTS, int(limits[0])))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def seconds_since(started: float) -> float:
    """Return the seconds since a reading of `time.monotonic()`, rounded for a report."""
    return round(time.monotonic() - started, 3)
