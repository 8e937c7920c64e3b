"""The chain over the audit log: whatever is done to a line behind the daemon's back is found."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
import trio
from psycopg.conninfo import make_conninfo

from chatd.audit_chain import Head, Verifier, parse_head
from chatd.contract import Store
from chatd.contract.acts import Act
from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.store import migrate as migrate_module
from chatd.store.migrate import migrate, migrations
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import NOW, SECOND, gather, say, sign_up


async def troubles(store: Store, noted: Head | None = None, page: int = 3) -> list[str]:
    """Return what is wrong with the whole chain."""
    verifier, found = Verifier(noted), list[str]()
    while links := await store.audit_links(above=verifier.head.position, limit=page):
        found += verifier.follow(links)
    assert verifier.head == await store.audit_head() or found
    found += verifier.finish()
    return found + [f"stray {each}" for each in await store.unchained_audit_lines(10)]


async def act(store: Store, *people: UUID) -> UUID:
    """Do things that are written down: of accounts, and in a session by all ways there are."""
    alice, bob = people
    for number in range(4):
        await store.write_audit(
            "login", user_id=alice, address=f"192.0.2.{number}", at=NOW + number * SECOND
        )
    details: dict[str, Any] = {"text": 'Ä|"\\ \u2028', "n": [1, 2.5, None, True]}
    await store.write_audit("odd", user_id=None, address=None, at=NOW, details=details)
    tea = await gather(store, alice, bob)
    [row] = await say(store, tea, bob, "words")
    await store.delete_message(row.id, alice, role="OWNER", at=NOW)
    return tea


async def test_a_log_that_nobody_touched_has_an_unbroken_chain(
    store: Store, people: People
) -> None:
    assert await troubles(store) == []
    await act(store, people.alice, people.bob)
    assert await troubles(store) == []
    head = await store.audit_head()
    assert head.position == 6
    await store.write_audit("login", user_id=people.bob, address=None, at=NOW)
    assert await troubles(store, head) == []
    assert parse_head(str(head)) == head


async def test_an_erasure_takes_what_tells_of_the_person_and_not_the_chain(
    store: Store, people: People
) -> None:
    await act(store, people.alice, people.bob)
    head = await store.audit_head()
    await store.begin_erasure(people.alice, deletes_messages=True, at=NOW)
    assert await troubles(store, head) == []
    links = await store.audit_links(above=0, limit=100)
    mine = [
        link.line for link in links if link.line is not None and link.line.user_id == people.alice
    ]
    accounts = [line for line in mine if line.session_id is None]
    assert [(line.action, line.address, line.salt is None) for line in accounts] == [
        *[("login", None, True)] * 4,
        ("account_erased", None, False),
    ]


async def test_lines_that_are_written_at_once_stand_behind_each_other(
    store: Store, people: People
) -> None:
    async def write(number: int) -> None:
        await store.write_audit("login", user_id=people.alice, address=str(number), at=NOW)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(write, number)
    assert await troubles(store) == []
    assert (await store.audit_head()).position == 40


async def test_a_message_writes_no_line(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.alice, "one", "two")
    assert (await store.audit_head()).position == 0


# What only somebody who is the owner of the tables can do.
TAMPERED: dict[str, tuple[LiteralString, str]] = {
    "action": ("UPDATE audit_log SET action = 'logout' WHERE id = %(id)s", "was changed"),
    "time": ("UPDATE audit_log SET at = at + interval '1 us' WHERE id = %(id)s", "was changed"),
    "user": ("UPDATE audit_log SET user_id = NULL WHERE id = %(id)s", "was changed"),
    "target": ("UPDATE audit_log SET target_id = user_id WHERE id = %(id)s", "was changed"),
    "session": ("UPDATE audit_log SET session_id = user_id WHERE id = %(id)s", "was changed"),
    "address": (
        "UPDATE audit_log SET address = '198.51.100.1' WHERE id = %(id)s",
        "another address",
    ),
    "details": ("""UPDATE audit_log SET details = '{"a": 1}' WHERE id = %(id)s""", "other details"),
    "salt": ("UPDATE audit_log SET salt = gen_random_uuid() WHERE id = %(id)s", "another address"),
    "wiped": (
        "UPDATE audit_log SET salt = NULL, address = NULL, details = '{}' WHERE id = %(id)s",
        "was erased, and its account was not",
    ),
    "removed": ("DELETE FROM audit_log WHERE id = %(id)s", "is missing"),
    "removed whole": (
        """
        WITH l AS (DELETE FROM audit_log WHERE id = %(id)s)
        DELETE FROM audit_chain WHERE audit_id = %(id)s
        """,
        "are missing",
    ),
    "swapped": (
        """
        UPDATE audit_log a
        SET action = b.action, at = b.at, address = b.address, salt = b.salt, details = b.details
        FROM audit_log b
        WHERE a.id = %(id)s AND b.id = %(id)s::bigint + 1
           OR b.id = %(id)s AND a.id = %(id)s::bigint + 1
        """,
        "was changed",
    ),
    "link": ("UPDATE audit_chain SET hash = sha256(hash) WHERE audit_id = %(id)s", "was changed"),
}


async def as_owner(pool: Pool, statement: LiteralString, params: dict[str, Any]) -> None:
    """Run a statement with the triggers off, as the owner of the tables can."""
    for table in ("audit_log", "audit_chain"):
        await pool.fetch(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await pool.fetch(statement, params)
    for table in ("audit_log", "audit_chain"):
        await pool.fetch(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.mark.threat("T110")
@pytest.mark.parametrize("kind", TAMPERED)
async def test_what_the_owner_of_the_tables_does_to_a_line_is_found(pool: Pool, kind: str) -> None:
    store = PostgresStore(pool)
    await act(store, await sign_up(store, "Alice"), await sign_up(store, "Bob"))
    assert await troubles(store) == []
    statement, sentence = TAMPERED[kind]
    await as_owner(pool, statement, {"id": 2})
    assert sentence in "; ".join(await troubles(store))


async def test_a_gap_that_was_closed_up_is_found(pool: Pool) -> None:
    store = PostgresStore(pool)
    await act(store, await sign_up(store, "Alice"), await sign_up(store, "Bob"))
    await as_owner(pool, TAMPERED["removed whole"][0], {"id": 2})
    close = "UPDATE audit_chain SET position = position - 1 WHERE position = %(position)s"
    for position in (3, 4, 5, 6):
        await as_owner(pool, close, {"position": position})
    assert "line 3 (link 2) was changed, or what was before it" in await troubles(store)


async def test_a_line_that_is_added_behind_the_chain_is_found(pool: Pool) -> None:
    store = PostgresStore(pool)
    await act(store, await sign_up(store, "Alice"), await sign_up(store, "Bob"))
    insert = "INSERT INTO audit_log (at, action) VALUES (now(), 'login')"
    await as_owner(pool, insert, {})
    assert await troubles(store) == ["stray 7"]


async def test_an_end_that_was_cut_off_is_found_by_a_head_that_was_noted(pool: Pool) -> None:
    store = PostgresStore(pool)
    await act(store, await sign_up(store, "Alice"), await sign_up(store, "Bob"))
    head = await store.audit_head()
    cut = """
        WITH l AS (DELETE FROM audit_log WHERE id > 4) DELETE FROM audit_chain WHERE audit_id > 4
    """
    await as_owner(pool, cut, {})
    assert await troubles(store) == []  # by itself a shorter chain is as good
    assert await troubles(store, head) == ["the chain ends at 4, before the noted 6"]
    for _ in range(3):
        await store.write_audit("login", user_id=None, address=None, at=NOW)
    assert await troubles(store, head) == ["link 6 is not the one that was noted"]


@pytest.mark.threat("T110")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'logout'",
        "UPDATE audit_log SET address = NULL",
        "UPDATE audit_log SET salt = NULL, address = NULL, details = '{}', at = now()",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "UPDATE audit_chain SET hash = ''",
        "DELETE FROM audit_chain",
        "TRUNCATE audit_chain",
    ],
)
async def test_postgres_itself_takes_no_change_of_the_log(
    pool: Pool, statement: LiteralString
) -> None:
    store = PostgresStore(pool)
    await act(store, await sign_up(store, "Alice"), await sign_up(store, "Bob"))
    with pytest.raises(StoreBug, match="only added to"):
        await pool.fetch(statement)
    assert await troubles(store) == []


async def test_writers_that_hold_locks_of_each_other_do_not_wait_in_a_circle(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice, bob = await sign_up(store, "Alice"), await sign_up(store, "Bob")
    one, two = await gather(store, alice, bob), await gather(store, alice, bob)
    line = "INSERT INTO audit_log (at, action) VALUES (now(), 'login')"
    lock = "SELECT FROM sessions WHERE id = %(id)s FOR NO KEY UPDATE"
    both_wrote = [trio.Event(), trio.Event()]

    async def work(number: int) -> None:
        async def transaction(transaction: Any) -> None:
            if number == 0:
                await transaction.fetch(lock, {"id": one})
            await transaction.fetch(line)
            both_wrote[number].set()
            await both_wrote[1 - number].wait()
            if number == 1:
                await transaction.fetch(lock, {"id": one})

        await pool.transact(transaction)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, 0)
            nursery.start_soon(work, 1)
    assert await troubles(store) == []
    assert two != one


def test_a_noted_head_must_be_one() -> None:
    assert parse_head(" 3:ff ") == Head(3, b"\xff")
    for wrong in ("", "3", "x:ff", "3:zz", "-1:ff"):
        with pytest.raises(ValueError):  # noqa: PT011 - of two modules, with words of their own
            parse_head(wrong)


async def test_moderation_is_in_the_chain(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    act = Act(people.alice, NOW, lambda _: None)
    assert await store.ban(tea, people.bob, act=act, until=None, reason="r") is not None
    assert (await store.audit_head()).position == 1
    assert await troubles(store) == []


BEFORE_THE_CHAIN: tuple[LiteralString, ...] = (
    """
    INSERT INTO users (id, email, name, created_at)
    VALUES (%(alice)s, 'a@example.org', 'A', now())
    """,
    """
    INSERT INTO users (id, email, name, created_at, erased_at)
    VALUES (%(gone)s, 'deleted', 'D', now(), now())
    """,
    """
    INSERT INTO audit_log (at, action, user_id, address, details)
    VALUES (now(), 'login', %(alice)s, '192.0.2.1', '{"deviceId": "x"}'),
           (now(), 'login', %(gone)s, NULL, '{}'),
           (now(), 'account_erased', %(gone)s, NULL, '{"messages": "DELETE"}'),
           (now(), 'login_failed', NULL, '192.0.2.2', '{}')
    """,
)


async def test_a_log_from_before_the_chain_is_in_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {"alice": uuid7(), "gone": uuid7()}
    name = f"before_{uuid4().hex}"
    url = make_conninfo(database_url, dbname=name)
    async with open_pool(database_url, size=1) as pool:
        await pool.fetch(f"CREATE DATABASE {name}")
    [chain] = [step for step in migrations() if "audit_chain" in step.name]
    earlier = [step for step in migrations() if step.number < chain.number]
    with monkeypatch.context() as release:
        release.setattr(migrate_module, "migrations", lambda: earlier)
        await migrate(url)
    async with open_pool(url, size=1) as pool:
        for statement in BEFORE_THE_CHAIN:
            await pool.fetch(statement, people)
        await migrate(url)
        store = PostgresStore(pool)
        assert await troubles(store) == []
        assert (await store.audit_head()).position == 4
        [_, second, third, _] = [link.line for link in await store.audit_links(above=0, limit=9)]
        assert second is not None
        assert second.salt is None  # it was erased before
        assert third is not None
        assert third.salt is not None
        await store.write_audit("login", user_id=None, address=None, at=NOW)
        assert await troubles(store) == []
