"""Several daemon processes on one port of one machine: kept alive, drained, rolled one by one.

The supervisor holds the listening sockets and serves nobody. Workers accept from one queue, so
that nothing is lost while one of them is replaced. The embedded PostgreSQL and the data folder's
lock are the supervisor's.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog
import trio

from chatd.config import Settings
from chatd.keyring import load_keyring
from chatd.keys import load_signing_keys
from chatd.nurseries.certificates import tls_context
from chatd.nurseries.daemon import open_database
from chatd.nurseries.files import clean_files
from chatd.nurseries.inherited import take_inherited
from chatd.nurseries.listener import bound_port, descriptor_of, open_listeners
from chatd.nurseries.systemd import notify, tell_systemd
from chatd.nurseries.workers import Worker, WorkerError, spawn, worker_environment
from chatd.store.migrate import migrate

FAST_FAILURES = 5  # in a row of one worker's place: then it is the settings, not the worker
FAST_SECONDS = 5.0  # a worker that was ready for less, or never was, has failed at its start
BACKOFF_FIRST, BACKOFF_LAST = 0.1, 5.0  # seconds before a restart, doubled each time
START_PATIENCE = 120.0  # seconds for a worker to be ready while it is rolled; a start takes two
STOP_MARGIN = 10.0  # seconds above its own deadlines until a worker is ended by force
SECOND_SIGNAL = 10.0  # seconds for workers to end at once; they write what their clients need
SPACE_INTERVAL = 1.0  # seconds between two looks whether the database may be written

log = structlog.get_logger("chatd.supervisor")


class Place:
    """Where there is always one worker."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.changing = trio.Lock()  # another worker is started for this place
        self.failures = 0  # fast ones, in a row

    def count(self) -> bool:
        """Count the end of its worker; return whether another try is worth it."""
        ready_at = self.worker.ready_at
        has_failed = ready_at is None or trio.current_time() - ready_at < FAST_SECONDS
        self.failures = self.failures + 1 if has_failed else 0
        return self.failures < FAST_FAILURES


class Supervisor:
    """Keeps workers; made by `run_supervisor`.

    Args:
        count: how many there are.
        stop_limit: seconds that a worker may take to stop.
    """

    def __init__(self, count: int, stop_limit: float) -> None:
        self._count = count
        self._spawn: Callable[[], Worker]
        self._processes: trio.Nursery
        self._stop_limit = stop_limit
        self._places: list[Place] = []
        self._alive: set[Worker] = set()
        self._is_writable = True
        self._roll = trio.Event()
        self.is_stopping = trio.Event()

    @property
    def alive(self) -> int:
        """How many processes there are."""
        return len(self._alive)

    def stop(self) -> None:
        """Drain all workers; called again they are ended at once."""
        if self.is_stopping.is_set():
            for worker in self._alive:
                worker.drain()
        self.is_stopping.set()

    def roll(self) -> None:
        """Replace the workers, one by one, by new ones; asked again meanwhile, once more."""
        self._roll.set()

    async def run(self, spawn_one: Callable[[], Worker], announce: Callable[[], None]) -> None:
        """Keep workers until `stop`, and return when all have ended.

        Args:
            spawn_one: starts one worker.
            announce: called when all are ready for the first time.

        Raises:
            WorkerError: one cannot start; from inside a nursery, so in a group.
        """
        self._spawn = spawn_one
        async with trio.open_nursery() as self._processes:
            async with trio.open_nursery() as nursery:
                self._places = [Place(self._start()) for _ in range(self._count)]
                nursery.start_soon(self._roll_when_told)
                nursery.start_soon(self._announce, announce)
                await self.is_stopping.wait()
                nursery.cancel_scope.cancel(reason="stopping")
            await self._end_all()
            self._processes.cancel_scope.cancel(reason="stopped")
        log.info("stopped")

    async def watch_space(self, is_writable: Callable[[], bool]) -> None:
        """Tell the workers whether the database may be written, whenever that changes."""
        while True:
            await trio.sleep(SPACE_INTERVAL)
            if is_writable() != self._is_writable:
                self._is_writable = is_writable()
                for worker in list(self._alive):
                    await worker.tell(is_writable=self._is_writable)

    def _start(self) -> Worker:
        worker = self._spawn()
        self._alive.add(worker)
        self._processes.start_soon(self._attend, worker)
        return worker

    async def _attend(self, worker: Worker) -> None:
        if not self._is_writable:
            await worker.tell(is_writable=False)
        try:
            await worker.attend()
        finally:
            self._alive.discard(worker)
        for place in self._places:
            await self._refill(place, worker)

    async def _refill(self, place: Place, worker: Worker) -> None:
        """Start another worker where this one has ended, unless it was rolled or all stop."""
        async with place.changing:
            if place.worker is not worker or self.is_stopping.is_set():
                return
            lived = trio.current_time() - worker.began
            log.warning("worker_died", pid=worker.pid, status=worker.status, lived=round(lived, 3))
            if not place.count():
                msg = (
                    f"a worker ended {FAST_FAILURES} times right after its start, the last time "
                    f"with status {worker.status}; it has said why"
                )
                raise WorkerError(msg)
            if place.failures:
                await trio.sleep(min(BACKOFF_FIRST * 2 ** (place.failures - 1), BACKOFF_LAST))
            if not self.is_stopping.is_set():
                place.worker = self._start()

    async def _announce(self, announce: Callable[[], None]) -> None:
        for place in self._places:
            while not place.worker.is_ready:
                await place.worker.changed.wait()
                async with place.changing:  # it has ended, and another one comes
                    pass
        announce()

    async def _roll_when_told(self) -> None:
        while True:
            await self._roll.wait()
            self._roll = trio.Event()
            for place in self._places:
                if not await self._replace(place):
                    break

    async def _replace(self, place: Place) -> bool:
        """Start a new worker for a place, then drain the old one; False when it does not start."""
        async with place.changing:
            old, new = place.worker, self._start()
            with trio.move_on_after(START_PATIENCE):
                await new.changed.wait()
            if not new.is_ready:
                new.kill()
                log.error("roll_ended", reason="the new worker does not start", kept=old.pid)
                return False
            place.worker, place.failures = new, 0
        log.info("worker_rolled", old=old.pid, new=new.pid)
        old.drain()
        await self._until_ended([old])
        return True

    async def _end_all(self) -> None:
        workers = list(self._alive)
        log.info("draining", workers=len(workers))
        await notify("STOPPING=1")
        for worker in workers:
            worker.drain()
        await self._until_ended(workers)

    async def _until_ended(self, workers: list[Worker]) -> None:
        with trio.move_on_after(self._stop_limit) as limit:
            for worker in workers:
                await worker.ended.wait()
        if limit.cancelled_caught:
            for worker in workers:
                if not worker.ended.is_set():
                    log.error("worker_does_not_end", pid=worker.pid)
                    worker.kill()


async def run_supervisor(
    settings: Settings, config: Path | None, announce: Callable[[int], None]
) -> None:
    """Serve by `settings.workers` processes until a signal.

    SIGTERM or SIGINT drains them, a second one ends them at once; SIGHUP rolls them.

    Args:
        config: the settings file, where a flag names one.
        announce: called with the port once all workers accept connections.

    Raises:
        SettingsError, DataFolderInUse, StoreError, OSError: it cannot start; the text says why.
        WorkerError: the workers do not.
    """
    tls_context(settings)  # what no worker could read is told at once
    load_keyring(settings)
    inherited = take_inherited().listeners
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    limit = settings.drain_seconds + settings.commit_drain_seconds + STOP_MARGIN
    supervisor = Supervisor(settings.workers, limit)
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, supervisor, nursery.cancel_scope)
            async with open_database(settings) as (conninfo, is_writable):
                load_signing_keys(settings)  # made once, not by each
                await migrate(conninfo, settings.database_pooler)
                await clean_files(settings)
                nursery.start_soon(supervisor.watch_space, is_writable)
                listeners = await open_listeners(settings, inherited=inherited)
                sockets = [descriptor_of(each) for each in listeners]
                environment = worker_environment(settings, config, conninfo)

                def serves() -> None:
                    announce(bound_port(listeners[0]))
                    nursery.start_soon(tell_systemd, lambda: supervisor.alive)

                await supervisor.run(lambda: spawn(environment, sockets), serves)
            nursery.cancel_scope.cancel(reason="stopped")


async def _obey(
    signals: AsyncIterator[int], supervisor: Supervisor, everything: trio.CancelScope
) -> None:
    async for number in signals:
        log.info("signal", signal=signal.Signals(number).name)
        if number == signal.SIGHUP:
            supervisor.roll()
            continue
        if supervisor.is_stopping.is_set():
            everything.deadline = trio.current_time() + SECOND_SIGNAL * (supervisor.alive > 0)
        supervisor.stop()
