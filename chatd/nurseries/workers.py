"""One worker: a daemon process that serves on its supervisor's sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
import trio

from chatd.config import Settings
from chatd.nurseries.inherited import SUPERVISOR
from chatd.nurseries.pgaccount import Account, launch_command
from chatd.nurseries.postgres import exit_of
from chatd.nurseries.supervised import READ_ONLY, READY, WRITABLE

EMBEDDED_CONNECTIONS = 48  # of the 60 that the embedded PostgreSQL takes, for all workers together
_OURSELVES = Account("", os.geteuid(), os.getegid())

log = structlog.get_logger("chatd.supervisor")


class WorkerError(Exception):
    """Workers end right after their start."""


class Worker:
    """A process from its start to its end; `attend` must run beside it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.began = trio.current_time()
        self.ready_at: float | None = None  # when it first accepted connections
        self.changed = trio.Event()  # it is ready, or has ended
        self.ended = trio.Event()
        self._process = process
        self._channel = trio.SocketStream(trio.socket.from_stdlib_socket(channel))

    @property
    def is_ready(self) -> bool:
        """Whether it accepts connections, or did until its end."""
        return self.ready_at is not None

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """With what it has ended; None while it runs, negative for a signal."""
        return self._process.poll()

    def drain(self) -> None:
        """Tell it to stop; told again it stops at once."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by force."""
        self._process.kill()

    async def tell(self, *, is_writable: bool) -> None:
        """Tell it whether the database may be written."""
        try:
            await self._channel.send_all(WRITABLE if is_writable else READ_ONLY)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it has ended, which `attend` sees

    async def attend(self) -> None:
        """Return when the process has ended; cancelled it ends the process by force."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                await exit_of(self._process)
                nursery.cancel_scope.cancel(reason="the worker has ended")
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()  # a killed process takes milliseconds
            self._channel.socket.close()
            self.ended.set()
            self.changed.set()

    async def _listen(self) -> None:
        try:
            data = await self._channel.receive_some(64)
        except trio.BrokenResourceError:
            return
        if data.startswith(READY):
            self.ready_at = trio.current_time()
            log.info("worker_ready", pid=self.pid, seconds=round(self.ready_at - self.began, 3))
            self.changed.set()


def spawn(environment: Mapping[str, str], listeners: Sequence[int]) -> Worker:
    """Start a worker. From the thread that runs Trio: see `launch_command`.

    Args:
        environment: of the worker. See `worker_environment`.
        listeners: descriptors of the sockets on which it accepts.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        passed = [*listeners, theirs.fileno()]
        names = ":".join([*["chatd"] * len(listeners), SUPERVISOR])
        sockets = {"LISTEN_FROM": ":".join(map(str, passed)), "LISTEN_FDNAMES": names}
        python = Path(sys.executable)
        process = subprocess.Popen(  # noqa: S603 - ourselves
            launch_command(_OURSELVES, python, "-m", "chatd", "serve", death_signal=signal.SIGTERM),
            env={**environment, **sockets},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what there is to say the supervisor says
            pass_fds=passed,
            start_new_session=True,  # Ctrl-C is the supervisor's to answer
        )
    log.info("worker_started", pid=process.pid)
    return Worker(process, ours)


def worker_environment(settings: Settings, config: Path | None, conninfo: str) -> dict[str, str]:
    """Return the environment of workers: their settings are the supervisor's, but for these.

    Secrets go this way and not on the command line, which everybody on the machine may read.

    Args:
        config: the settings file, where a flag names one.
        conninfo: of the database.
    """
    chosen = {
        "CHATD_WORKERS": "1",
        "CHATD_NODE_PORT": "0",  # each has a port of its own for the others
        "CHATD_HOST": settings.host,
        "CHATD_PORT": str(settings.port),
        "CHATD_DATA_DIR": str(settings.data_dir),
        "CHATD_DATABASE_URL": conninfo,
    }
    if settings.database_url is None:
        most = max(
            2, EMBEDDED_CONNECTIONS // (settings.workers + 1)
        )  # one more while one is rolled
        chosen["CHATD_DATABASE_POOL_SIZE"] = str(min(settings.database_pool_size, most))
    if config is not None:
        chosen["CHATD_CONFIG"] = str(config.absolute())
    # What systemd watches is the supervisor.
    left_out = {*chosen, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
    kept = {name: text for name, text in os.environ.items() if name.upper() not in left_out}
    return kept | chosen
