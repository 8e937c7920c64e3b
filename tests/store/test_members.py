"""Roles, muting, who inherits a session, and what the audit log says of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.contract.acts import Act, Mute, Standing
from chatd.errors import Forbidden
from chatd.rows import MemberChange, Role
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, gather, sign_up


def allow(_standing: Standing) -> None:
    """Judge that they may."""


def refuse(_standing: Standing) -> None:
    """Judge that they may not."""
    raise Forbidden


def by(user_id: UUID, at: datetime = NOW) -> Act:
    return Act(user_id, at, allow)


async def roles(store: Store, session_id: UUID) -> dict[UUID, Role]:
    return {row.user_id: row.role for row in await store.members(session_id, after=None, limit=99)}


async def become(store: Store, session_id: UUID, owner: UUID, user_id: UUID, role: Role) -> None:
    change = await store.update_member(session_id, user_id, role=role, act=by(owner))
    assert change is not None
    assert change.is_changed


async def test_a_role_takes_a_seq_and_one_that_is_held_takes_none(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    change = await store.update_member(tea, people.bob, role="ADMIN", act=by(people.alice))
    assert change is not None
    assert (change.member.role, change.member.changed_seq, change.seq) == ("ADMIN", 1, 1)
    assert (change.is_changed, change.others) == (True, ())
    again = await store.update_member(
        tea, people.bob, role="ADMIN", act=Act(people.alice, NOW, refuse)
    )
    assert again == MemberChange(change.member, 1, 2, is_changed=False)  # and nobody was asked
    page = await store.changes_since(tea, 0, 10)
    assert page.members == [change.member]
    assert await store.heads([tea]) == {tea: 1}


async def test_owner_is_handed_over_with_two_seqs(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    change = await store.update_member(tea, people.bob, role="OWNER", act=by(people.alice))
    assert change is not None
    [giver] = change.others
    assert (change.member.role, change.member.changed_seq) == ("OWNER", 1)
    assert (giver.user_id, giver.role, giver.changed_seq) == (people.alice, "ADMIN", 2)
    assert change.seq == 2
    assert await roles(store, tea) == {people.alice: "ADMIN", people.bob: "OWNER"}


async def test_muting_lasts_over_leaving_and_coming_back(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    mute = Mute(NOW + DAY)
    change = await store.update_member(tea, people.bob, mute=mute, act=by(people.alice))
    assert change is not None
    assert (change.member.muted_until, change.member.role) == (NOW + DAY, "MEMBER")
    await store.remove_member(tea, people.bob, at=NOW)
    back = await store.add_member(tea, people.bob, role="MEMBER", at=NOW)
    assert back is not None
    assert (back.member.muted_until, back.member.joined_seq) == (NOW + DAY, 3)
    free = await store.update_member(tea, people.bob, mute=Mute(None), act=by(people.alice))
    assert free is not None
    assert (free.member.muted_until, free.member.joined_seq, free.seq) == (None, 3, 4)


async def test_a_refusal_at_the_moment_of_the_change_undoes_it(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    no = Act(people.alice, NOW, refuse)
    with pytest.raises(Forbidden):
        await store.update_member(tea, people.bob, role="ADMIN", act=no)
    with pytest.raises(Forbidden):
        await store.remove_member(tea, people.bob, at=NOW, act=no)
    with pytest.raises(Forbidden):
        await store.add_member(tea, people.carol, role="MEMBER", at=NOW, act=no)
    assert await roles(store, tea) == {people.alice: "OWNER", people.bob: "MEMBER"}
    assert await store.heads([tea]) == {tea: 0}


async def test_the_judge_is_told_the_roles_of_the_moment(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    seen: list[Standing] = []
    act = Act(people.bob, NOW, seen.append)
    await store.remove_member(tea, people.carol, at=NOW, act=act)  # nobody there: nothing to judge
    await store.add_member(tea, people.carol, role="READ_ONLY", at=NOW, act=act)
    await become(store, tea, people.alice, people.bob, "ADMIN")
    await store.remove_member(tea, people.carol, at=NOW, act=act)
    assert seen == [Standing("MEMBER", None), Standing("ADMIN", "READ_ONLY")]


async def test_nobody_who_is_not_there_is_changed(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    direct = await gather(store, people.alice, people.bob, kind="DIRECT")
    act = Act(people.alice, NOW, refuse)
    for session_id, user_id in ((tea, people.bob), (NOBODY, people.alice), (direct, people.bob)):
        assert await store.update_member(session_id, user_id, role="ADMIN", act=act) is None


async def test_the_last_owner_who_goes_is_followed_by_the_admin_who_is_there_longest(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    for day, person in enumerate((people.carol, people.dave), start=1):
        await store.add_member(tea, person, role="ADMIN", at=NOW + day * DAY)
    change = await store.remove_member(tea, people.alice, at=NOW + 9 * DAY)
    assert change is not None
    [heir] = change.others
    assert (heir.user_id, heir.role, heir.changed_seq) == (people.carol, "OWNER", 3)
    assert (change.member.changed_seq, change.seq) == (4, 4)
    assert change.member.left_reason == "left"
    change = await store.remove_member(tea, people.carol, at=NOW + 9 * DAY)
    assert change is not None
    assert [row.user_id for row in change.others] == [people.dave]


async def test_without_an_admin_a_member_follows_but_nobody_who_only_reads(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    await store.add_member(tea, people.bob, role="READ_ONLY", at=NOW)
    await store.add_member(tea, people.carol, role="MEMBER", at=NOW + DAY)
    await store.remove_member(tea, people.alice, at=NOW + DAY)
    assert await roles(store, tea) == {people.bob: "READ_ONLY", people.carol: "OWNER"}
    change = await store.remove_member(tea, people.carol, at=NOW + DAY)
    assert change is not None
    assert change.others == ()
    await store.remove_member(tea, people.bob, at=NOW + DAY)
    assert await roles(store, tea) == {}
    found = await store.add_member(tea, people.dave, role="MEMBER", at=NOW + DAY)
    assert found is not None  # an empty session stays


async def test_one_of_two_owners_leaves_without_an_heir(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    await store.add_member(tea, people.carol, role="OWNER", at=NOW)
    change = await store.remove_member(tea, people.alice, at=NOW)
    assert change is not None
    assert change.others == ()


async def test_wishes_are_the_members_own_and_take_no_seq(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    assert await store.set_wishes(tea, people.bob, muted=None, favourite=True) == (False, True)
    assert await store.set_wishes(tea, people.bob, muted=True, favourite=None) == (True, True)
    assert await store.set_wishes(tea, people.carol, muted=True, favourite=None) is None
    [line] = await store.list_sessions(people.bob, before=None, limit=9)
    assert (line.muted, line.favourite) == (True, True)
    [line] = await store.list_sessions(people.alice, before=None, limit=9)
    assert (line.muted, line.favourite) == (False, False)
    assert await store.heads([tea]) == {tea: 0}


async def test_of_two_owners_to_be_at_once_one_becomes_it(database_url: str) -> None:
    async with open_pool(database_url, size=4) as pool:
        store = PostgresStore(pool)
        anna, bert, carl = [await sign_up(store, name) for name in ("anna", "bert", "carl")]
        tea = await gather(store, anna, bert, carl)
        refused: list[UUID] = []

        def judge(standing: Standing) -> None:
            if standing.role != "OWNER":
                raise Forbidden

        async def hand_over(user_id: UUID) -> None:
            act = Act(anna, NOW + timedelta(seconds=1), judge)
            try:
                await store.update_member(tea, user_id, role="OWNER", act=act)
            except Forbidden:
                refused.append(user_id)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hand_over, bert)
                nursery.start_soon(hand_over, carl)
        found = await roles(store, tea)
        assert sorted(found.values()) == ["ADMIN", "MEMBER", "OWNER"]
        assert [found[user_id] for user_id in refused] == ["MEMBER"]


async def test_an_owner_is_not_muted_however_they_came_to_it(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob, people.carol)
    for user_id in (people.bob, people.carol):
        await store.update_member(tea, user_id, mute=Mute(NOW + DAY), act=by(people.alice))
    given = await store.update_member(tea, people.bob, role="OWNER", act=by(people.alice))
    assert given is not None
    assert (given.member.role, given.member.muted_until) == ("OWNER", None)
    await store.remove_member(tea, people.alice, at=NOW)
    gone = await store.remove_member(tea, people.bob, at=NOW)
    assert gone is not None
    [heir] = gone.others
    assert (heir.user_id, heir.role, heir.muted_until) == (people.carol, "OWNER", None)


async def test_a_change_says_how_many_members_there_are_behind_it(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    act = by(people.alice)
    changes = [
        await store.add_member(tea, people.bob, role="MEMBER", at=NOW),
        await store.add_member(tea, people.bob, role="MEMBER", at=NOW),
        await store.add_member(tea, people.carol, role="MEMBER", at=NOW),
        await store.update_member(tea, people.bob, role="ADMIN", act=act),
        await store.update_member(tea, people.bob, role="ADMIN", act=act),
        await store.remove_member(tea, people.carol, at=NOW),
    ]
    banned = await store.ban(tea, people.bob, until=None, reason=None, act=act)
    assert banned is not None
    changes.append(banned.change)
    await store.make_invite(
        tea, code="code", role="MEMBER", max_uses=None, expires_at=None, act=act
    )
    for _ in range(2):
        use = await store.accept_invite("code", act=by(people.dave))
        assert use is not None
        assert use.session.member_count == 2
        changes.append(use.change)
    changes += await store.erase_membership(tea, people.alice, at=NOW)  # an heir, and the leave
    assert [each and each.member_count for each in changes] == [2, 2, 3, 3, 3, 2, 1, 2, 2, 1, 1]
