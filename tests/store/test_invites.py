"""Ways into a session: exact counts, also when many come at once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.contract.acts import Act
from chatd.errors import Forbidden
from chatd.rows import InviteRow
from chatd.store.checks import LIVE_INVITES
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, gather, sign_up
from tests.store.test_members import by, refuse, roles


async def make(
    store: Store,
    session_id: UUID,
    owner: UUID,
    code: str = "code",
    *,
    max_uses: int | None = None,
    expires_at: datetime | None = None,
) -> InviteRow:
    invite = await store.make_invite(
        session_id,
        code=code,
        role="READ_ONLY",
        max_uses=max_uses,
        expires_at=expires_at,
        act=by(owner),
    )
    assert invite is not None
    return invite


async def test_an_invite_lets_in_in_its_role_and_counts(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    invite = await make(store, tea, people.alice, max_uses=2)
    assert invite == InviteRow("code", tea, people.alice, NOW, None, "READ_ONLY", 2, 0)
    found = await store.invite("code", NOW)
    session = await store.session_for(tea, people.alice)
    assert session is not None
    assert found == (invite, session[0])
    use = await store.accept_invite("code", act=by(people.bob))
    assert use is not None
    assert use.session == session[0]._replace(seq=1, member_count=2)
    assert (use.change.seq, use.change.is_changed) == (1, True)
    assert await roles(store, tea) == {people.alice: "OWNER", people.bob: "READ_ONLY"}
    assert await store.invites(tea, at=NOW) == [invite._replace(uses=1)]


async def test_a_member_who_accepts_again_uses_nothing_and_stays_what_they_are(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice)
    await make(store, tea, people.alice, max_uses=1, expires_at=NOW + DAY)
    await store.accept_invite("code", act=by(people.bob))
    for at in (NOW, NOW + 2 * DAY):  # used up, and expired
        use = await store.accept_invite("code", act=Act(people.bob, at, refuse))
        assert use is not None
        assert (use.change.is_changed, use.change.seq) == (False, 1)
        assert (await store.accept_invite("code", act=by(people.carol, at))) is None
    owner = await store.accept_invite("code", act=by(people.alice))
    assert owner is not None
    assert owner.change.member.role == "OWNER"


async def test_an_invite_that_is_over_is_none(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    await make(store, tea, people.alice, "short", expires_at=NOW + DAY)
    await make(store, tea, people.alice, "revoked")
    await make(store, tea, people.alice, "used", max_uses=1)
    await store.accept_invite("used", act=by(people.carol))
    with pytest.raises(Forbidden):
        await store.revoke_invite(tea, "revoked", act=Act(people.alice, NOW, refuse))
    assert await store.revoke_invite(tea, "revoked", act=by(people.alice)) is True
    later = NOW + DAY
    for code in ("short", "revoked", "used", "never"):
        assert await store.invite(code, later) is None
        assert await store.accept_invite(code, act=by(people.bob, later)) is None
        assert await store.revoke_invite(tea, code, act=by(people.alice, later)) is False
    assert await store.invites(tea, at=later) == []
    assert [row.code for row in await store.invites(tea, at=NOW)] == ["short"]
    assert await store.revoke_invite(NOBODY, "short", act=by(people.alice)) is False
    await store.delete_session(tea, act=by(people.alice))
    assert await store.invite("short", NOW) is None
    assert await store.accept_invite("short", act=by(people.bob)) is None


async def test_a_refusal_uses_nothing(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    invite = await make(store, tea, people.alice, max_uses=1)
    with pytest.raises(Forbidden):
        await store.accept_invite("code", act=Act(people.bob, NOW, refuse))
    assert await store.invites(tea, at=NOW) == [invite]
    assert await store.heads([tea]) == {tea: 0}


async def test_who_is_erased_comes_in_by_no_invite(store: Store, people: People) -> None:
    tea = await gather(store, people.alice, people.carol)
    invite = await make(store, tea, people.alice)
    for user_id in (people.bob, people.carol):
        await store.begin_erasure(user_id, deletes_messages=False, at=NOW)
    assert await store.accept_invite("code", act=by(people.bob)) is None
    assert await store.accept_invite("code", act=by(people.carol)) is not None  # not yet out
    assert await store.invites(tea, at=NOW) == [invite]
    assert await store.heads([tea]) == {tea: 0}


async def test_a_session_has_so_many_live_invites_and_no_more(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    for number in range(LIVE_INVITES):
        await make(store, tea, people.alice, f"code {number:03}", expires_at=NOW + DAY)
    with pytest.raises(ValueError, match="live invites"):
        await make(store, tea, people.alice, "too many")
    assert len(await store.invites(tea, at=NOW)) == LIVE_INVITES
    late = Act(people.alice, NOW + DAY, lambda _standing: None)
    made = await store.make_invite(
        tea, code="next", role="MEMBER", max_uses=None, expires_at=None, act=late
    )
    assert await store.invites(tea, at=NOW) == [made]  # what was dead is gone


async def test_an_invite_is_made_where_there_is_a_session(store: Store, people: People) -> None:
    tea = await gather(store, people.alice)
    for session_id, act in ((NOBODY, by(people.alice)), (tea, Act(people.alice, NOW, refuse))):
        try:
            made = await store.make_invite(
                session_id, code="x", role="MEMBER", max_uses=None, expires_at=None, act=act
            )
        except Forbidden:
            made = None
        assert made is None
    assert await store.invites(tea, at=NOW) == []
    assert await store.invites(NOBODY, at=NOW) == []


@pytest.mark.parametrize("uses", [1, 5])
async def test_of_many_who_come_at_once_as_many_get_in_as_it_says(
    database_url: str, uses: int
) -> None:
    async with open_pool(database_url, size=8) as pool:
        store = PostgresStore(pool)
        crowd = [await sign_up(store, f"person{number}") for number in range(12)]
        owner, *guests = crowd
        tea = await gather(store, owner)
        await make(store, tea, owner, max_uses=uses)
        entered: list[UUID] = []

        async def accept(user_id: UUID) -> None:
            if await store.accept_invite("code", act=by(user_id)) is not None:
                entered.append(user_id)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for guest in guests:
                    nursery.start_soon(accept, guest)
                    nursery.start_soon(accept, guest)  # and again, for a lost reply
        assert len(set(entered)) == uses
        assert len(entered) == 2 * uses
        found = await roles(store, tea)
        assert set(found) == {owner, *entered}
        session = await store.session_for(tea, owner)
        assert session is not None
        assert (session[0].member_count, session[0].seq) == (uses + 1, uses)
        [(counted,)] = await pool.fetch("SELECT uses FROM session_invites")
        assert counted == uses
