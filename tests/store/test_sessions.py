from __future__ import annotations

import pytest
import trio

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.rows import SessionRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, gather, say, sign_up, words


async def test_who_opens_a_group_owns_it(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.bob, people.alice)
    assert await store.session_for(tea, people.alice) == (
        SessionRow(tea, "GROUP", "Tea", seq=0, member_count=2, created_at=NOW),
        "OWNER",
    )
    found = await store.session_for(tea, people.bob)
    assert found is not None
    assert found[1] == "MEMBER"


async def test_strangers_see_public_sessions_only(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    square = await gather(store, people.alice, kind="PUBLIC")
    assert await store.session_for(tea, people.bob) is None
    assert await store.session_for(NOBODY, people.bob) is None
    found = await store.session_for(square, people.bob)
    assert found is not None
    assert found[1] is None


async def test_a_session_of_somebody_unknown_is_not_opened(store: Store, people: People) -> None:
    with pytest.raises(KeyError) as caught:
        await gather(store, people.alice, NOBODY)
    assert caught.value.args == (NOBODY,)
    assert await store.list_sessions(people.alice, before=None, limit=10) == []


async def test_a_session_id_is_given_once(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    with pytest.raises(StoreBug):
        await store.create_session(
            session_id=tea, kind="GROUP", name="x", creator_id=people.bob, member_ids=[], at=NOW
        )


async def test_two_people_have_one_direct_session_whoever_asks(
    store: Store, people: People
) -> None:
    direct = await gather(store, people.alice, people.bob, kind="DIRECT")
    for one, other in ((people.alice, people.bob), (people.bob, people.alice)):
        session, is_new = await store.create_session(
            session_id=uuid7(), kind="DIRECT", name=None, creator_id=one, member_ids=[other], at=NOW
        )
        assert (session.id, session.member_count, is_new) == (direct, 2, False)
        found = await store.session_for(direct, one)
        assert found is not None
        assert found[1] == "MEMBER"


async def test_two_who_ask_for_their_direct_session_at_once_get_the_same(
    store: Store, people: People
) -> None:
    results = []

    async def ask() -> None:
        session, is_new = await store.create_session(
            session_id=uuid7(),
            kind="DIRECT",
            name=None,
            creator_id=people.alice,
            member_ids=[people.bob],
            at=NOW,
        )
        results.append((session.id, is_new))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
    assert len({session_id for session_id, _ in results}) == 1
    assert sum(is_new for _, is_new in results) == 1


@pytest.mark.parametrize("others", [0, 2])
async def test_a_direct_session_takes_two(store: Store, people: People, others: int) -> None:
    with pytest.raises(ValueError, match="exactly one other"):
        await store.create_session(
            session_id=uuid7(),
            kind="DIRECT",
            name=None,
            creator_id=people.alice,
            member_ids=[people.bob, people.carol][:others],
            at=NOW,
        )


async def test_sessions_are_listed_by_latest_activity_in_pages(
    store: Store, people: People
) -> None:
    old = await gather(store, people.alice, people.bob, name="old", at=NOW)
    quiet = await gather(store, people.alice, name="quiet", at=NOW + DAY)
    busy = await gather(store, people.alice, people.bob, name="busy", at=NOW)
    await gather(store, people.bob, name="not hers", at=NOW)
    await store.append_messages([words(busy, people.bob, "news", at=NOW + 2 * DAY)])

    lines = await store.list_sessions(people.alice, before=None, limit=2)
    assert [line.session.id for line in lines] == [busy, quiet]
    assert lines[0].last_message is not None
    assert lines[0].last_message.content == "news"
    assert lines[0].last_message.sender_name == "Bob"
    assert (lines[0].role, lines[0].unread_count, lines[0].muted) == ("OWNER", 1, False)
    assert lines[1].last_message is None
    rest = await store.list_sessions(people.alice, before=(NOW + DAY, quiet), limit=2)
    assert [line.session.id for line in rest] == [old]


async def test_the_first_state_is_the_account_and_where_it_stands(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    cake = await gather(store, people.alice, people.bob, at=NOW + DAY)
    await say(store, tea, people.bob, "one", "two")
    user, positions = (await store.first_states([people.alice], 10))[people.alice]
    assert user.name == "Alice"
    assert [(p.session_id, p.seq, p.unread_count, p.last_read_seq) for p in positions] == [
        (cake, 0, 0, 0),
        (tea, 2, 2, 0),
    ]
    both = await store.first_states([people.alice, people.bob], 1)
    assert both[people.alice] == (user, positions[:1])
    assert both[people.bob][0].name == "Bob"
    assert [p.session_id for p in both[people.bob][1]] == [cake]


async def test_the_first_state_of_nobody_is_left_out(store: Store) -> None:
    dave = await sign_up(store, "Dave")
    states = await store.first_states([dave, NOBODY], 10)
    assert list(states) == [dave]
    assert states[dave][1] == []


async def test_members_come_by_id_in_pages(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    first, second, third = sorted([people.alice, people.bob, people.carol])
    page = await store.members(tea, after=None, limit=2)
    assert [member.user_id for member in page] == [first, second]
    page = await store.members(tea, after=second, limit=2)
    assert [member.user_id for member in page] == [third]
    assert await store.members(NOBODY, after=None, limit=2) == []


async def test_who_joins_takes_a_seq_and_has_read_all(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    await say(store, tea, people.alice, "one", "two")
    change = await store.add_member(tea, people.bob, role="READ_ONLY", at=NOW + DAY)
    assert change is not None
    assert (change.seq, change.is_changed) == (3, True)
    assert (change.member.name, change.member.role) == ("Bob", "READ_ONLY")
    assert (change.member.joined_at, change.member.changed_seq) == (NOW + DAY, 3)
    [line] = await store.list_sessions(people.bob, before=None, limit=1)
    assert (line.unread_count, line.last_read_seq, line.session.member_count) == (0, 3, 2)


async def test_who_is_a_member_stays_what_they_are(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    change = await store.add_member(tea, people.alice, role="READ_ONLY", at=NOW + DAY)
    assert change is not None
    assert (change.seq, change.is_changed, change.member.role) == (0, False, "OWNER")


async def test_nobody_joins_nothing(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    assert await store.add_member(tea, NOBODY, role="MEMBER", at=NOW) is None
    assert await store.add_member(NOBODY, people.alice, role="MEMBER", at=NOW) is None
    assert await store.heads([tea]) == {tea: 0}


async def test_who_leaves_takes_a_seq_and_is_gone(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    change = await store.remove_member(tea, people.bob, at=NOW + DAY)
    assert change is not None
    assert (change.seq, change.member.left_at) == (1, NOW + DAY)
    assert await store.session_for(tea, people.bob) is None
    assert await store.remove_member(tea, people.bob, at=NOW + DAY) is None
    assert await store.remove_member(tea, people.carol, at=NOW + DAY) is None
    assert await store.remove_member(NOBODY, people.bob, at=NOW + DAY) is None
    [member] = await store.members(tea, after=None, limit=10)
    assert member.user_id == people.alice


async def test_who_comes_back_is_a_member_again(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await store.remove_member(tea, people.bob, at=NOW)
    await say(store, tea, people.alice, "he is gone")
    change = await store.add_member(tea, people.bob, role="ADMIN", at=NOW + DAY)
    assert change is not None
    assert (change.seq, change.member.left_at, change.member.role) == (3, None, "ADMIN")
    [line] = await store.list_sessions(people.bob, before=None, limit=1)
    assert (line.unread_count, line.session.member_count) == (0, 2)


async def test_a_direct_session_keeps_its_two(store: Store, people: People) -> None:
    direct = await gather(store, people.alice, people.bob, kind="DIRECT")
    assert await store.add_member(direct, people.carol, role="MEMBER", at=NOW) is None
    assert await store.remove_member(direct, people.bob, at=NOW) is None
    change = await store.add_member(direct, people.bob, role="MEMBER", at=NOW)
    assert change is not None
    assert not change.is_changed
    assert await store.heads([direct]) == {direct: 0}


async def test_a_new_name_takes_a_seq(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    row = await store.update_session(tea, name="Coffee")
    assert row == SessionRow(tea, "GROUP", "Coffee", seq=1, member_count=1, created_at=NOW)
    assert await store.update_session(NOBODY, name="x") is None
    assert await store.heads([tea, NOBODY]) == {tea: 1}


async def test_a_marker_moves_forward_and_never_back(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.bob, "one", "two")
    await store.update_session(tea, name="Coffee")  # takes seq 3: markers count messages, not seq
    await say(store, tea, people.bob, "three")
    for seq, unread, marker in ((1, 2, 1), (3, 1, 3), (2, 1, 3), (99, 0, 4), (0, 0, 4)):
        position = await store.mark_read(tea, people.alice, seq)
        assert position is not None
        assert (position.unread_count, position.last_read_seq, position.seq) == (unread, marker, 4)
    assert await store.mark_read(tea, people.carol, 1) is None
    assert await store.mark_read(NOBODY, people.alice, 1) is None
