"""Real workers behind a real supervisor: replaced, rolled and drained, and none is left over."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Container, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.http_kit import HANDSHAKE, get
from tests.redis_kit import RedisServer, running_redis
from tests.scenarios.daemon import START_TIMEOUT, STOP_TIMEOUT, Daemon, running_daemon
from tests.scenarios.talker import create_session, register, talking
from tests.test_listener_tls import make_certificate

WORKERS = 2


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@contextmanager
def running_crew(folder: Path, redis: RedisServer, **settings: Any) -> Iterator[Crew]:
    """Run a supervisor and its workers for the block; they must have logged no error."""
    chosen = {"workers": WORKERS, "redis_url": redis.url, "drain_seconds": 2, **settings}
    with running_daemon(folder / "data", **chosen) as daemon:
        yield Crew(daemon)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Crew]:
    """Run workers for the tests that leave them complete."""
    with running_crew(tmp_path_factory.mktemp("crew"), redis) as crew:
        yield crew


@pytest.fixture
def own_crew(tmp_path: Path, redis: RedisServer) -> Iterator[Crew]:
    """Run workers for one test."""
    with running_crew(tmp_path, redis) as crew:
        yield crew


class Crew:
    """The processes of one supervisor."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers, oldest first."""
        return [pid for pid, command in self._children() if command.endswith("chatd serve")]

    @property
    def everybody(self) -> list[int]:
        """The process ids of all children: the workers and the database."""
        return [pid for pid, _ in self._children()]

    def _children(self) -> list[tuple[int, str]]:
        supervisor = self.daemon.process.pid
        numbers = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        found = []
        for number in numbers:
            command = Path(f"/proc/{number}/cmdline").read_bytes().rstrip(b"\0")
            found.append((int(number), command.replace(b"\0", b" ").decode()))
        return found

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Freeze the other workers for the block: who connects comes to this one."""
        others = [pid for pid in self.workers if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    async def new_worker(self, known: Container[int]) -> int:
        """Wait until there are all workers again, and return the one that is not known."""
        while len(self.workers) < WORKERS or all(pid in known for pid in self.workers):  # noqa: ASYNC110 - /proc tells no event
            await trio.sleep(0.02)
        [new] = [pid for pid in self.workers if pid not in known]
        return new

    async def answers(self, request: bytes = b"") -> int:
        """Ask on a connection of its own, and return the status."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.daemon.port)
        async with stream:
            await stream.send_all(request or get("/healthz", "Connection: close"))
            return await status_of(stream)


async def status_of(stream: trio.SocketStream) -> int:
    """Return the status of the answer that comes."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(65_536)
        assert data, f"no answer: {head!r}"
        head += data
    return int(head.split()[1])


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    path = Path(f"/proc/{pid}/stat")
    while path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z":  # noqa: ASYNC110, ASYNC240 - /proc tells no event, and does not block
        await trio.sleep(0.02)


async def test_every_worker_accepts_on_the_one_port(crew: Crew) -> None:
    with trio.fail_after(START_TIMEOUT):
        assert len(crew.workers) == WORKERS
        for worker in crew.workers:
            with crew.only(worker):
                assert await crew.answers() == 200


async def test_a_killed_worker_is_replaced_while_clients_of_the_others_stay(crew: Crew) -> None:
    staying, dying = crew.workers
    with trio.fail_after(START_TIMEOUT):
        ann = await register(crew.daemon, "ann")
        session = await create_session(crew.daemon, ann)
        async with AsyncExitStack() as stack:
            with crew.only(staying):
                talker = await stack.enter_async_context(talking(crew.daemon, ann))
            await talker.join(session)
            os.kill(dying, signal.SIGKILL)
            await gone(dying)
            new = await crew.new_worker({staying, dying})
            await talker.send(session, "still here")
            with crew.only(new):
                assert await crew.answers() == 200  # once it is there
            await talker.send(session, "and still")
            assert not talker.is_lost


async def test_a_roll_replaces_all_and_turns_nobody_away(crew: Crew) -> None:
    before = crew.workers
    statuses: list[int] = []

    async def connect_again_and_again(request: bytes) -> None:
        while True:
            statuses.append(await crew.answers(request))

    with trio.fail_after(START_TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect_again_and_again, b"")
            nursery.start_soon(connect_again_and_again, HANDSHAKE)
            crew.daemon.signal(signal.SIGHUP)
            for old in before:
                await gone(old)
            nursery.cancel_scope.cancel()
    assert set(statuses) == {200, 101}
    assert len(crew.workers) == WORKERS
    assert not {*before} & {*crew.workers}


async def test_a_roll_brings_a_new_certificate(tmp_path: Path, redis: RedisServer) -> None:
    certfile, keyfile = make_certificate(tmp_path, "old.test")
    with running_crew(tmp_path, redis, tls_certfile=certfile, tls_keyfile=keyfile) as crew:
        door = ("127.0.0.1", crew.daemon.port)
        assert ssl.get_server_certificate(door) == certfile.read_text()
        before = crew.workers
        make_certificate(tmp_path, "new.test")  # in the same files
        crew.daemon.signal(signal.SIGHUP)
        with trio.fail_after(START_TIMEOUT):
            for old in before:
                await gone(old)
        for worker in crew.workers:
            with crew.only(worker):
                assert ssl.get_server_certificate(door) == certfile.read_text()


async def test_the_stop_drains_all_and_leaves_nobody(own_crew: Crew) -> None:
    everybody = own_crew.everybody
    with trio.fail_after(STOP_TIMEOUT):
        ann = await register(own_crew.daemon, "ann")
        async with talking(own_crew.daemon, ann) as talker:
            own_crew.daemon.signal(signal.SIGTERM)
            await talker.until(lambda: talker.close_code is not None)
            assert talker.close_code == 4005
            assert await own_crew.daemon.exited() == 0
        for pid in everybody:
            await gone(pid)


async def test_a_second_signal_ends_all_at_once(tmp_path: Path, redis: RedisServer) -> None:
    with running_crew(tmp_path, redis, drain_seconds=600) as crew:
        daemon = crew.daemon
        with trio.fail_after(STOP_TIMEOUT):
            ann = await register(daemon, "ann")
            async with talking(daemon, ann) as talker:
                daemon.signal(signal.SIGTERM)
                await talker.until(
                    lambda: any(push.name == "server:draining" for push in talker.pushes)
                )
                daemon.signal(signal.SIGTERM)
                assert await daemon.exited() == 0


async def test_a_supervisor_that_is_killed_leaves_no_orphan(own_crew: Crew) -> None:
    everybody = own_crew.everybody
    assert len(everybody) == WORKERS + 1
    own_crew.daemon.kill()
    with trio.fail_after(STOP_TIMEOUT):
        for pid in everybody:
            await gone(pid)


def test_workers_without_a_redis_are_refused_in_plain_words(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CHATD_")}
    command = [
        sys.executable,
        "-m",
        "chatd",
        "serve",
        "--workers",
        "2",
        "--data-dir",
        str(tmp_path),
    ]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "workers above 1 need redis_url" in ended.stderr
    assert "Traceback" not in ended.stderr
