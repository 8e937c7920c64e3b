"""People and their words, for tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import trio

from chatd.contract import Store
from chatd.ids import uuid7
from chatd.rows import Append, AppendRow, MessageRow, NewMessage, SessionKind
from chatd.store.pool import Pool

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOBODY = UUID("00000000-0000-7000-8000-000000000000")


async def sign_up(store: Store, name: str) -> UUID:
    """Give a person an account and return its id."""
    user = await store.insert_user(
        user_id=uuid7(),
        email=f"{name.lower()}@example.org",
        name=name,
        password_hash=None,
        created_at=NOW,
    )
    assert user is not None
    return user.id


async def gather(
    store: Store,
    *people: UUID,
    kind: SessionKind = "GROUP",
    name: str | None = "Tea",
    at: datetime = NOW,
) -> UUID:
    """Open a session for people, the first of them its owner, and return its id."""
    session, is_new = await store.create_session(
        session_id=uuid7(),
        kind=kind,
        name=None if kind == "DIRECT" else name,
        creator_id=people[0],
        member_ids=people[1:],
        at=at,
    )
    assert is_new
    return session.id


def words(
    session_id: UUID,
    sender_id: UUID,
    content: str = "Hello",
    *,
    key: str | None = None,
    reply_to: UUID | None = None,
    at: datetime = NOW,
) -> NewMessage:
    """Make a message that is not stored yet."""
    return NewMessage(uuid7(), session_id, sender_id, content, at, key, reply_to)


async def say(store: Store, session_id: UUID, sender_id: UUID, *contents: str) -> list[MessageRow]:
    """Store messages, each in a batch of its own, and return them."""
    rows = []
    for content in contents:
        [result] = await store.append_messages([words(session_id, sender_id, content)])
        rows.append(stored(result))
    return rows


def stored(result: AppendRow | None) -> MessageRow:
    """Return the row of a message that must have been stored now."""
    assert result is not None
    assert result.outcome is Append.STORED
    assert result.row is not None
    return result.row


def contents(rows: list[MessageRow]) -> list[str]:
    """Return what was said, for comparison."""
    return [row.content for row in rows]


async def in_parallel(pool: Pool, count: int) -> None:
    """Make the pool open `count` connections."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(pool.fetch, "SELECT pg_sleep(0.05)")
