"""The supervisor's own rules, with processes that are no daemons; the real ones are scenarios."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from chatd.config import Settings
from chatd.nurseries.supervised import SupervisorLink
from chatd.nurseries.supervisor import FAST_FAILURES, Supervisor
from chatd.nurseries.workers import Worker, WorkerError, worker_environment
from tests.http_kit import wait_until

REDIS = "redis://127.0.0.1:1/0"
# Says that it is ready when it can be stopped, and then waits for that.
PROGRAM = """
import signal, socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
{first}
channel.send(b"+")
while True:
    signal.pause()
"""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
FAILING = "sys.exit(3)"


class Crew:
    """Spawns processes, and keeps what was spawned.

    Attributes:
        first: what the next ones do before they are ready.
    """

    def __init__(self, first: str = "") -> None:
        self.first = first
        self.spawned: list[Worker] = []
        self.supervisor = Supervisor(2, stop_limit=10)

    def spawn(self) -> Worker:
        near, far = socket.socketpair()
        with far:
            command = [sys.executable, "-c", PROGRAM.format(first=self.first), str(far.fileno())]
            process = subprocess.Popen(command, pass_fds=[far.fileno()])
        self.spawned.append(Worker(process, near))
        return self.spawned[-1]

    @property
    def alive(self) -> list[int]:
        """The process ids of those that run."""
        return [worker.pid for worker in self.spawned if worker.status is None]


@asynccontextmanager
async def running(crew: Crew) -> AsyncIterator[None]:
    """Run the supervisor for the block, which begins when all are ready; its end is a stop."""
    ready = trio.Event()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.supervisor.run, crew.spawn, ready.set)
            await ready.wait()
            yield
            crew.supervisor.stop()
    assert crew.alive == []


async def test_all_are_ready_before_it_is_announced_and_all_end_with_it() -> None:
    crew = Crew()
    async with running(crew):
        assert [worker.is_ready for worker in crew.spawned] == [True, True]
    assert [worker.status for worker in crew.spawned] == [0, 0]


async def test_who_dies_is_replaced_and_the_others_are_left_alone() -> None:
    crew = Crew()
    async with running(crew):
        dying, staying = crew.spawned
        dying.kill()
        await wait_until(lambda: len(crew.spawned) == 3 and crew.spawned[2].is_ready)
        assert staying.pid in crew.alive


async def test_a_worker_that_cannot_start_ends_the_supervisor_after_some_tries() -> None:
    crew = Crew(FAILING)
    wanted = pytest.RaisesExc(WorkerError, match="with status 3")
    with trio.fail_after(30), pytest.RaisesGroup(wanted, flatten_subgroups=True):
        await crew.supervisor.run(crew.spawn, lambda: None)
    assert FAST_FAILURES <= len(crew.spawned) <= 2 * FAST_FAILURES
    assert crew.alive == []


async def test_a_roll_whose_new_worker_does_not_start_keeps_the_old_ones() -> None:
    crew = Crew()
    async with running(crew):
        before = crew.alive
        crew.first = FAILING
        with capture_logs() as logs:
            crew.supervisor.roll()
            await wait_until(lambda: any(log["event"] == "roll_ended" for log in logs))
        assert crew.alive == before
        crew.first = ""
        crew.supervisor.roll()
        await wait_until(lambda: len(crew.alive) == 2 and not {*before} & {*crew.alive})


async def test_a_roll_that_is_asked_for_within_a_roll_comes_behind_it() -> None:
    crew = Crew()
    async with running(crew):
        crew.supervisor.roll()
        await wait_until(lambda: len(crew.spawned) > 2)
        crew.supervisor.roll()
        await wait_until(lambda: len(crew.spawned) == 6 and len(crew.alive) == 2)


async def test_who_does_not_end_in_time_is_ended_by_force() -> None:
    crew = Crew(STUBBORN)
    crew.supervisor = Supervisor(1, stop_limit=0.2)
    with capture_logs() as logs:
        async with running(crew):
            [stubborn] = crew.spawned
    assert stubborn.status == -signal.SIGKILL
    assert [log["pid"] for log in logs if log["event"] == "worker_does_not_end"] == [stubborn.pid]


async def test_workers_are_told_when_the_database_cannot_be_written() -> None:
    near, far = socket.socketpair()
    link = SupervisorLink(far)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # noqa: ASYNC220 - it does not block
    worker = Worker(process, near)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            nursery.start_soon(worker.attend)
            assert link.is_writable()
            link.tell_ready(0)
            await worker.changed.wait()
            assert worker.is_ready
            await worker.tell(is_writable=False)
            await wait_until(lambda: not link.is_writable())
            await worker.tell(is_writable=True)
            await wait_until(link.is_writable)
            worker.kill()
    await worker.tell(is_writable=False)  # to nobody, which is no trouble
    link.tell_ready(0)


async def test_a_disk_that_fills_is_told_to_workers_of_before_and_of_after() -> None:
    crew, is_full = Crew(), trio.Event()
    crew.supervisor = Supervisor(1, stop_limit=10)
    crew.first = "channel.send(b'+'); sys.exit(0 if channel.recv(9) == b'r' else 3)"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crew.supervisor.watch_space, lambda: not is_full.is_set())
        async with running(crew):
            assert len(crew.alive) == 1  # it waits for a word
            is_full.set()
            await wait_until(lambda: len(crew.spawned) > 1)
            before = crew.spawned[0]
            await crew.spawned[1].ended.wait()
            assert [before.status, crew.spawned[1].status] == [0, 0]
        nursery.cancel_scope.cancel()


def test_workers_have_the_settings_of_the_supervisor_but_for_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("chatd_workers", "7")
    monkeypatch.setenv("CHATD_LOG_FORMAT", "json")
    settings = Settings(workers=7, redis_url=REDIS, data_dir=tmp_path, port=0)
    environment = worker_environment(settings, Path("chatd.toml"), "host='/socket' port='5432'")
    assert "chatd_workers" not in environment
    assert environment["CHATD_WORKERS"] == "1"
    assert environment["CHATD_NODE_PORT"] == "0"
    assert environment["CHATD_LOG_FORMAT"] == "json"
    assert environment["CHATD_DATABASE_URL"] == "host='/socket' port='5432'"
    assert environment["CHATD_DATABASE_POOL_SIZE"] == "6"
    assert environment["CHATD_CONFIG"] == str(Path("chatd.toml").absolute())
    for name, value in environment.items():
        if name.startswith("CHATD_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("chatd_workers")
    monkeypatch.delenv("CHATD_CONFIG")
    monkeypatch.setenv("CHATD_REDIS_URL", REDIS)
    assert Settings().workers == 1  # and all of it is valid


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"workers": 2}, "workers above 1 need redis_url"),
        ({"workers": 2, "redis_url": REDIS, "node_port": 9000}, "each worker takes a free port"),
        ({"workers": 2, "redis_url": REDIS, "node_url": "http://a:1"}, "each worker takes a free"),
        ({"redis_url": REDIS, "node_port": 0, "node_host": "0.0.0.0"}, "needs node_url"),
    ],
)
def test_settings_that_no_worker_could_have_are_refused(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Settings(**settings)
