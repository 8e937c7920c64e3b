from __future__ import annotations

from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.rows import Rotation, RotationRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, sign_up

GRACE = 60 * SECOND
MAX_AGE = 3 * DAY


async def test_a_store_answers_and_has_an_epoch_that_stays(store: Store) -> None:
    await store.ping()
    assert await store.epoch() == await store.epoch()


async def test_an_account_is_found_by_its_address_in_any_case(store: Store) -> None:
    alice = await sign_up(store, "Alice")
    found = await store.user_by_email("Alice@Example.org")
    assert found is not None
    assert (found.id, found.name, found.created_at) == (alice, "Alice", NOW)
    assert await store.user_by_email("bob@example.org") is None


async def test_an_address_is_given_once_whatever_its_case(store: Store) -> None:
    await sign_up(store, "Alice")
    again = await store.insert_user(
        user_id=uuid7(),
        email="ALICE@example.org",
        name="Mallory",
        password_hash=None,
        created_at=NOW,
    )
    assert again is None


async def test_an_id_is_given_once(store: Store, people: People) -> None:
    with pytest.raises(StoreBug):
        await store.insert_user(
            user_id=people.alice, email="x@y.org", name="X", password_hash=None, created_at=NOW
        )


async def test_those_accounts_come_back_that_exist(store: Store, people: People) -> None:
    rows = await store.users_by_ids([people.bob, NOBODY, people.alice, people.bob])
    assert {row.name for row in rows} == {"Alice", "Bob"}
    assert len(rows) == 2
    assert await store.users_by_ids([]) == []


async def test_last_seen_moves_forward_only(store: Store, people: People) -> None:
    await store.set_last_seen([people.alice, people.bob, NOBODY], NOW + DAY)
    await store.set_last_seen([people.alice], NOW)
    await store.set_last_seen([people.bob], NOW + 2 * DAY)
    rows = {row.name: row for row in await store.users_by_ids([people.alice, people.bob])}
    assert rows["Alice"].last_seen == NOW + DAY
    assert rows["Bob"].last_seen == NOW + 2 * DAY


async def test_a_status_is_remembered_and_cleared(store: Store, people: People) -> None:
    await store.set_status(people.alice, manual_status="BUSY", text="lunch", until=NOW + DAY)
    [row] = await store.users_by_ids([people.alice])
    assert (row.manual_status, row.status_text, row.status_until) == ("BUSY", "lunch", NOW + DAY)
    await store.set_status(people.alice, manual_status=None, text=None, until=None)
    [row] = await store.users_by_ids([people.alice])
    assert (row.manual_status, row.status_text, row.status_until) == (None, None, None)
    await store.set_status(NOBODY, manual_status="BUSY", text=None, until=None)


async def log_in(store: Store, user_id: UUID, token: bytes) -> RotationRow:
    """Open a family with a token that lives for a day; return its ids as a rotation would."""
    row = RotationRow(Rotation.ROTATED, family_id=uuid7(), user_id=user_id, device_id=uuid7())
    assert row.family_id is not None
    assert row.device_id is not None
    await store.open_family(
        family_id=row.family_id,
        user_id=user_id,
        device_id=row.device_id,
        device_name="Firefox",
        address="192.0.2.1",
        token_hash=token,
        at=NOW,
        expires_at=NOW + DAY,
    )
    return row


async def rotate(store: Store, token: bytes, successor: bytes, seconds: int = 0) -> RotationRow:
    at = NOW + seconds * SECOND
    return await store.rotate_refresh_token(
        token_hash=token,
        successor_hash=successor,
        at=at,
        grace_until=at - GRACE,
        expires_at=at + DAY,
        max_age=MAX_AGE,
    )


async def test_a_token_is_rotated_to_its_successor(store: Store, people: People) -> None:
    login = await log_in(store, people.alice, b"one")
    assert await rotate(store, b"one", b"two") == login
    assert await rotate(store, b"two", b"three") == login


async def test_a_token_that_is_rotated_expires_no_later_than_its_login(
    store: Store, people: People
) -> None:
    await log_in(store, people.alice, b"one")
    nearly = MAX_AGE // SECOND - 1
    last = nearly - 3600  # the day of its successor would go on behind the end
    hours = range(0, last, 12 * 3600)
    token = b"one"
    for seconds in (*hours, last):
        successor = b"%d" % seconds
        assert (await rotate(store, token, successor, seconds)).outcome is Rotation.ROTATED
        token = successor
    assert (await rotate(store, token, b"end", nearly)).outcome is Rotation.ROTATED
    assert (await rotate(store, b"end", b"late", nearly + 1)).outcome is Rotation.REFUSED


async def test_a_token_is_repeated_within_the_grace_until_its_successor_is_used(
    store: Store, people: People
) -> None:
    await log_in(store, people.alice, b"one")
    await rotate(store, b"one", b"two")
    repeated = await rotate(store, b"one", b"two", seconds=60)
    assert repeated.outcome is Rotation.REPEATED
    await rotate(store, b"two", b"three", seconds=61)
    assert (await rotate(store, b"one", b"two", seconds=61)).outcome is Rotation.REUSED


async def test_a_token_used_after_the_grace_revokes_its_family(
    store: Store, people: People
) -> None:
    login = await log_in(store, people.alice, b"one")
    other = await log_in(store, people.alice, b"other")
    await rotate(store, b"one", b"two")
    reused = await rotate(store, b"one", b"two", seconds=61)
    assert reused == RotationRow(Rotation.REUSED, login.family_id, login.user_id, login.device_id)
    assert await store.revoked_since(NOW + 61 * SECOND) == [login.family_id]
    for token in (b"one", b"two"):
        assert await rotate(store, token, b"x", seconds=62) == RotationRow(Rotation.REFUSED)
    assert await rotate(store, b"other", b"another") == other


async def test_unknown_and_expired_tokens_are_refused(store: Store, people: People) -> None:
    await log_in(store, people.alice, b"one")
    assert await rotate(store, b"unknown", b"x") == RotationRow(Rotation.REFUSED)
    assert await rotate(store, b"one", b"two", 86_400) == RotationRow(Rotation.REFUSED)


async def test_a_repeat_with_another_successor_is_refused_and_revokes_nothing(
    store: Store, people: People
) -> None:
    await log_in(store, people.alice, b"one")
    await rotate(store, b"one", b"two")
    assert await rotate(store, b"one", b"from another key") == RotationRow(Rotation.REFUSED)
    assert (await rotate(store, b"two", b"three")).outcome is Rotation.ROTATED


async def test_two_tabs_that_rotate_at_once_get_the_same_successor(
    store: Store, people: People
) -> None:
    await log_in(store, people.alice, b"one")
    outcomes = []

    async def tab() -> None:
        outcomes.append((await rotate(store, b"one", b"two")).outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(tab)
    assert outcomes.count(Rotation.ROTATED) == 1
    assert outcomes.count(Rotation.REPEATED) == 3


async def test_revoking_a_login_twice_tells_that_it_was_closed(
    store: Store, people: People
) -> None:
    login = await log_in(store, people.alice, b"one")
    assert login.family_id is not None
    assert await store.revoke_family(login.family_id, NOW)
    assert not await store.revoke_family(login.family_id, NOW + DAY)
    assert not await store.revoke_family(NOBODY, NOW)
    assert await rotate(store, b"one", b"two") == RotationRow(Rotation.REFUSED)


async def test_revoking_a_user_closes_all_of_their_logins_and_nobody_elses(
    store: Store, people: People
) -> None:
    first = await log_in(store, people.alice, b"one")
    second = await log_in(store, people.alice, b"two")
    await log_in(store, people.bob, b"bob")
    assert first.family_id is not None
    await store.revoke_family(first.family_id, NOW)
    assert await store.revoke_user(people.alice, NOW + DAY) == [second.family_id]
    assert await store.revoke_user(people.alice, NOW + DAY) == []
    assert (await rotate(store, b"bob", b"bob2")).outcome is Rotation.ROTATED
    assert await store.revoked_since(NOW + SECOND) == [second.family_id]
    assert set(await store.revoked_since(NOW)) == {first.family_id, second.family_id}


async def test_a_device_logs_in_again_but_not_as_somebody_else(
    store: Store, people: People
) -> None:
    login = await log_in(store, people.alice, b"one")
    assert login.device_id is not None

    async def again(user_id: UUID, token: bytes) -> None:
        assert login.device_id is not None
        await store.open_family(
            family_id=uuid7(),
            user_id=user_id,
            device_id=login.device_id,
            device_name="Firefox",
            address="192.0.2.2",
            token_hash=token,
            at=NOW,
            expires_at=NOW + DAY,
        )

    await again(people.alice, b"two")
    with pytest.raises(StoreBug):
        await again(people.bob, b"three")
    with pytest.raises(StoreBug):
        await again(NOBODY, b"four")
    assert (await rotate(store, b"two", b"five")).outcome is Rotation.ROTATED
    assert await rotate(store, b"three", b"six") == RotationRow(Rotation.REFUSED)


async def test_families_and_tokens_are_given_once(store: Store, people: People) -> None:
    login = await log_in(store, people.alice, b"one")
    assert login.family_id is not None
    await log_in(store, people.alice, b"two")
    with pytest.raises(StoreBug):
        await log_in(store, people.bob, b"one")
    with pytest.raises(StoreBug):
        await rotate(store, b"one", b"two")
    assert (await rotate(store, b"one", b"three")).outcome is Rotation.ROTATED
