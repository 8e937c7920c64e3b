"""Search: the same hits from the index, from what is not indexed yet, and from the twin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.contract import Store
from chatd.folding import fold
from chatd.ids import uuid7
from chatd.rows import MessageRow, NewMessage
from chatd.store import search as search_module
from chatd.store.memory import MemoryStore
from chatd.store.pool import Pool, open_pool
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND, contents, gather, say, sign_up, stored, words

WORDS = [
    "tea",
    "Teapot",
    "té",
    "100%",
    "a_b",
    "東京",
    "京都タワー",
    "東京都",
    "が",
    "👍🏽",
    "ПРИВЕТ",
    "ok",
]
QUERIES = [
    *WORDS,
    "ea",
    "EAPO",
    "%",
    "_",
    "\\",
    "京都",
    "京",
    "か",
    "タワ",
    "👍",
    "рив",
    "k",
    "tea ok",
]


FOUND = [
    ("Hello world", "hello"),
    ("Hello world", "orl"),
    ("Hello world", "WORLD hel"),
    ("Hello world", "lo"),
    ("Hello world", "w"),
    ("Crème brûlée", "creme brulee"),
    ("creme", "Crème"),
    ("今天去东京都看电影", "东京"),
    ("今天去东京都看电影", "电影 今天"),
    ("今天去东京都看电影", "看"),
    ("カタカナ", "タカ"),
    ("ｶﾞﾗｽ", "ガラス"),
    ("한국어 공부", "국어"),
    ("ПРИВЕТ МИР", "привет"),
    ("ΟΔΟΣ", "οδός"),
    ("well done 👍🏽!", "👍"),
    ("go a👍b", "a👍"),
    ("100% sure_thing \\ C:\\x", "100% sure_t \\x"),
    ("x" * 200 + "needle" + "y" * 200, "xneedley"),
    ("日" * 100 + "東京" + "本" * 100, "日東京本"),
    ("one\ttwo\nthree", "two thr"),
    ("Straße", "straße"),
    ("ﬁrst", "fir"),
]
NOT_FOUND = [
    ("Hello world", "hello there"),
    ("Hello world", "low"),
    ("Hello world", "l%o"),
    ("Hello world", "h_llo"),
    ("100 percent", "100%"),
    ("か", "が"),
    ("東の京", "東京"),
    ("abc", "abcd"),
    ("abc", " "),
    ("abc", "\u0301"),
]


async def index(store: Store) -> None:
    """Index all there is."""
    while await store.index_messages(2):
        pass


async def find(store: Store, user_id: UUID, query: str, **kwargs: Any) -> list[str]:
    """Return what the found messages say."""
    return contents(await store.search(user_id, query, **({"limit": 50} | kwargs)))


@pytest.fixture(params=["indexed", "not indexed", "read to the end"])
def is_indexed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tell whether a test shall index what it says; the index is asked after one entry, or never.

    What the budget is decides who finds a message, and must not decide whether.
    """
    if request.param == "indexed":
        monkeypatch.setattr(search_module, "BUDGET", 1)
    return bool(request.param != "not indexed")


@pytest.fixture
async def tea(store: Store, people: People) -> UUID:
    return await gather(store, people.alice, people.bob)


async def test_a_message_is_found_by_words_and_parts_of_words(
    store: Store, people: People, is_indexed: bool
) -> None:
    """Each in a session of its own: one database for all."""
    places = []
    for said, _ in FOUND:
        places.append(await gather(store, people.alice, people.bob))
        await say(store, places[-1], people.alice, said, "something else altogether")
    if is_indexed:
        await index(store)
    for place, (said, query) in zip(places, FOUND, strict=True):
        assert await find(store, people.bob, query, session_id=place) == [said], query


async def test_what_a_message_does_not_hold_does_not_find_it(
    store: Store, people: People, is_indexed: bool
) -> None:
    places = []
    for said, _ in NOT_FOUND:
        places.append(await gather(store, people.alice, people.bob))
        await say(store, places[-1], people.alice, said)
    if is_indexed:
        await index(store)
    for place, (_, query) in zip(places, NOT_FOUND, strict=True):
        assert await find(store, people.bob, query, session_id=place) == [], query


async def test_only_members_of_now_find_anything(
    store: Store, people: People, tea: UUID, is_indexed: bool
) -> None:
    await say(store, tea, people.alice, "tea at five")
    if is_indexed:
        await index(store)
    assert await find(store, people.bob, "tea") == ["tea at five"]
    assert await find(store, people.carol, "tea") == []
    assert await find(store, people.carol, "tea", session_id=tea) == []
    await store.remove_member(tea, people.bob, at=NOW)
    await store.add_member(tea, people.carol, role="MEMBER", at=NOW)
    assert await find(store, people.bob, "tea") == []
    assert await find(store, people.carol, "tea") == ["tea at five"]


async def test_an_edit_or_a_deletion_counts_at_once_and_after_the_next_indexing(
    store: Store, people: People, tea: UUID, is_indexed: bool
) -> None:
    old, gone = await say(store, tea, people.alice, "green tea", "black tea")
    if is_indexed:
        await index(store)
    await store.edit_message(
        old.id, people.alice, role="OWNER", content="red wine", version=None, at=NOW
    )
    await store.delete_message(gone.id, people.alice, role="OWNER", at=NOW)
    for _ in range(2):
        assert await find(store, people.bob, "tea") == []
        assert await find(store, people.bob, "wine") == ["red wine"]
        await index(store)
    await store.react(old.id, people.bob, role="MEMBER", emoji="👍", is_on=True, at=NOW)
    for _ in range(2):
        [row] = await store.search(people.bob, "wine", limit=5)
        assert (row.version, len(row.reactions or ())) == (2, 1)
        await index(store)


async def test_filters_narrow_what_is_found(
    store: Store, people: People, tea: UUID, is_indexed: bool
) -> None:
    cake = await gather(store, people.bob, people.carol)
    for place, who, text, at in (
        (tea, people.alice, "tea one", NOW),
        (tea, people.bob, "tea two", NOW + DAY),
        (cake, people.bob, "tea three", NOW + 2 * DAY),
    ):
        [row] = await store.append_messages([words(place, who, text, at=at)])
        stored(row)
    if is_indexed:
        await index(store)
    assert await find(store, people.bob, "tea") == ["tea three", "tea two", "tea one"]
    assert await find(store, people.bob, "tea", session_id=tea) == ["tea two", "tea one"]
    assert await find(store, people.bob, "tea", sender_id=people.alice) == ["tea one"]
    assert await find(store, people.bob, "tea", since=NOW + DAY) == ["tea three", "tea two"]
    upper = (NOW + 2 * DAY, UUID(int=0))
    assert await find(store, people.bob, "tea", since=NOW + DAY, before=upper) == ["tea two"]
    assert await find(store, people.bob, "tea", since=NOW + 3 * DAY) == []


async def test_pages_by_keyset_give_everything_once_newest_first(
    store: Store, people: People, tea: UUID, is_indexed: bool
) -> None:
    cake = await gather(store, people.bob, people.carol)
    batch = [
        words((tea, cake)[n % 2], people.bob, f"tea {n}", at=NOW - (n % 7) * n * DAY)
        for n in range(40)
    ]
    rows = [stored(row) for row in await store.append_messages(batch[:30])]
    if is_indexed:
        await index(store)
    rows += [stored(row) for row in await store.append_messages(batch[30:])]
    wanted = sorted(rows, key=_position, reverse=True)
    assert await store.search(people.bob, "tea", limit=50) == wanted
    found: list[MessageRow] = []
    before = None
    while page := await store.search(people.bob, "tea", before=before, limit=7):
        found += page
        before = _position(page[-1])
    assert found == wanted
    assert all(_position(newer) > _position(older) for newer, older in pairwise(found))


def _position(row: MessageRow) -> tuple[datetime, UUID]:
    return row.created_at, row.id


async def test_of_messages_that_are_gone_nothing_stays_in_the_index(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    said, deleted = await say(store, tea, alice, "green tea", "black tea")
    await index(store)
    await store.delete_message(deleted.id, alice, role="OWNER", at=NOW)
    await index(store)
    entries = "SELECT message_id, body FROM search_entries"
    assert await pool.fetch(entries) == [(said.id, "green tea")]
    await pool.fetch("DELETE FROM messages WHERE id = %(id)s", {"id": said.id})
    assert await pool.fetch(entries) == []
    await say(store, tea, alice, "white tea")
    await index(store)
    await pool.fetch("DELETE FROM sessions")
    assert await pool.fetch(entries) == []
    assert await pool.fetch("SELECT FROM search_positions") == []
    assert await store.index_messages(10) == 0


async def test_one_node_at_a_time_indexes(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    await say(store, await gather(store, alice), alice, "tea")

    async def meanwhile(transaction: Any) -> int:
        await transaction.fetch("SELECT search_index(10)")
        return await store.index_messages(10)

    assert await pool.transact(meanwhile) == 0
    assert await pool.fetch("SELECT body FROM search_entries") == [("tea",)]


async def test_a_batch_bounds_what_one_transaction_indexes(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await store.append_messages([words(tea, alice, f"tea {n}") for n in range(25)])
    counts = []
    while await store.index_messages(10):
        [(count,)] = await pool.fetch("SELECT count(*) FROM search_entries")
        counts.append(count)
        assert len(await store.search(alice, "tea", limit=50)) == 25
    assert counts == [10, 20, 25]


async def test_long_messages_are_indexed_a_few_at_a_time(pool: Pool) -> None:
    store = PostgresStore(pool)
    alice = await sign_up(store, "Alice")
    text, sessions = "tea " * 4000, [await gather(store, alice) for _ in range(4)]
    for tea in sessions:
        await store.append_messages([words(tea, alice, text) for _ in range(10)])
    counts = []
    while (done := await store.index_messages(100)) >= 100:  # there may be more
        [(count,)] = await pool.fetch("SELECT count(*) FROM search_entries")
        counts.append(count)
        assert len(await store.search(alice, "tea", limit=50)) == 40
    assert counts == [17, 34]  # 256 KiB each
    assert 0 < done < 100
    assert await pool.fetch("SELECT count(*) FROM search_entries") == [(40,)]
    assert len(await store.search(alice, "tea", limit=50)) == 40


texts = st.lists(
    st.one_of(st.sampled_from(WORDS), st.text("aÀéZ ßñøЖж東京がｶﾞ한👍🏽%_\\-\u0301", max_size=6)),
    min_size=1,
    max_size=5,
).map(" ".join)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(texts, min_size=1, max_size=12),
    st.one_of(st.sampled_from(QUERIES), texts),
    st.integers(0, 12),
    st.integers(1, 8),
)
async def test_random_texts_are_found_alike_by_the_index_the_tail_and_the_twin(
    database_url: str, said: list[str], query: str, part: int, budget: int
) -> None:
    query = " ".join(query.split())
    alice, tea = uuid7(), uuid7()
    messages = [
        NewMessage(uuid7(), tea, alice, text, NOW - n % 3 * n * SECOND, None, None)
        for n, text in enumerate(said)
    ]
    memory = MemoryStore()
    with pytest.MonkeyPatch.context() as patch, trio.fail_after(10):
        patch.setattr(search_module, "BUDGET", budget)
        async with open_pool(database_url, size=1) as pool:
            postgres = PostgresStore(pool)
            for store in (postgres, memory):
                await _move_in(store, alice, tea)
                await _append(store, messages[:part])
                await index(store)
                await _append(store, messages[part:])
            found = await postgres.search(alice, query, limit=9)
            assert found == await memory.search(alice, query, limit=9)
            rows = await pool.fetch("SELECT content, search_text(content) FROM messages")
            assert all(fold(content) == folded for content, folded in rows)


async def _move_in(store: Store, user_id: UUID, session_id: UUID) -> None:
    await store.insert_user(
        user_id=user_id,
        email=f"{user_id}@example.org",
        name="Alice",
        password_hash=None,
        created_at=NOW,
    )
    await store.create_session(
        session_id=session_id, kind="GROUP", name="T", creator_id=user_id, member_ids=(), at=NOW
    )


async def _append(store: Store, messages: Sequence[NewMessage]) -> None:
    for message in messages:
        [row] = await store.append_messages([message])
        stored(row)
