"""The end of an account, step by step; each step can be repeated."""

from __future__ import annotations

from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.contract.erasure import ERASED_NAME, ErasedBatch, ErasureRow
from chatd.ids import uuid7
from chatd.rows import RecoveryRow, Role
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, contents, gather, say, sign_up
from tests.store.test_devices import ids, log_in


async def begin(store: Store, user_id: UUID, *, deletes: bool = False) -> list[UUID] | None:
    return await store.begin_erasure(user_id, deletes_messages=deletes, at=NOW + DAY)


async def erase(
    store: Store, session_id: UUID, user_id: UUID, *, deletes: bool, above: int = 0, limit: int = 9
) -> ErasedBatch:
    return await store.erase_messages(
        session_id,
        user_id,
        deletes_messages=deletes,
        above=above,
        span=100,
        limit=limit,
        at=NOW + DAY,
    )


async def first(store: Store, session_id: UUID, user_id: UUID, *, above: int = 0) -> int | None:
    return await store.next_erasable(
        session_id, user_id, deletes_messages=True, above=above, span=100
    )


async def test_nothing_that_says_who_it_was_is_left_of_an_account(
    store: Store, people: People
) -> None:
    family_id, _ = await log_in(store, people.alice, b"one", at=NOW)
    await store.update_user(people.alice, name="Alice A.", avatar="#aabbcc", sets_avatar=True)
    await store.set_last_seen([people.alice], NOW)
    await store.set_status(people.alice, manual_status="BUSY", text="away", until=None)
    await store.write_audit(
        "login", user_id=people.alice, address="192.0.2.1", at=NOW, details={"deviceId": "x"}
    )
    await store.save_recoveries([RecoveryRow("p" * 24, people.alice, b"{}", NOW + 9 * DAY)], NOW)
    assert await begin(store, people.alice) == [family_id]
    [row] = await store.users_by_ids([people.alice])
    assert (row.name, row.avatar_url, row.password_hash) == (ERASED_NAME, None, None)
    assert (row.last_seen, row.manual_status, row.status_text) == (None, None, None)
    assert "alice" not in str(row).lower()
    assert "example" not in row.email
    assert await ids(store, people.alice) == []
    assert await store.take_recovery("p" * 24, people.alice, NOW) is None
    assert await store.revoked_since(NOW + DAY) == [family_id]
    assert await store.revoked_since(NOW + DAY + SECOND) == []
    entries = await store.audit_page(people.alice, before=None, limit=9)
    assert [(row.action, row.address) for row in entries] == [
        ("account_erased", None),
        ("login", None),
    ]
    assert [row.details for row in entries] == [{"messages": "KEEP_ANONYMOUS"}, {}]


async def test_an_address_that_was_given_back_can_be_taken(store: Store, people: People) -> None:
    await begin(store, people.alice)
    assert await store.user_by_email("alice@example.org") is None
    again = await sign_up(store, "Alice")
    found = await store.find_users("", after=None, limit=9)
    assert {row.user.id for row in found} == {again, people.bob, people.carol, people.dave}


async def test_who_is_erased_is_brought_into_nothing_and_changes_no_more(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.bob)
    await begin(store, people.alice)
    assert await store.add_member(tea, people.alice, role="MEMBER", at=NOW) is None
    with pytest.raises(KeyError, match=str(people.alice)):
        await gather(store, people.bob, people.alice)
    await store.set_last_seen([people.alice], NOW)
    await store.set_status(people.alice, manual_status="BUSY", text="here", until=None)
    renamed = await store.update_user(people.alice, name="A", avatar=None, sets_avatar=False)
    assert renamed is None
    [row] = await store.users_by_ids([people.alice])
    assert (row.name, row.last_seen, row.status_text) == (ERASED_NAME, None, None)


async def test_an_erasure_is_begun_once_and_open_until_it_is_finished(
    store: Store, people: People
) -> None:
    family_id, _ = await log_in(store, people.alice, b"one")
    assert await begin(store, NOBODY) is None
    assert await begin(store, people.alice, deletes=True) == [family_id]
    assert await begin(store, people.alice) == [family_id]
    await begin(store, people.bob)
    mine, other = ErasureRow(people.alice, True), ErasureRow(people.bob, False)
    assert await store.open_erasures(9) == sorted([mine, other])
    assert len(await store.open_erasures(1)) == 1
    await log_in(store, people.alice, b"late")
    await store.finish_erasure(people.alice, NOW + 2 * DAY)
    assert await store.open_erasures(9) == [other]
    assert await ids(store, people.alice) == []


async def test_a_session_goes_to_the_longest_serving_admin_or_else_member(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.carol)
    serving: list[tuple[UUID, Role]] = [(people.dave, "ADMIN"), (people.bob, "ADMIN")]
    for days, (user_id, role) in enumerate(serving, start=1):
        await store.add_member(tea, user_id, role=role, at=NOW + days * DAY)
    for leaver, heir in (
        (people.alice, people.dave),
        (people.dave, people.bob),
        (people.bob, people.carol),
    ):
        await begin(store, leaver)
        promoted, left = await store.erase_membership(tea, leaver, at=NOW + 9 * DAY)
        assert (promoted.member.user_id, promoted.member.role) == (heir, "OWNER")
        assert (left.member.user_id, left.member.left_at) == (leaver, NOW + 9 * DAY)
        assert left.seq == promoted.seq + 1
        assert await store.erase_membership(tea, leaver, at=NOW + 9 * DAY) == []
    [last] = await store.erase_membership(tea, people.carol, at=NOW + 9 * DAY)
    assert last.member.user_id == people.carol
    assert await store.members(tea, after=None, limit=9) == []


async def test_who_is_not_the_only_owner_leaves_nobody_anything(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    await store.add_member(tea, people.carol, role="OWNER", at=NOW)
    for leaver in (people.bob, people.alice):
        [left] = await store.erase_membership(tea, leaver, at=NOW)
        assert left.member.user_id == leaver
    cake = await gather(store, people.alice)
    await store.add_member(cake, people.bob, role="READ_ONLY", at=NOW)
    assert len(await store.erase_membership(cake, people.alice, at=NOW)) == 1
    [row] = await store.members(cake, after=None, limit=9)
    assert row.role == "READ_ONLY"


async def test_the_two_of_a_direct_session_stay_and_the_marker_goes(
    store: Store, people: People
) -> None:
    both = await gather(store, people.alice, people.bob, kind="DIRECT")
    await say(store, both, people.alice, "one")
    assert await store.erase_membership(both, people.alice, at=NOW) == []
    assert len(await store.members(both, after=None, limit=9)) == 2
    [session] = await store.own_sessions(people.alice, after=None, limit=9)
    assert (session.left_at, session.last_read_seq) == (None, 0)
    assert await store.erase_membership(uuid7(), people.alice, at=NOW) == []


async def test_own_messages_become_tombstones_batch_by_batch_and_no_others(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    await say(store, tea, people.alice, "a1", "a2", "a3")
    await say(store, tea, people.bob, "b4")
    await store.remove_member(tea, people.alice, at=NOW)  # takes 5 for her heir, then 6
    assert await first(store, tea, people.alice) == 1
    batch = await erase(store, tea, people.alice, deletes=True, limit=2)
    assert [(row.seq, row.changed_seq) for row in batch.messages] == [(1, 7), (2, 8)]
    assert batch.reached == 2
    assert await first(store, tea, people.alice, above=2) == 3
    batch = await erase(store, tea, people.alice, deletes=True, above=2, limit=2)
    [row] = batch.messages
    assert (row.seq, row.changed_seq, row.content, batch.reached) == (3, 9, "", 102)
    assert (row.deleted_at, row.deleted_by) == (NOW + DAY, people.alice)
    assert await first(store, tea, people.alice) is None
    assert (await erase(store, tea, people.alice, deletes=True)).messages == []
    page = await store.history(tea, people.bob)
    assert page is not None
    assert (contents(page.messages), page.seq) == (["", "", "", "b4"], 9)


async def test_reactions_are_taken_back_and_messages_kept_where_that_is_asked(
    store: Store, people: People
) -> None:
    tea = await gather(store, people.alice, people.bob)
    [mine] = await say(store, tea, people.alice, "mine")
    [other] = await say(store, tea, people.bob, "other")
    for message in (mine, other):
        for emoji in ("a", "b"):
            await store.react(
                message.id, people.alice, role="OWNER", emoji=emoji, is_on=True, at=NOW
            )
        await store.react(message.id, people.bob, role="MEMBER", emoji="a", is_on=True, at=NOW)
    await begin(store, people.alice)
    batch = await erase(store, tea, people.alice, deletes=False)
    assert contents(batch.messages) == ["mine", "other"]
    assert [row.changed_seq for row in batch.messages] == [9, 10]
    for row in batch.messages:
        assert row.reactions is not None
        assert [(each.emoji, each.user_ids) for each in row.reactions] == [("a", (people.bob,))]
    assert batch.messages[0].sender_name == ERASED_NAME
    assert (await erase(store, tea, people.alice, deletes=False)).messages == []
    assert (await store.changes_since(tea, 8, 9)).messages == batch.messages
    gone = (await erase(store, tea, people.alice, deletes=True)).messages
    assert [(row.id, row.content, row.reactions) for row in gone] == [(mine.id, "", None)]


async def test_a_session_that_was_swept_meanwhile_holds_nothing_to_erase(
    store: Store, people: People
) -> None:
    assert await first(store, NOBODY, people.alice) is None
    assert await store.erase_membership(NOBODY, people.alice, at=NOW) == []
    assert await erase(store, NOBODY, people.alice, deletes=True) == ErasedBatch([], 100)
