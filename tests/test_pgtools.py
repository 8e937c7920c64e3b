"""pg_dump, pg_restore and psql on real databases: what they show, and how they end."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
import trio

from chatd.nurseries import pgtools
from chatd.nurseries.pgaccount import PostgresError
from chatd.nurseries.pgtools import dump, load
from chatd.store.dumps import ConnInfo, without_password


def test_a_password_is_not_in_the_command_that_others_can_see() -> None:
    url = "postgresql://ann:secret%40word@db.example.org:5433/chat?sslmode=verify-full"
    shown, password = without_password(url)
    assert password == "secret@word"
    assert "secret" not in shown
    assert "sslmode=verify-full" in shown
    assert without_password("dbname=chat").password is None


async def test_who_is_cancelled_ends_the_program(database_url: str) -> None:
    where = without_password(database_url)
    with psycopg.connect(database_url) as connection, trio.fail_after(60):
        connection.execute("LOCK TABLE users")  # the dump waits, for a minute
        began = time.monotonic()
        with trio.move_on_after(0.5) as scope:
            await trio.to_thread.run_sync(lambda: list(dump(where)))
        assert scope.cancelled_caught
        assert time.monotonic() - began < 30


async def test_a_server_that_hangs_is_given_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgtools, "STALL_TIMEOUT", 0.1)
    monkeypatch.setattr(pgtools, "LOOK_INTERVAL", 0.05)
    with psycopg.connect(database_url) as connection, trio.fail_after(60):
        connection.execute("LOCK TABLE users")
        with pytest.raises(PostgresError, match="has done nothing"):
            await trio.to_thread.run_sync(lambda: list(dump(without_password(database_url))))


async def test_a_restore_into_nowhere_says_why(tmp_path: Path, database_url: str) -> None:
    where, path = ConnInfo(f"host={tmp_path}", None), tmp_path / "dump"
    with trio.fail_after(60):
        content = await trio.to_thread.run_sync(
            lambda: b"".join(dump(without_password(database_url)))
        )
        path.write_bytes(b"ahead" + content)
        with path.open("rb") as file, pytest.raises(PostgresError, match="No such file"):
            await trio.to_thread.run_sync(lambda: load(where, file, 5, collation="x"))
