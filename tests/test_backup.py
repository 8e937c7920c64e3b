"""`chatd backup` and `chatd restore` on real databases: what they refuse, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import trio
from typer.testing import CliRunner, Result

from chatd import cli
from chatd.ids import uuid7
from chatd.nurseries import pgtools
from chatd.nurseries.archive import ABOUT, DUMP, FORMAT, ArchiveWriter
from chatd.nurseries.postgres import lock_data_folder
from chatd.store.migrate import migrations
from tests.databases import PostgresServer

Run = Callable[..., Result]
KNOWN, UNKNOWN = "ab" * 16, "cd" * 16  # keys of files: one has a row
WRITE = """
    INSERT INTO users (id, email, name, created_at) VALUES ('{user}', 'a@example.org', 'A', now());
    INSERT INTO ai_sessions (id, user_id, model, seq, created_at, active_at)
    VALUES ('{ai}', '{user}', 'm', 1, now(), now());
    INSERT INTO ai_messages (id, ai_session_id, seq, role, status, content, created_at)
    VALUES ('{ai}', '{ai}', 1, 'ASSISTANT', 'STREAMING', 'half', now());
    INSERT INTO files (id, key, uploader_id, name, size, mime_type, created_at, upload_until,
                       loose_since)
    VALUES ('{ai}', '{key}', '{user}', 'a.bin', 3, 'text/plain', now(), now(), now())
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return what runs a command on an archive, a database, and a data folder by its name."""
    for name in [name for name in os.environ if name.startswith("CHATD_")]:
        monkeypatch.delenv(name)

    def run(command: str, archive: Path, url: str | None, data: str = "data", *more: str) -> Result:
        flags = ["--data-dir", str(tmp_path / data), *more]
        flags += [] if url is None else ["--database-url", url]
        return CliRunner().invoke(cli.app, [command, str(archive), *flags])

    return run


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    return result.stderr


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


@contextmanager
def empty_database(server: PostgresServer) -> Iterator[str]:
    """Have a database with nothing in it for the block."""
    name = f"empty_{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name}")
    yield server.conninfo(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    with empty_database(postgres_server) as url:
        yield url


@pytest.fixture
def written_url(database_url: str, tmp_path: Path) -> str:
    """Return a database with a half-done answer and a file, and lay the bytes of two files."""
    with psycopg.connect(database_url) as connection:
        connection.execute(WRITE.format(user=uuid7(), ai=uuid7(), key=KNOWN).encode())
    for key in (KNOWN, UNKNOWN):
        folder = tmp_path / "data" / "files" / "stored" / key[:2]
        folder.mkdir(parents=True)
        (folder / key).write_bytes(b"abc")
    incoming = tmp_path / "data" / "files" / "incoming"
    incoming.mkdir()
    (incoming / KNOWN).write_bytes(b"new")
    (incoming / f"{KNOWN}.0123.part").write_bytes(b"n")
    return database_url


@pytest.fixture
def archive(run: Run, written_url: str, tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar"
    assert "3 files, without a signing key" in said(run("backup", path, written_url))
    return path


def lying(folder: Path) -> set[str]:
    """Return what lies in a folder, but for the lock."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} - {
        "chatd.lock"
    }


def test_what_is_restored_has_an_epoch_of_its_own_no_half_answer_and_no_stray_file(
    run: Run, archive: Path, written_url: str, empty_url: str, tmp_path: Path
) -> None:
    (tmp_path / "there" / "files").mkdir(mode=0o700, parents=True)  # as the mount of a container
    told = said(run("restore", archive, empty_url, "there"))
    assert "2 files, without a signing key, 0 migrations" in told
    [(epoch,)] = ask(empty_url, "SELECT value FROM settings WHERE name = 'epoch'")
    assert epoch in told
    assert [(epoch,)] != ask(written_url, "SELECT value FROM settings WHERE name = 'epoch'")
    [answer] = ask(empty_url, "SELECT status, content FROM ai_messages")
    assert answer == ("INTERRUPTED", "half")
    assert ask(written_url, "SELECT status FROM ai_messages") == [("STREAMING",)]
    assert lying(tmp_path / "there") == {
        f"files/incoming/{KNOWN}",
        f"files/stored/{KNOWN[:2]}/{KNOWN}",
    }
    for folder in (tmp_path / "there" / "files").rglob("*"):
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("source", ["oldest", "embedded"])
@pytest.mark.parametrize("target", ["oldest", "embedded"])
def test_a_backup_moves_between_releases_of_postgresql(
    run: Run, request: pytest.FixtureRequest, tmp_path: Path, source: str, target: str
) -> None:
    names = {"oldest": ("oldest_server", "oldest_database_url")}
    urls = names | {"embedded": ("postgres_server", "database_url")}
    archive, url = tmp_path / "backup.tar", request.getfixturevalue(urls[source][1])
    with psycopg.connect(url) as connection:
        connection.execute(WRITE.format(user=uuid7(), ai=uuid7(), key=KNOWN).encode())
    said(run("backup", archive, url))
    with empty_database(request.getfixturevalue(urls[target][0])) as there:
        said(run("restore", archive, there, "there"))
        assert ask(there, "SELECT name FROM users") == [("A",)]
        assert ask(there, "SELECT search_text('Ölàf')") == [("olaf",)]


def test_a_backup_overwrites_nothing(run: Run, archive: Path, database_url: str) -> None:
    before = archive.read_bytes()
    assert "overwrites nothing" in refused(run("backup", archive, database_url))
    assert archive.read_bytes() == before


def test_there_is_no_backup_of_nothing(run: Run, empty_url: str, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    assert "no schema of chatd" in refused(run("backup", archive, empty_url))
    assert "has no PostgreSQL" in refused(run("backup", archive, None))
    assert lying(tmp_path) == set()


def test_a_backup_that_fails_leaves_no_file(
    run: Run, written_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgtools, "LOCK_TIMEOUT", 100)
    with psycopg.connect(written_url) as connection:
        connection.execute("LOCK TABLE users")  # as a migration might
        assert "pg_dump" in refused(run("backup", tmp_path / "backup.tar", written_url))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_ctrl_c_ends_a_backup_and_leaves_no_file(written_url: str, tmp_path: Path) -> None:
    waiting = """
        SELECT 1 FROM pg_stat_activity
        WHERE application_name = 'chatd-backup' AND wait_event_type = 'Lock'
    """
    with psycopg.connect(written_url) as connection:
        connection.execute("LOCK TABLE users")
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "chatd", "backup", tmp_path / "backup.tar"),
                *("--data-dir", tmp_path / "data", "--database-url", written_url),
            ],
            stdin=subprocess.DEVNULL,
        )
        give_up_at = time.monotonic() + 60
        while not ask(written_url, waiting) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # to it alone: its pg_dump is its own to end
        assert process.wait(60) == 130
        assert ask(written_url, waiting) == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_data_folder_in_use_without_a_postgresql_is_told_in_words(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "data" / "postgres" / "data").mkdir(parents=True)
    with lock_data_folder(tmp_path / "data"):
        assert "is database_url set?" in refused(run("backup", tmp_path / "backup.tar", None))


def test_a_server_that_is_away_is_told_in_words(run: Run, tmp_path: Path) -> None:
    nowhere = f"host={tmp_path} dbname=chatd"
    assert "failed" in refused(run("backup", tmp_path / "backup.tar", nowhere))


def test_a_truncated_archive_touches_nothing(
    run: Run, archive: Path, empty_url: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:-3000])
    assert "truncated" in refused(run("restore", cut, empty_url, "there"))
    assert not (tmp_path / "there").exists()
    assert ask(empty_url, "SELECT 1 FROM pg_class WHERE relname = 'settings'") == []


def test_a_database_that_is_not_empty_is_refused_and_left_as_it_is(
    run: Run, archive: Path, written_url: str, tmp_path: Path
) -> None:
    before = ask(written_url, "SELECT * FROM settings")
    assert "not empty" in refused(run("restore", archive, written_url, "there"))
    assert ask(written_url, "SELECT * FROM settings") == before
    assert lying(tmp_path / "there") == set()


@pytest.mark.parametrize("there", ["files/x", "signing.key", "postgres/data/PG_VERSION"])
def test_a_data_folder_that_is_not_empty_is_refused_and_left_as_it_is(
    run: Run, archive: Path, empty_url: str, tmp_path: Path, there: str
) -> None:
    path = tmp_path / "there" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    assert "empty data folder" in refused(run("restore", archive, empty_url, "there"))
    assert lying(tmp_path / "there") == {there}
    assert path.read_text() == "mine"


def test_files_that_lie_elsewhere_are_not_restored_here(
    run: Run, archive: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATD_FILES", "off")
    assert "files=local" in refused(run("restore", archive, empty_url, "there"))


def made(path: Path, about: dict[str, Any], dumped: bytes | None) -> Path:
    """Write an archive that is whole, whatever is in it."""

    def write() -> None:
        with path.open("wb") as file:
            writer = ArchiveWriter(file)
            writer.add_json(ABOUT, {"format": FORMAT, "madeAt": "", "files": "local", **about})
            if dumped is not None:
                writer.add(DUMP, [dumped])
            writer.finish()

    async def run() -> None:
        await trio.to_thread.run_sync(write)

    trio.run(run)
    return path


def test_a_backup_of_a_newer_chatd_is_refused(run: Run, empty_url: str, tmp_path: Path) -> None:
    newest = migrations()[-1].number
    newer = made(tmp_path / "newer.tar", {"schema": newest + 1}, b"PGDMP")
    assert "update chatd" in refused(run("restore", newer, empty_url, "there"))
    assert not (tmp_path / "there").exists()


def test_an_archive_without_a_database_is_refused(run: Run, empty_url: str, tmp_path: Path) -> None:
    empty = made(tmp_path / "empty.tar", {"schema": 1}, None)
    assert "has no database" in refused(run("restore", empty, empty_url, "there"))


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_dump_that_does_not_load_leaves_nothing_behind(
    run: Run, empty_url: str, tmp_path: Path, size: int
) -> None:
    broken = made(tmp_path / "broken.tar", {"schema": 1}, b"PGDMP" + bytes(size))
    assert "pg_restore" in refused(run("restore", broken, empty_url, "there"))
    assert lying(tmp_path / "there") == set()
