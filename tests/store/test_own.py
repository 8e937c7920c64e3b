"""What belongs to one account, page by page."""

from __future__ import annotations

from uuid import UUID

from chatd.contract import Store
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND, gather, say, words
from tests.store.test_devices import log_in

ALL = 2**40


async def written(
    store: Store, user_id: UUID, session_id: UUID, after: int, until: int
) -> list[str]:
    rows = await store.own_messages(user_id, session_id, after=after, until=until, limit=10)
    return [row.content for row in rows]


async def test_all_sessions_that_somebody_is_or_was_in_are_theirs(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.bob, people.alice)
    both = await gather(store, people.alice, people.bob, kind="DIRECT")
    await gather(store, people.bob)
    await store.remove_member(cake, people.alice, at=NOW + DAY)
    await say(store, tea, people.bob, "one")
    await store.mark_read(tea, people.alice, 1)
    rows = await store.own_sessions(people.alice, after=None, limit=10)
    assert [row.session_id for row in rows] == sorted([tea, cake, both])
    by_id = {row.session_id: row for row in rows}
    assert (by_id[tea].kind, by_id[tea].role, by_id[tea].last_read_seq) == ("GROUP", "OWNER", 1)
    assert (by_id[cake].role, by_id[cake].left_at) == ("MEMBER", NOW + DAY)
    assert (by_id[both].kind, by_id[both].name, by_id[both].left_at) == ("DIRECT", None, None)
    assert await store.own_sessions(people.alice, after=rows[0].session_id, limit=1) == rows[1:2]
    assert await store.own_sessions(people.alice, after=rows[2].session_id, limit=1) == []


async def test_the_messages_of_a_span_are_those_of_their_sender(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    for number in range(3):
        await say(store, tea, people.alice, f"a{number}")
        await say(store, tea, people.bob, f"b{number}")
    await store.remove_member(tea, people.alice, at=NOW)
    assert await written(store, people.alice, tea, 0, ALL) == ["a0", "a1", "a2"]
    assert await written(store, people.alice, tea, 1, 4) == ["a1"]
    assert await written(store, people.alice, tea, 5, ALL) == []
    first, second = await store.own_messages(people.alice, tea, after=0, until=ALL, limit=2)
    assert (first.seq, second.seq, first.session_id) == (1, 3, tea)


async def test_the_messages_of_a_span_that_mention_somebody_are_told_to_them(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    batch = [
        words(tea, people.bob)._replace(mentions=mentions)
        for mentions in ((people.alice,), (), "ALL")
    ]
    rows = [row.row for row in await store.append_messages(batch)]
    assert [row.seq for row in rows if row is not None] == [1, 2, 3]
    for after, until, seqs in ((0, ALL, [1, 3]), (1, ALL, [3]), (0, 2, [1])):
        found = await store.own_mentions(people.alice, tea, after=after, until=until, limit=9)
        assert [row.seq for row in found] == seqs
    assert await store.own_mentions(people.bob, tea, after=0, until=ALL, limit=9) == []
    [said, *_] = await store.own_messages(people.bob, tea, after=0, until=ALL, limit=1)
    assert said.mentions == (people.alice,)


async def test_earlier_texts_and_reactions_are_read_above_a_place_within_a_message(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [mine, other] = await say(store, tea, people.alice, "one", "x")
    for text in ("two", "three", "four"):
        await store.edit_message(
            mine.id, people.alice, role="OWNER", content=text, version=None, at=NOW
        )
    for emoji in ("b", "a", "ä"):
        await store.react(mine.id, people.bob, role="MEMBER", emoji=emoji, is_on=True, at=NOW)
    await store.react(other.id, people.alice, role="OWNER", emoji="a", is_on=True, at=NOW)
    texts = await store.own_revisions(people.alice, tea, after=(0, 0), until=ALL, limit=2)
    assert [(row.message_id, row.content) for row in texts] == [(mine.id, "one"), (mine.id, "two")]
    key = (texts[-1].seq, texts[-1].version)
    texts = await store.own_revisions(people.alice, tea, after=key, until=ALL, limit=2)
    assert [(row.version, row.content) for row in texts] == [(3, "three")]
    assert await store.own_revisions(people.bob, tea, after=(0, 0), until=ALL, limit=2) == []
    given = await store.own_reactions(people.bob, tea, after=(0, ""), until=ALL, limit=2)
    assert [row.emoji for row in given] == ["a", "b"]
    last = (given[-1].seq, given[-1].emoji)
    given = await store.own_reactions(people.bob, tea, after=last, until=ALL, limit=2)
    assert [(row.message_id, row.emoji) for row in given] == [(mine.id, "ä")]


async def test_devices_whose_login_has_ended_are_there_too(store: Store, people: People) -> None:
    family_id, old = await log_in(store, people.alice, b"one")
    _, new = await log_in(store, people.alice, b"two", name="curl", at=NOW + SECOND)
    await log_in(store, people.bob, b"three")
    await store.revoke_family(family_id, NOW)
    rows = await store.own_devices(people.alice, after=None, limit=10)
    assert [row.id for row in rows] == sorted([old, new])
    assert {(row.id, row.name, row.last_used_at) for row in rows} == {
        (old, "Firefox", NOW),
        (new, "curl", NOW + SECOND),
    }
    assert await store.own_devices(people.alice, after=rows[0].id, limit=10) == rows[1:]
