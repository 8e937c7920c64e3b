"""Who may not come back."""

from __future__ import annotations

from datetime import datetime

import pytest

from chatd.contract import Store
from chatd.contract.acts import Act, Standing
from chatd.errors import Forbidden
from chatd.rows import BanRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, gather
from tests.store.test_members import by, refuse, roles


def row_of(
    session_id: object, user_id: object, name: str, admin: object, until: datetime | None
) -> BanRow:
    return BanRow(session_id, user_id, name, None, admin, NOW, until, "spam")  # type: ignore[arg-type]


async def test_a_ban_ends_the_membership_with_one_seq(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    banned = await store.ban(tea, people.bob, until=None, reason="spam", act=by(people.alice))
    assert banned is not None
    assert banned.ban == row_of(tea, people.bob, "Bob", people.alice, None)
    assert banned.change is not None
    member = banned.change.member
    assert (member.left_at, member.left_reason, member.changed_seq) == (NOW, "banned", 1)
    assert await roles(store, tea) == {people.alice: "OWNER"}
    session = await store.session_for(tea, people.alice)
    assert session is not None
    assert session[0].member_count == 1
    again = Act(people.alice, NOW, refuse)
    repeat = await store.ban(tea, people.bob, until=None, reason="spam", act=again)
    assert repeat == (banned.ban, None)  # it is run again: not judged
    assert await store.heads([tea]) == {tea: 1}


async def test_who_is_banned_comes_in_again_when_it_ends_and_not_before(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, kind="PUBLIC")
    end = NOW + DAY
    await store.ban(tea, people.bob, until=end, reason="spam", act=by(people.alice))
    seen: list[Standing] = []
    act = Act(people.bob, NOW, seen.append)
    assert await store.add_member(tea, people.bob, role="MEMBER", at=NOW) is None
    [line] = await store.bans(tea, at=NOW, after=None, limit=9)
    assert line == row_of(tea, people.bob, "Bob", people.alice, end)

    def judge(standing: Standing) -> None:
        act.judge(standing)
        raise Forbidden

    with pytest.raises(Forbidden):
        await store.add_member(
            tea, people.bob, role="MEMBER", at=NOW, act=Act(people.bob, NOW, judge)
        )
    assert seen == [Standing(None, None, line)]
    assert await store.bans(tea, at=end, after=None, limit=9) == []
    assert await store.unban(tea, people.bob, act=by(people.alice, end)) is False
    assert await store.add_member(tea, people.bob, role="MEMBER", at=end) is not None


async def test_a_ban_is_lifted_once_and_replaced_by_a_later_one(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    await store.ban(tea, people.bob, until=None, reason="spam", act=by(people.alice))
    await store.ban(tea, people.bob, until=NOW + DAY, reason="spam", act=by(people.alice))
    [line] = await store.bans(tea, at=NOW, after=None, limit=9)
    assert line.until == NOW + DAY
    with pytest.raises(Forbidden):
        await store.unban(tea, people.bob, act=Act(people.alice, NOW, refuse))
    assert await store.unban(tea, people.bob, act=by(people.alice)) is True
    assert await store.unban(tea, people.bob, act=by(people.alice)) is False
    assert await store.bans(tea, at=NOW, after=None, limit=9) == []
    assert await store.add_member(tea, people.bob, role="MEMBER", at=NOW) is not None


async def test_bans_come_by_id_in_pages(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    others = sorted([people.bob, people.carol, people.dave])
    for person in others:
        await store.ban(tea, person, until=None, reason=None, act=by(people.alice))
    page = await store.bans(tea, at=NOW, after=None, limit=2)
    assert [row.user_id for row in page] == others[:2]
    page = await store.bans(tea, at=NOW, after=others[1], limit=2)
    assert [row.user_id for row in page] == others[2:]


async def test_nobody_is_banned_from_nothing(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.bob)
    direct = await gather(store, people.alice, people.bob, kind="DIRECT")
    act = by(people.alice)
    for session_id, user_id in ((tea, NOBODY), (NOBODY, people.bob), (direct, people.bob)):
        assert await store.ban(session_id, user_id, until=None, reason=None, act=act) is None
    assert await store.unban(NOBODY, people.bob, act=act) is False
    assert await store.bans(NOBODY, at=NOW, after=None, limit=9) == []
    with pytest.raises(Forbidden):
        await store.ban(
            tea, people.bob, until=None, reason=None, act=Act(people.alice, NOW, refuse)
        )
    assert people.bob in await roles(store, tea)
