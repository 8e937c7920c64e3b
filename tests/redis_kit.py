"""A Redis for the tests: the real server, on a port and in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT = 10.0  # seconds; the machine is shared
STOP_TIMEOUT = 10.0  # seconds
PAUSE = 0.01  # seconds between two looks whether it answers


@dataclass
class RedisServer:
    """A Redis that forgets everything when it stops; made by `running_redis`.

    Everything here blocks: from Trio it is called in a thread.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """What goes into `redis_url`; the same over restarts."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and return when it answers."""
        program = shutil.which("redis-server", path="/usr/bin:/usr/local/bin:/usr/sbin")
        assert program is not None, "there is no `redis-server`: `.ci/run` installs one"
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(PAUSE)

    def stop(self) -> None:
        """End it as an operator does: connections are closed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it say nothing more, while its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process = self.process
        if process is not None and process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # one that is frozen does not end
            process.wait(STOP_TIMEOUT)
        self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Run a Redis for the block."""
    with tempfile.TemporaryDirectory(prefix="chatd-redis-") as folder:
        server = RedisServer(Path(folder), free_port())
        server.start()
        try:
            yield server
        finally:
            server.kill()


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
