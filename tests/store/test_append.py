"""A message alone and one of a batch are stored by two functions of the database, alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from chatd.ids import uuid7
from chatd.rows import Append, AppendRow, MessageRow, NewMessage, Role
from chatd.store.messages import _APPEND_MESSAGE
from chatd.store.pool import Pool, Rows, Transaction
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, gather, say, sign_up, stored, words
from tests.store.test_writing import SLOW, rule

Situation = Callable[[PostgresStore, UUID, People], Awaitable[NewMessage]]
"""Brings a session into a state and returns what its member Bob says in it then."""


def plain(**fields: Any) -> Situation:
    async def arrange(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
        del store
        return words(tea, people.bob, **fields)

    return arrange


def reply(*, is_deleted: bool = False, is_elsewhere: bool = False) -> Situation:
    async def arrange(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
        place = await gather(store, people.alice) if is_elsewhere else tea
        [question] = await say(store, place, people.alice, "Tea? " * 100)
        if is_deleted:
            assert await store.delete_message(question.id, people.alice, role="OWNER", at=NOW)
        return words(tea, people.bob, reply_to=question.id)

    return arrange


def ruled(role: Role = "MEMBER", **columns: Any) -> Situation:
    async def arrange(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
        await rule(store, tea, people.bob, role=role, **columns)
        return words(tea, people.bob)

    return arrange


def slow(role: Role = "MEMBER", *, seconds: int = 1) -> Situation:
    async def arrange(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
        await say(store, tea, people.bob, "first")
        await rule(store, tea, people.bob, role=role, **SLOW)
        return words(tea, people.bob, at=NOW + seconds * SECOND)

    return arrange


def repeat(*, is_reply: bool = False, has_left: bool = False, is_edited: bool = False) -> Situation:
    async def arrange(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
        key = str(tea)
        [question] = await say(store, tea, people.alice, "Tea?")
        said = words(tea, people.bob, key=key, reply_to=question.id if is_reply else None)
        await store.append_messages([said])
        if is_edited:
            change = {"role": "MEMBER", "content": "Yes", "version": None, "at": NOW + SECOND}
            assert await store.edit_message(said.id, people.bob, **change)  # type: ignore[arg-type]
        if has_left:
            await store.remove_member(tea, people.bob, at=NOW)
        return said._replace(id=uuid7())

    return arrange


async def stranger(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
    del people
    return words(tea, await sign_up(store, f"Stranger {tea}"))


async def nowhere(store: PostgresStore, tea: UUID, people: People) -> NewMessage:
    del store, tea
    return words(uuid7(), people.bob)


SITUATIONS: dict[str, tuple[Append, Situation]] = {
    "plain": (Append.STORED, plain()),
    "with a key": (Append.STORED, plain(key="k")),
    "reply": (Append.STORED, reply()),
    "reply to a deleted one": (Append.STORED, reply(is_deleted=True)),
    "reply to another session": (Append.NO_SUCH_REPLY, reply(is_elsewhere=True)),
    "reply to nothing": (Append.NO_SUCH_REPLY, plain(reply_to=NOBODY)),
    "reader": (Append.READ_ONLY, ruled("READ_ONLY")),
    "archived": (Append.READ_ONLY, ruled("OWNER", archived_at=NOW)),
    "read only": (Append.READ_ONLY, ruled(is_read_only=True)),
    "read only, not for an admin": (Append.STORED, ruled("ADMIN", is_read_only=True)),
    "muted": (Append.MUTED, ruled(muted_until=NOW + DAY)),
    "muted till now": (Append.STORED, ruled(muted_until=NOW)),
    "slow": (Append.SLOW_MODE, slow()),
    "slow, and late enough": (Append.STORED, slow(seconds=10)),
    "slow, not for an admin": (Append.STORED, slow("ADMIN")),
    "slow, and the first": (Append.STORED, ruled(slow_mode_seconds=10)),
    "repeat": (Append.DUPLICATE, repeat()),
    "repeat of a reply": (Append.DUPLICATE, repeat(is_reply=True)),
    "repeat of an edited one": (Append.DUPLICATE, repeat(is_edited=True)),
    "repeat by one who has left": (Append.DUPLICATE, repeat(has_left=True)),
    "stranger": (Append.NOT_A_MEMBER, stranger),
    "no such session": (Append.NOT_A_MEMBER, nowhere),
}


def beside_ids(outcome: AppendRow) -> tuple[Append, object, object, MessageRow | None]:
    """Return an outcome without what differs between two sessions."""
    row = outcome.row
    if row is not None:
        answered = row.reply_to and row.reply_to._replace(id=NOBODY)
        row = row._replace(id=NOBODY, session_id=NOBODY, client_msg_id=None, reply_to=answered)
    return outcome.outcome, outcome.until, outcome.told, row


async def standing(pool: Pool, session_id: UUID) -> Rows:
    """Return all that storing a message changes of a session and its members."""
    return [
        *await pool.fetch(
            "SELECT seq, message_count, active_at FROM sessions WHERE id = %(id)s",
            {"id": session_id},
        ),
        *await pool.fetch(
            """
            SELECT last_read_seq, last_read_ordinal, last_sent_at, mention_count
            FROM session_users JOIN users ON users.id = user_id
            WHERE session_id = %(id)s ORDER BY name
            """,
            {"id": session_id},
        ),
        *await pool.fetch(
            """
            SELECT seq, changed_seq, ordinal, sender_id, content, created_at, reply_excerpt,
                   mentions
            FROM messages WHERE session_id = %(id)s ORDER BY seq
            """,
            {"id": session_id},
        ),
    ]


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_one_alone_and_one_in_company_are_judged_and_stored_alike(
    pool: Pool, situation: str
) -> None:
    store = PostgresStore(pool)
    people = People(*[await sign_up(store, name) for name in ("Alice", "Bob", "Carol", "Dave")])
    expected, arrange = SITUATIONS[situation]
    outcomes, sessions = [], []
    for is_alone in (True, False):
        tea = await gather(store, people.alice, people.bob)
        other = words(await gather(store, people.alice), people.alice)
        message = await arrange(store, tea, people)
        if message.client_msg_id == "k":  # the first session has it now
            message = message._replace(client_msg_id=str(tea))
        found = await store.append_messages([message] if is_alone else [other, message])
        if not is_alone:
            stored(found[0])
        outcomes.append(beside_ids(found[-1]))
        sessions.append(await standing(pool, tea))
    assert outcomes[0][0] is expected
    assert outcomes[0] == outcomes[1]
    assert sessions[0] == sessions[1]


async def test_in_a_young_database_a_message_costs_as_little_as_in_an_old_one(pool: Pool) -> None:
    """Nothing has told PostgreSQL yet how many messages a session has."""
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    tea, coffee = await gather(store, alice), await gather(store, alice)
    for _ in range(6):  # a plan is kept from the first ones on
        await store.append_messages([words(tea, alice, "x"), words(coffee, alice, "x")])
        await store.append_messages([words(tea, alice, "x")])
    await store.append_messages([words(tea, alice, "x") for _ in range(300)])

    async def look(transaction: Transaction) -> int:
        both = [words(tea, alice, "x"), words(coffee, alice, "x")]
        await transaction.fetch(*store._statement(both))
        await transaction.fetch(_APPEND_MESSAGE, words(tea, alice, "x")._asdict())
        [(read,)] = await transaction.fetch(
            """
            SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
            WHERE relname = 'messages'
            """
        )
        return int(read)

    assert await pool.transact(look) == 0
