from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import trio

from chatd.errors import StoreBug
from chatd.rows import RecoveryRow
from chatd.store import migrate as migrate_module
from chatd.store.migrate import Migration, SchemaTooNew, migrate, migrations, schema_version
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.conftest import PostgresServer
from tests.store.kit import DAY, NOW, gather, say, sign_up

SCHEMA = Path(__file__).parents[2] / "schema.sql"


@pytest.fixture
def empty_url(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the conninfo of an empty database."""
    name = f"empty_{uuid4().hex}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.conninfo(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def dump(server: PostgresServer, conninfo: str) -> str:
    """Return the schema as pg_dump writes it, without its random marks."""
    result = subprocess.run(
        [server.bin_folder / "pg_dump", "--schema-only", "--no-owner", f"--dbname={conninfo}"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    lines = result.stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def test_schema_sql_is_what_all_migrations_make(
    postgres_server: PostgresServer, empty_url: str, database_url: str
) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute(SCHEMA.read_text("utf-8").encode())
    assert dump(postgres_server, empty_url) == dump(postgres_server, database_url)
    settings = []
    for url in (empty_url, database_url):
        with psycopg.connect(url) as connection:
            query = "SELECT name, CASE name WHEN 'epoch' THEN '' ELSE value END FROM settings"
            settings.append(sorted(connection.execute(query).fetchall()))
    assert settings[0] == settings[1]


async def test_migrating_again_does_nothing(empty_url: str) -> None:
    with trio.fail_after(10):
        async with open_pool(empty_url, size=1) as pool:
            assert await schema_version(pool) == 0
            assert await migrate(empty_url) == len(migrations())
            assert await migrate(empty_url) == 0
            assert await schema_version(pool) == migrations()[-1].number


async def test_a_database_of_version_1_keeps_its_data_and_learns_recovery(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trio.fail_after(10):
        with monkeypatch.context() as first_release:
            first_release.setattr(migrate_module, "migrations", lambda: migrations()[:1])
            assert await migrate(empty_url) == 1
        async with open_pool(empty_url, size=2) as pool:
            store = PostgresStore(pool)
            assert await schema_version(pool) == 1
            alice = await sign_up(store, "Alice")
            tea = await gather(store, alice)
            said = await say(store, tea, alice, "one", "two")
            epoch = await store.epoch()

            assert await migrate(empty_url) == len(migrations()) - 1
            assert await schema_version(pool) == migrations()[-1].number
            page = await store.history(tea, alice)
            assert page is not None
            assert (page.messages, await store.epoch()) == (said, epoch)
            row = RecoveryRow("a" * 24, alice, b"{}", NOW + DAY)
            await store.save_recoveries([row], NOW)
            assert await store.take_recovery(row.pid, row.user_id, NOW) == row


async def test_daemons_that_start_at_once_migrate_once(empty_url: str) -> None:
    applied = []

    async def daemon() -> None:
        applied.append(await migrate(empty_url))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(daemon)
    assert sum(applied) == len(migrations())


async def test_a_newer_database_is_refused_and_left_alone(database_url: str) -> None:
    with trio.fail_after(10):
        async with open_pool(database_url, size=1) as pool:
            await pool.fetch("UPDATE settings SET value = '99' WHERE name = 'schema_version'")
            with pytest.raises(SchemaTooNew, match=r"schema 99.*update chatd"):
                await migrate(database_url)
            assert await schema_version(pool) == 99


async def test_a_step_that_fails_leaves_nothing_behind(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = migrations()[-1].number
    broken = Migration(version + 1, "broken.sql", "CREATE TABLE half (); SELECT no_such_column;")
    monkeypatch.setattr(migrate_module, "migrations", lambda: (*migrations(), broken))
    with trio.fail_after(10):
        with pytest.raises(StoreBug, match="no_such_column"):
            await migrate(database_url)
        async with open_pool(database_url, size=1) as pool:
            assert await schema_version(pool) == version
            assert await pool.fetch("SELECT to_regclass('half')") == [(None,)]


async def test_each_database_has_an_epoch_of_its_own(empty_url: str, database_url: str) -> None:
    epochs = set()
    with trio.fail_after(10):
        await migrate(empty_url)
        for url in (empty_url, database_url):
            async with open_pool(url, size=1) as pool:
                epochs.update(await pool.fetch("SELECT value FROM settings WHERE name = 'epoch'"))
    assert len(epochs) == 2


def test_migrations_are_package_data_numbered_from_1_without_holes() -> None:
    found = [entry.name for entry in files("chatd.store.migrations").iterdir()]
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))
    assert {step.name for step in migrations()} == {name for name in found if ".sql" in name}
