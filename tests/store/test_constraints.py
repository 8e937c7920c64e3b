"""What PostgreSQL itself refuses to keep, whoever writes it."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import gather, say, sign_up

BUSY = ("messages", "session_users", "sessions")  # written with each message

BAD_ROWS: tuple[LiteralString, ...] = (
    "UPDATE messages SET seq = 0, ordinal = 0",
    "UPDATE messages SET ordinal = 0",
    "UPDATE messages SET ordinal = seq + 1",
    "UPDATE messages SET changed_seq = seq - 1",
    "UPDATE messages SET content = repeat('x', 16385)",
    "UPDATE messages SET content = E'\\x01' || repeat('x', 90000)",
    "UPDATE messages SET client_msg_id = ''",
    "UPDATE messages SET client_msg_id = repeat('x', 256)",
    "UPDATE messages SET version = 0",
    "UPDATE messages SET reaction_count = -1",
    "UPDATE messages SET pinned_at = now()",
    "UPDATE messages SET pinned_by = sender_id",
    "UPDATE sessions SET kind = 'CLUB'",
    "UPDATE sessions SET kind = 'DIRECT'",
    "UPDATE sessions SET direct_key = 'us'",
    "UPDATE sessions SET changed_seq = -1",
    "UPDATE sessions SET changed_seq = seq + 1",
    "UPDATE sessions SET message_count = -1",
    "UPDATE sessions SET message_count = seq + 1",
    "UPDATE sessions SET member_count = -1",
    "UPDATE sessions SET slow_mode_seconds = 121",
    "UPDATE sessions SET last_deleted_ordinal = -1",
    """
    INSERT INTO sessions (id, kind, direct_key, created_at, active_at)
    VALUES (gen_random_uuid(), 'GROUP', 'us', now(), now())
    """,
    "UPDATE session_users SET role = 'GUEST'",
    "UPDATE session_users SET last_read_seq = -1",
    "UPDATE session_users SET last_read_ordinal = -1",
    "UPDATE session_users SET mention_count = -1",
    "UPDATE session_users SET changed_seq = -1",
    "UPDATE session_users SET own_above = -1",
    "UPDATE session_users SET joined_seq = -1",
    "UPDATE session_users SET left_reason = 'bored'",
)
GOOD_ROWS: tuple[LiteralString, ...] = (
    "UPDATE messages SET content = repeat('x', 16384), client_msg_id = repeat('x', 255)",
    "UPDATE messages SET content = E'\\x01' || repeat('x', 89999), client_msg_id = NULL",
    "UPDATE messages SET pinned_at = now(), pinned_by = sender_id",
    "UPDATE sessions SET kind = 'DIRECT', direct_key = 'us', slow_mode_seconds = 120",
    "UPDATE session_users SET role = 'READ_ONLY', left_reason = 'banned'",
)


@pytest.fixture
async def kept_url(database_url: str) -> str:
    """Return the conninfo of a database with a session, a member and a message."""
    async with open_pool(database_url, size=1) as pool:
        store = PostgresStore(pool)
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        await say(store, tea, alice, "one")
    return database_url


async def test_a_row_that_cannot_be_is_refused(kept_url: str) -> None:
    with psycopg.connect(kept_url, autocommit=True) as connection:
        for statement in BAD_ROWS:
            try:
                connection.execute(statement)
            except psycopg.errors.CheckViolation:
                continue
            pytest.fail(statement)


async def test_a_row_that_may_be_is_kept(kept_url: str) -> None:
    with psycopg.connect(kept_url) as connection:
        for statement in GOOD_ROWS:
            assert connection.execute(statement).rowcount == 1, statement


def test_busy_tables_have_few_checks_of_their_own(database_url: str) -> None:
    """Each is compiled anew by every statement that writes there: that is what domains are for."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT conrelid::regclass::text, count(*) FROM pg_constraint "
            "WHERE contype = 'c' AND conrelid = ANY (%s::regclass[]) GROUP BY conrelid",
            [list(BUSY)],
        ).fetchall()
    assert dict(found) == {"messages": 1, "sessions": 1}
