"""The databases of the tests: new to each of them, whatever the one before has left behind."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.databases import PostgresServer, fresh_database


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def test_what_a_test_has_written_is_gone_for_the_next_one(postgres_server: PostgresServer) -> None:
    settings = "SELECT name, value FROM settings ORDER BY name"
    audit = "INSERT INTO audit_log (at, action, details) VALUES (now(), 'login', '{}') RETURNING id"
    with fresh_database(postgres_server) as url:
        first = rows(url, settings)
        assert rows(url, audit) == [(1,)]
        rows(url, "UPDATE settings SET value = '\"other\"'")
    with fresh_database(postgres_server) as again:
        assert again == url
        assert rows(again, settings) == first
        assert rows(again, "SELECT count(*) FROM audit_log") == [(0,)]
        assert rows(again, audit) == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ADD COLUMN more text",
        "CREATE TABLE more (id int)",
        "DROP INDEX users_email_key",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_database_that_a_test_has_changed_is_not_used_again(
    postgres_server: PostgresServer, change: str
) -> None:
    with fresh_database(postgres_server) as url:
        rows(url, change)
    with fresh_database(postgres_server) as other:
        assert other != url


def test_a_connection_that_a_test_has_left_open_is_ended(postgres_server: PostgresServer) -> None:
    with fresh_database(postgres_server) as url:
        left = psycopg.connect(url, autocommit=True)
        left.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    left.close()
