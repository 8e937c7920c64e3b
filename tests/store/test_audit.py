"""The audit log of acts on accounts."""

from __future__ import annotations

from chatd.contract import Store
from chatd.rows import Rotation
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND
from tests.store.test_devices import log_in


async def test_entries_are_read_by_their_user_only_and_the_newest_first(
    store: Store, people: People
) -> None:
    for number, action in enumerate(("login", "logout", "login")):
        await store.write_audit(
            action, user_id=people.alice, address="192.0.2.1", at=NOW + number * SECOND
        )
    await store.write_audit("login", user_id=people.bob, address=None, at=NOW)
    await store.write_audit("login_failed", user_id=None, address="192.0.2.9", at=NOW)
    rows = await store.audit_page(people.alice, before=None, limit=10)
    assert [(row.action, row.at) for row in rows] == [
        ("login", NOW + 2 * SECOND),
        ("logout", NOW + SECOND),
        ("login", NOW),
    ]
    assert {row.address for row in rows} == {"192.0.2.1"}
    [bobs] = await store.audit_page(people.bob, before=None, limit=10)
    assert (bobs.address, bobs.details) == (None, {})
    assert await store.audit_page(NOBODY, before=None, limit=10) == []


async def test_pages_of_entries_follow_each_other(store: Store, people: People) -> None:
    for number in range(5):
        await store.write_audit(
            f"act {number}", user_id=people.alice, address=None, at=NOW, details={"n": number}
        )
    seen, before = [], None
    while page := await store.audit_page(people.alice, before=before, limit=2):
        seen += [(row.action, row.details) for row in page]
        before = page[-1].id
    assert seen == [(f"act {number}", {"n": number}) for number in (4, 3, 2, 1, 0)]


async def test_a_theft_is_written_down_with_the_address_of_the_thief(
    store: Store, people: People
) -> None:
    _, device_id = await log_in(store, people.alice, b"one")
    outcomes = []
    for token, successor in ((b"one", b"two"), (b"two", b"three"), (b"one", b"two")):
        row = await store.rotate_refresh_token(
            token_hash=token,
            successor_hash=successor,
            at=NOW,
            grace_until=NOW,
            expires_at=NOW + DAY,
            max_age=365 * DAY,
            address="192.0.2.66",
        )
        outcomes.append(row.outcome)
    assert outcomes == [Rotation.ROTATED, Rotation.ROTATED, Rotation.REUSED]
    [entry] = await store.audit_page(people.alice, before=None, limit=10)
    assert entry.action == "refresh_token_reused"
    assert (entry.address, entry.at) == ("192.0.2.66", NOW)
    assert entry.details == {"deviceId": str(device_id)}
