"""Where a user is logged in, and the end of one device's logins."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract import Store
from chatd.ids import uuid7
from chatd.rows import DeviceRow, Rotation
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND


async def log_in(
    store: Store,
    user_id: UUID,
    token: bytes,
    *,
    device_id: UUID | None = None,
    name: str = "Firefox",
    address: str = "192.0.2.1",
    at: datetime = NOW,
) -> tuple[UUID, UUID]:
    """Open a login with a token that lives for a day; return its id and the device's."""
    family_id, device_id = uuid7(), device_id or uuid7()
    await store.open_family(
        family_id=family_id,
        user_id=user_id,
        device_id=device_id,
        device_name=name,
        address=address,
        token_hash=token,
        at=at,
        expires_at=at + DAY,
    )
    return family_id, device_id


async def rotate(store: Store, token: bytes, successor: bytes, at: datetime) -> Rotation:
    row = await store.rotate_refresh_token(
        token_hash=token,
        successor_hash=successor,
        at=at,
        grace_until=at,
        expires_at=at + DAY,
        max_age=365 * DAY,
    )
    return row.outcome


async def ids(store: Store, user_id: UUID, at: datetime = NOW, limit: int = 10) -> list[UUID]:
    return [row.id for row in await store.devices(user_id, at=at, limit=limit)]


async def test_devices_come_with_what_is_known_of_them_the_last_used_first(
    store: Store, people: People
) -> None:
    _, laptop = await log_in(store, people.alice, b"laptop")
    _, phone = await log_in(
        store, people.alice, b"phone", name="curl", address="2001:db8::1", at=NOW + SECOND
    )
    await log_in(store, people.bob, b"bob")
    old = DeviceRow(laptop, "Firefox", "192.0.2.1", NOW, NOW)
    new = DeviceRow(phone, "curl", "2001:db8::1", NOW + SECOND, NOW + SECOND)
    assert await store.devices(people.alice, at=NOW, limit=10) == [new, old]
    assert await rotate(store, b"laptop", b"laptop2", NOW + 2 * SECOND) is Rotation.ROTATED
    used = old._replace(last_used_at=NOW + 2 * SECOND)
    assert await store.devices(people.alice, at=NOW, limit=10) == [used, new]
    assert await ids(store, people.alice, limit=1) == [laptop]
    assert await ids(store, NOBODY) == []


async def test_a_device_is_shown_until_its_login_is_revoked_or_has_expired(
    store: Store, people: People
) -> None:
    family_id, revoked = await log_in(store, people.alice, b"revoked")
    _, silent = await log_in(store, people.alice, b"silent")
    _, busy = await log_in(store, people.alice, b"busy")
    await store.revoke_family(family_id, NOW)
    await rotate(store, b"busy", b"busy2", NOW + SECOND)
    assert set(await ids(store, people.alice, NOW + DAY - SECOND)) == {silent, busy}
    assert await ids(store, people.alice, NOW + DAY) == [busy]
    assert await ids(store, people.alice, NOW + DAY + SECOND) == []
    assert revoked not in await ids(store, people.alice)


async def test_a_device_that_logged_in_twice_is_shown_once_as_it_was_last(
    store: Store, people: People
) -> None:
    first, device_id = await log_in(store, people.alice, b"one")
    again = NOW + SECOND
    await log_in(
        store, people.alice, b"two", device_id=device_id, name="curl", address="::1", at=again
    )
    expected = [DeviceRow(device_id, "curl", "::1", NOW, again)]
    assert await store.devices(people.alice, at=NOW, limit=10) == expected
    await store.revoke_family(first, NOW)
    assert await store.devices(people.alice, at=NOW, limit=10) == expected


async def test_removing_a_device_closes_its_logins_and_no_other(
    store: Store, people: People
) -> None:
    first, device_id = await log_in(store, people.alice, b"one")
    second, _ = await log_in(store, people.alice, b"two", device_id=device_id)
    _, other = await log_in(store, people.alice, b"other")
    assert await store.revoke_device(people.alice, device_id, NOW) == sorted([first, second])
    assert await ids(store, people.alice) == [other]
    assert set(await store.revoked_since(NOW)) == {first, second}
    for token in (b"one", b"two"):
        assert await rotate(store, token, b"x", NOW + SECOND) is Rotation.REFUSED
    assert await rotate(store, b"other", b"y", NOW + SECOND) is Rotation.ROTATED


async def test_a_device_that_is_removed_twice_stays_revoked_since_the_first_time(
    store: Store, people: People
) -> None:
    family_id, device_id = await log_in(store, people.alice, b"one")
    assert await store.revoke_device(people.alice, device_id, NOW) == [family_id]
    assert await store.revoke_device(people.alice, device_id, NOW + DAY) == [family_id]
    assert await store.revoked_since(NOW + SECOND) == []


async def test_nobody_removes_the_device_of_somebody_else(store: Store, people: People) -> None:
    _, device_id = await log_in(store, people.alice, b"one")
    assert await store.revoke_device(people.bob, device_id, NOW) == []
    assert await store.revoke_device(people.alice, NOBODY, NOW) == []
    assert await ids(store, people.alice) == [device_id]
