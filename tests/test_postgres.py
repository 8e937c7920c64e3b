"""The embedded PostgreSQL as chatd's users meet it: started, killed, orphaned, crowded, stopped.

As root the temporary folders lie below one that only root can enter, as /root is.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
import trio
from structlog.testing import capture_logs

import chatd
from chatd.nurseries import pgcluster, postgres
from chatd.nurseries.pgaccount import Account, is_reachable
from chatd.nurseries.postgres import (
    DataFolderInUse,
    EmbeddedPostgres,
    PostgresError,
    lock_data_folder,
    open_postgres,
)

IS_ROOT = os.geteuid() == 0
REPOSITORY = Path(chatd.__file__).parents[1]
DAEMON = """
import sys, trio, trio_asyncio, psycopg
from pathlib import Path
from chatd.nurseries.postgres import open_postgres
async def main():
    async with open_postgres(Path(sys.argv[1])) as server:
        with psycopg.connect(server.conninfo) as connection:
            role, = connection.execute("SELECT current_user").fetchone()
        print("ready", server.pid, role, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data folder with its cluster, and one row in the table `message`."""
    folder = tmp_path_factory.mktemp("made")

    async def make() -> None:
        with trio.fail_after(30):
            async with open_postgres(folder) as server:
                await run(server, "CREATE TABLE message AS SELECT 'hello'::text AS text")

    trio.run(make)
    return folder


@pytest.fixture
def data_dir(made_folder: Path, tmp_path: Path) -> Path:
    """Copy the made folder, owners included, for this test alone."""
    return copy(made_folder, tmp_path / "chatd")


def copy(folder: Path, to: Path) -> Path:
    """Copy a folder with owners and modes, which shutil would not."""
    subprocess.run(["cp", "-a", folder, to], check=True)
    return to


async def run(server: EmbeddedPostgres, statement: str) -> object:
    """Run one statement and return its first value, if it returns rows."""

    def in_thread() -> object:
        with psycopg.connect(server.conninfo) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    return await trio.to_thread.run_sync(in_thread)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process or a thread does; the test's deadline bounds it."""
    while not condition():  # noqa: ASYNC110 - nobody here could set an event
        await trio.sleep(0.001)


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid is not None
    return server.pid


@contextmanager
def daemon(data_dir: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Run another process that has the server open; it ends in order when its input closes.

    Yields that process, the server's number, and the role that a query ran as.
    """
    with subprocess.Popen(
        [*prefix, sys.executable, "-c", DAEMON, data_dir],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            said = next(line for line in process.stdout if line.startswith("ready "))
            yield process, int(said.split()[1]), said.split()[2]
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def service_uid(data_dir: Path) -> int:
    return owner_of(data_dir / "postgres" / "data")


def owner_of(path: Path) -> int:
    return path.stat().st_uid


def with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


async def test_a_new_folder_gets_a_durable_server_that_chatd_is_no_superuser_of(
    tmp_path: Path,
) -> None:
    with trio.fail_after(30):
        async with open_postgres(tmp_path / "new") as server:
            assert server.is_running
            assert not server.is_read_only
            for name in ("fsync", "synchronous_commit", "data_checksums", "full_page_writes"):
                assert await run(server, f"SHOW {name}") == "on"
            assert await run(server, "SHOW listen_addresses") == ""
            assert await run(server, "SHOW is_superuser") == "off"
            assert await run(server, "SELECT current_database()") == "chatd"
            assert await run(server, "SELECT upper('señor')") == "SEÑOR"
            await run(server, "CREATE EXTENSION pg_trgm")


async def test_a_second_start_finds_the_rows_of_the_first(data_dir: Path) -> None:
    with trio.fail_after(30):
        async with open_postgres(data_dir) as server:
            assert await run(server, "SELECT text FROM message") == "hello"


async def test_a_killed_server_is_started_again_and_keeps_committed_rows(data_dir: Path) -> None:
    with trio.fail_after(30):
        async with open_postgres(data_dir) as server:
            await run(server, "INSERT INTO message VALUES ('committed')")
            first, conninfo = pid_of(server), server.conninfo
            os.kill(first, signal.SIGKILL)
            await until(lambda: server.pid != first)
            await server.wait_running()
            assert server.conninfo == conninfo
            assert server.restarts >= 1
            assert await run(server, "SELECT count(*) FROM message") == 2


async def test_a_killed_daemon_leaves_nothing_that_stops_the_next_one(data_dir: Path) -> None:
    with trio.fail_after(30):
        with daemon(data_dir) as (process, orphan, _):
            process.kill()
        async with open_postgres(data_dir) as server:
            assert server.pid != orphan
            assert not is_alive(orphan)
            assert await run(server, "SELECT text FROM message") == "hello"


async def test_an_orphan_that_hangs_is_ended_by_force(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5.0))
    monkeypatch.setattr(pgcluster, "LEFTOVER_STEPS", steps)
    with trio.fail_after(30):
        with daemon(data_dir) as (process, orphan, _):
            os.kill(orphan, signal.SIGSTOP)  # it cannot act on the death of its parent
            process.kill()
        assert is_alive(orphan)
        async with open_postgres(data_dir) as server:
            assert not is_alive(orphan)
            assert await run(server, "SELECT text FROM message") == "hello"


@contextmanager
def stranger(uid: int) -> Iterator[int]:
    """Have a process of that user; PostgreSQL takes only its own user's for a server."""
    with subprocess.Popen(["sleep", "60"], user=uid if IS_ROOT else None) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("is_postgres", [False, True])
async def test_a_stale_pid_file_with_the_number_of_a_living_stranger_harms_nobody(
    data_dir: Path, made_folder: Path, is_postgres: bool
) -> None:
    with stranger(service_uid(data_dir)) as sleeper, trio.fail_after(30):
        async with open_postgres(made_folder) as other:
            pid = pid_of(other) if is_postgres else sleeper
            stale = data_dir / "postgres" / "data" / "postmaster.pid"
            stale.write_text(f"{pid}\n/proc/self/cwd\n1\n5432\n../socket\n\n0 0\nready   \n")
            os.chown(stale, service_uid(data_dir), -1)
            async with open_postgres(data_dir) as server:
                assert await run(server, "SELECT text FROM message") == "hello"
                assert is_alive(pid)


@pytest.mark.parametrize(
    "name", ["with blank and 'quote'", r"back\slash", "a,comma", "x" * 120 + "/" + "y" * 200]
)
async def test_any_name_of_the_data_folder_works(
    made_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.parent.mkdir(exist_ok=True)
    copy(made_folder, folder)
    with trio.fail_after(30):
        async with open_postgres(folder) as server:
            assert await run(server, "SELECT text FROM message") == "hello"


def ordinary_user() -> tuple[list[str], Account]:
    """Return the command prefix that makes an ordinary user of us, and who that is."""
    entry = pwd.getpwuid(os.geteuid()) if not IS_ROOT else pwd.getpwnam("nobody")
    user = Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    if not IS_ROOT:
        return [], user
    prefix = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]
    needed = (Path(sys.executable).resolve(), Path(psycopg.__file__), Path(chatd.__file__))
    if not all(is_reachable(path.parent, user) for path in needed):
        # The interpreter lies where only root looks. Not dac_read_search: containers lack it.
        prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return prefix, user


async def test_an_ordinary_user_runs_it_as_himself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    prefix, user = ordinary_user()
    folder = tmp_path_factory.getbasetemp().parent.parent / f"chatd-test-{os.getpid()}"
    folder.mkdir(mode=0o700)
    try:
        os.chown(folder, user.uid, user.gid)
        with daemon(folder, *prefix) as (process, pid, role):
            assert role == "chatd"
            assert owner_of(Path(f"/proc/{pid}")) == user.uid
        assert process.returncode == 0
        assert service_uid(folder) == user.uid
    finally:
        shutil.rmtree(folder)


def test_a_second_daemon_on_the_same_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "made by the lock"
    with (
        lock_data_folder(folder),
        pytest.raises(DataFolderInUse) as refusal,
        lock_data_folder(folder),
    ):
        pass
    assert str(refusal.value) == f"{folder} is in use by another chatd (pid {os.getpid()})"
    with lock_data_folder(folder):
        pass  # free again


def connect_as(uid: int, folder: Path, role: str) -> str:
    """Return what a connection of that user's says, from a child that stands in the folder."""
    script = (
        "import os, sys, psycopg\n"
        "os.chdir(sys.argv[2])\n"
        "if os.geteuid() != int(sys.argv[1]):\n"
        "    os.setgroups([]); os.setuid(int(sys.argv[1]))\n"
        "try:\n"
        "    psycopg.connect(host='/proc/self/cwd', dbname='chatd', user=sys.argv[3]).close()\n"
        "    print('connected')\n"
        "except psycopg.OperationalError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(uid), str(folder), role]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.threat("T107")
async def test_no_other_user_of_the_machine_gets_in(data_dir: Path) -> None:
    folder = data_dir / "postgres" / "socket"
    stranger = pwd.getpwnam("nobody").pw_uid if IS_ROOT else os.geteuid()
    role = "chatd" if IS_ROOT else "somebody_else"  # who cannot change users asks for a wrong role
    with trio.fail_after(30):
        async with open_postgres(data_dir):
            assert folder.stat().st_mode & 0o777 == 0o700
            assert folder.stat().st_uid == service_uid(data_dir)
            assert (folder / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
            if IS_ROOT:
                said = await trio.to_thread.run_sync(connect_as, stranger, folder, role)
                assert "Permission denied" in said
            folder.chmod(0o755)  # were the folder open, the rules would still refuse
            (folder / ".s.PGSQL.5432").chmod(0o777)
            said = await trio.to_thread.run_sync(connect_as, stranger, folder, role)
            assert f'Peer authentication failed for user "{role}"' in said
            said = await trio.to_thread.run_sync(connect_as, os.geteuid(), folder, "chatd")
            assert said == "connected\n"


async def test_leaving_stops_the_server_and_all_its_processes(data_dir: Path) -> None:
    with trio.fail_after(30):
        async with open_postgres(data_dir) as server:
            await run(server, "SELECT 1")
            pids = with_children(pid_of(server))
            assert len(pids) > 3
            began = trio.current_time()
        assert trio.current_time() - began < 5
        assert server.pid is None
        assert not server.is_running
        assert not any(is_alive(pid) for pid in pids)
        assert not (data_dir / "postgres" / "data" / "postmaster.pid").exists()


async def test_a_cancelled_block_stops_the_server_too(data_dir: Path) -> None:
    with trio.fail_after(30):
        with trio.CancelScope() as scope:
            async with open_postgres(data_dir) as server:
                pid = pid_of(server)
                scope.cancel()
                await trio.sleep_forever()
        assert not is_alive(pid)


async def test_a_server_that_hangs_is_stopped_by_force(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ((signal.SIGINT, 0.1), (signal.SIGQUIT, 0.1), (signal.SIGKILL, 5.0))
    monkeypatch.setattr(postgres, "STOP_STEPS", steps)
    with trio.fail_after(30):
        async with open_postgres(data_dir) as server:
            pid = pid_of(server)
            os.kill(pid, signal.SIGSTOP)
        assert not is_alive(pid)


async def test_a_server_beyond_every_signal_is_reported_and_not_waited_for(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(30):
        async with open_postgres(data_dir) as server:
            child = server._child
            assert child is not None
            monkeypatch.setattr(postgres, "STOP_STEPS", ((signal.SIGCONT, 0.01),))
            with capture_logs() as logs:
                await postgres._stop(child)
            monkeypatch.undo()
    assert [line["event"] for line in logs] == ["server_does_not_end"]


async def test_the_server_is_forked_by_the_thread_that_lives_as_long_as_the_daemon(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel sends the death signal when the forking thread ends; workers end when idle.
    forked_by: list[threading.Thread] = []
    spawn = postgres._spawn

    def watched(cluster: pgcluster.Cluster) -> subprocess.Popen[bytes]:
        forked_by.append(threading.current_thread())
        return spawn(cluster)

    monkeypatch.setattr(postgres, "_spawn", watched)
    with trio.fail_after(30):
        async with open_postgres(data_dir):
            assert forked_by == [threading.main_thread()]


async def test_a_nearly_full_disk_makes_it_read_only_until_there_is_room_to_spare(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimpleNamespace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: disk)
    monkeypatch.setattr(postgres, "GUARD_INTERVAL", 0.001)
    looks = [(450, False), (199, True), (250, True), (301, False), (250, False), (199, True)]
    with trio.fail_after(30), capture_logs() as logs:
        async with open_postgres(data_dir) as server:
            assert not server.is_read_only
            for megabytes, is_read_only in looks:
                disk.free = megabytes * 1_000_000
                logs.clear()
                await until(lambda: any(line.get("free_bytes") == disk.free for line in logs))
                await server._look_at_space()
                assert server.is_read_only == is_read_only
                assert all(line["event"] in {"disk_nearly_full", "read_only_mode"} for line in logs)


async def test_a_server_that_never_starts_ends_the_daemon_with_the_end_of_its_log(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pgcluster.SETTINGS, "shared_buffers", "many")
    monkeypatch.setattr(postgres, "START_PATIENCE", 0.2)
    with trio.fail_after(30), pytest.raises(ExceptionGroup) as failure:
        async with open_postgres(data_dir):
            pytest.fail("it cannot be ready")
    assert failure.group_contains(PostgresError, match="invalid value for parameter")


async def test_a_server_that_keeps_dying_ends_the_daemon(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FAST_FAILURES", 1)

    async def live_through_a_kill() -> None:
        async with open_postgres(data_dir) as server:
            os.kill(pid_of(server), signal.SIGKILL)
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(ExceptionGroup) as failure:
        await live_through_a_kill()
    assert failure.group_contains(PostgresError, match="1 times in a row")


async def test_a_long_recovery_is_waited_for_and_reported(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PROGRESS_INTERVAL", 0.0)
    with trio.fail_after(30), capture_logs() as logs:
        async with open_postgres(data_dir):
            pass
    assert {"server_starting", "server_ready"} <= {line["event"] for line in logs}
