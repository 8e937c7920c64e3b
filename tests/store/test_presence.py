"""Who may see whom, in both stores."""

from __future__ import annotations

from chatd.contract import Store
from tests.store.conftest import People
from tests.store.kit import NOBODY, NOW, gather


async def test_accounts_are_counted_up_to_the_limit(store: Store, people: People) -> None:
    assert await store.count_users(limit=10) == 4
    assert await store.count_users(limit=3) == 3


async def test_who_shares_a_session_is_known_and_nobody_else(store: Store, people: People) -> None:
    await gather(store, people.alice, people.bob)
    await gather(store, people.bob, people.carol)
    everyone = [people.alice, people.bob, people.carol, people.dave, NOBODY]
    known = await store.acquaintances(people.alice, everyone)
    assert {row.id for row in known} == {people.alice, people.bob}
    assert {row.name for row in known} == {"Alice", "Bob"}
    assert await store.acquaintances(people.dave, [people.bob]) == []
    assert await store.acquaintances(NOBODY, everyone) == []


async def test_who_has_left_shares_a_session_no_more(store: Store, people: People) -> None:
    session_id = await gather(store, people.alice, people.bob)
    await store.remove_member(session_id, people.bob, at=NOW)
    assert await store.acquaintances(people.alice, [people.bob]) == []
    assert await store.acquaintances(people.bob, [people.alice]) == []


async def test_a_first_state_says_how_many_members_a_session_has(
    store: Store, people: People
) -> None:
    session_id = await gather(store, people.alice, people.bob, people.carol)
    await store.remove_member(session_id, people.carol, at=NOW)
    _, [position] = (await store.first_states([people.alice], 10))[people.alice]
    assert position.member_count == 2
