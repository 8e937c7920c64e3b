from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest
import trio

from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.rows import RecoveryRow
from chatd.store import migrate as migrate_module
from chatd.store.migrate import Migration, SchemaTooNew, migrate, migrations, schema_version
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.databases import PostgresServer
from tests.store.kit import DAY, NOW, contents, say

# As version 1 wrote it: this code knows columns that are not there yet.
FIRST_DATA: tuple[LiteralString, ...] = (
    """
    INSERT INTO users (id, email, name, created_at)
    VALUES (%(alice)s, 'alice@example.org', 'Alice', %(at)s)
    """,
    """
    INSERT INTO sessions (id, kind, name, created_at, active_at, seq, message_count, member_count)
    VALUES (%(tea)s, 'GROUP', 'Tea', %(at)s, %(at)s, 2, 2, 1)
    """,
    """
    INSERT INTO session_users (session_id, user_id, role, joined_at)
    VALUES (%(tea)s, %(alice)s, 'OWNER', %(at)s)
    """,
    """
    INSERT INTO messages (
        id, session_id, seq, changed_seq, ordinal, sender_id, content, created_at
    )
    SELECT gen_random_uuid(), %(tea)s, nth, nth, nth, %(alice)s, content, %(at)s
    FROM unnest(ARRAY['one', 'two']) WITH ORDINALITY AS words (content, nth)
    """,
)
SCHEMA = Path(__file__).parents[2] / "schema.sql"

FIRST_DATA = (
    """
    INSERT INTO users (id, email, name, created_at)
    VALUES (%(alice)s, 'alice@example.org', 'Alice', %(at)s)
    """,
    """
    INSERT INTO sessions (id, kind, name, created_at, active_at, seq, message_count, member_count)
    VALUES (%(tea)s, 'GROUP', 'Tea', %(at)s, %(at)s, 2, 2, 1)
    """,
    """
    INSERT INTO session_users (session_id, user_id, role, joined_at)
    VALUES (%(tea)s, %(alice)s, 'OWNER', %(at)s)
    """,
    """
    INSERT INTO messages (
        id, session_id, seq, changed_seq, ordinal, sender_id, content, created_at
    )
    VALUES (gen_random_uuid(), %(tea)s, 1, 1, 1, %(alice)s, 'one', %(at)s),
           (gen_random_uuid(), %(tea)s, 2, 2, 2, %(alice)s, 'two', %(at)s)
    """,
)


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
            alice, tea = uuid7(), uuid7()
            params = {"alice": alice, "tea": tea, "at": NOW}
            for statement in FIRST_DATA:
                await pool.fetch(statement, params, writes=True)
            epoch = await store.epoch()

            assert await migrate(empty_url) == len(migrations()) - 1
            assert await schema_version(pool) == migrations()[-1].number
            page = await store.history(tea, alice)
            assert page is not None
            assert (contents(page.messages), await store.epoch()) == (["one", "two"], epoch)
            [three] = await say(store, tea, alice, "three")
            assert three.seq == 3
            [found] = await store.find_users("aLI", after=None, limit=2)
            assert found.user.id == alice
            assert [row.joined_seq for row in await store.members(tea, after=None, limit=9)] == [0]
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
