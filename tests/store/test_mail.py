"""Mailed links in the store: each is good once, for its purpose, until a newer one or its time."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
import trio

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.rows import Link, MailedRow, MailPurpose, PasswordProof, ResetRow, UserRow
from chatd.store.pool import Pool
from chatd.store.postgres import PostgresStore
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND, sign_up

WAITS_FOR_LOCK = """
    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
ALICE = "alice@example.org"
NEW = "alice@new.example"


async def verify_link(store: Store, user_id: UUID, token: bytes = b"verify") -> bool:
    return await store.save_mail_token(
        user_id, MailPurpose.VERIFY, token_hash=token, email=ALICE, expires_at=NOW + DAY
    )


async def reset_link(store: Store, user_id: UUID, token: bytes = b"reset") -> bool:
    return await store.save_mail_token(
        user_id, MailPurpose.RESET, token_hash=token, email=ALICE, expires_at=NOW + DAY
    )


async def change_link(
    store: Store, user_id: UUID, token: bytes = b"change", proved: str | None = None
) -> bool:
    return await store.save_email_change(
        user_id, token_hash=token, email=NEW, password_hash=proved, expires_at=NOW + DAY
    )


async def try_log_in(store: Store, user_id: UUID, proof: PasswordProof | None) -> UUID | None:
    family_id = uuid7()
    is_opened = await store.open_family(
        family_id=family_id,
        user_id=user_id,
        device_id=uuid7(),
        device_name="test",
        address="192.0.2.1",
        token_hash=family_id.bytes,
        at=NOW,
        expires_at=NOW + DAY,
        proof=proof,
    )
    return family_id if is_opened else None


async def log_in(store: Store, user_id: UUID) -> UUID:
    family_id = await try_log_in(store, user_id, None)
    assert family_id is not None
    return family_id


async def account(store: Store, user_id: UUID) -> UserRow:
    [user] = await store.users_by_ids([user_id])
    return user


# The address


async def test_a_used_link_verifies_the_address_once(store: Store, people: People) -> None:
    assert (await account(store, people.alice)).email_verified_at is None
    assert await verify_link(store, people.alice)
    assert await store.use_email_token(b"verify", NOW) == MailedRow(people.alice, ALICE)
    assert (await account(store, people.alice)).email_verified_at == NOW
    assert await store.use_email_token(b"verify", NOW) is None
    assert await verify_link(store, people.alice)
    assert await store.use_email_token(b"verify", NOW + SECOND) is not None
    assert (await account(store, people.alice)).email_verified_at == NOW


async def test_an_address_that_was_verified_by_a_link_is_linked_by_a_sign_in(
    store: Store, people: People
) -> None:
    await verify_link(store, people.alice)
    await store.use_email_token(b"verify", NOW)
    row = await store.account_of_identity(
        issuer="https://issuer.example.org",
        subject="1",
        email=ALICE,
        name="Alice",
        user_id=uuid7(),
        at=NOW,
    )
    assert (row.link, row.user_id) == (Link.LINKED, people.alice)


async def test_of_many_that_use_a_link_at_once_one_does(store: Store, people: People) -> None:
    await change_link(store, people.alice)
    found: list[MailedRow | None] = []

    async def use() -> None:
        found.append(await store.use_email_token(b"change", NOW))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(use)
    assert [row for row in found if row is not None] == [MailedRow(people.alice, NEW, ALICE)]


async def test_a_link_is_good_until_it_expires_and_not_then(store: Store, people: People) -> None:
    await verify_link(store, people.alice)
    await reset_link(store, people.alice)
    late = NOW + DAY
    assert await store.use_email_token(b"verify", late) is None
    assert await store.reset_owner(b"reset", late) is None
    assert await store.reset_password(b"reset", "hash", late) is None
    just_in_time = late - timedelta(microseconds=1)
    assert await store.use_email_token(b"verify", just_in_time) is not None
    assert await store.reset_password(b"reset", "hash", just_in_time) is not None


async def test_a_newer_link_ends_the_older_of_its_purpose_and_no_other(
    store: Store, people: People
) -> None:
    await verify_link(store, people.alice, b"one")
    await reset_link(store, people.alice, b"two")
    await verify_link(store, people.alice, b"three")
    assert await store.use_email_token(b"one", NOW) is None
    assert await store.reset_owner(b"two", NOW) is not None
    assert await store.use_email_token(b"three", NOW) is not None


async def test_a_link_is_good_for_its_purpose_alone(store: Store, people: People) -> None:
    await verify_link(store, people.alice)
    await change_link(store, people.alice)
    await reset_link(store, people.alice)
    assert await store.use_email_token(b"reset", NOW) is None
    for token in (b"verify", b"change"):
        assert await store.reset_owner(token, NOW) is None
        assert await store.reset_password(token, "hash", NOW) is None
    assert (await account(store, people.alice)).password_hash is None
    assert await store.reset_owner(b"reset", NOW) == await account(store, people.alice)
    assert await store.use_email_token(b"verify", NOW) is not None


async def test_no_link_goes_to_an_address_that_is_not_the_accounts(
    store: Store, people: People
) -> None:
    assert not await verify_link(store, people.bob)
    assert not await reset_link(store, NOBODY)
    assert not await change_link(store, NOBODY)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert not await verify_link(store, people.alice)
    assert not await change_link(store, people.alice)


async def test_two_accounts_never_have_the_same_token(store: Store, people: People) -> None:
    await verify_link(store, people.alice, b"same")
    with pytest.raises(StoreBug):
        await change_link(store, people.bob, b"same")
    assert await store.use_email_token(b"same", NOW) == MailedRow(people.alice, ALICE)


async def test_the_end_of_an_account_ends_its_links(store: Store, people: People) -> None:
    await verify_link(store, people.alice)
    await change_link(store, people.alice)
    await reset_link(store, people.alice)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert await store.use_email_token(b"verify", NOW) is None
    assert await store.use_email_token(b"change", NOW) is None
    assert await store.reset_password(b"reset", "hash", NOW) is None
    assert (await account(store, people.alice)).email_verified_at is None


async def test_a_new_address_is_the_accounts_when_its_link_is_used(
    store: Store, people: People
) -> None:
    await verify_link(store, people.alice)
    await reset_link(store, people.alice)
    assert await change_link(store, people.alice)
    assert (await account(store, people.alice)).email == ALICE
    assert await store.use_email_token(b"change", NOW) == MailedRow(people.alice, NEW, ALICE)
    user = await account(store, people.alice)
    assert (user.email, user.email_verified_at) == (NEW, NOW)
    assert await store.user_by_email(NEW) == user
    assert await store.user_by_email(ALICE) is None
    assert await store.use_email_token(b"verify", NOW) is None  # they went to the old address
    assert await store.reset_owner(b"reset", NOW) is None


async def test_a_new_address_that_somebody_has_taken_meanwhile_stays_theirs(
    store: Store, people: People
) -> None:
    await change_link(store, people.alice)
    await change_link(store, people.bob, b"bob's")
    assert await store.use_email_token(b"bob's", NOW) == MailedRow(
        people.bob, NEW, "bob@example.org"
    )
    taken = await store.use_email_token(b"change", NOW)
    assert taken == MailedRow(people.alice, ALICE, is_taken=True)
    assert (await account(store, people.alice)).email == ALICE
    assert await store.use_email_token(b"change", NOW) is None


async def test_of_two_who_take_a_new_address_at_once_one_gets_it(
    store: Store, people: People
) -> None:
    who = (people.alice, people.bob, people.carol, people.dave)
    for user_id in who:
        await change_link(store, user_id, user_id.bytes)
    found: list[MailedRow | None] = []

    async def use(user_id: UUID) -> None:
        found.append(await store.use_email_token(user_id.bytes, NOW))

    async with trio.open_nursery() as nursery:
        for user_id in who:
            nursery.start_soon(use, user_id)
    assert sorted(row is not None and row.is_taken for row in found) == [False, True, True, True]


async def test_an_address_that_somebody_takes_at_this_moment_stays_theirs(
    pool: Pool, database_url: str
) -> None:
    store, found = PostgresStore(pool), list[MailedRow | None]()
    alice = await sign_up(store, "Alice")
    await change_link(store, alice)

    async def use() -> None:
        found.append(await store.use_email_token(b"change", NOW))

    with psycopg.connect(database_url) as other:
        other.execute(
            "INSERT INTO users (id, email, name, created_at)"
            " VALUES (gen_random_uuid(), %s, 'Eve', now())",
            [NEW],
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            while not await pool.fetch(WAITS_FOR_LOCK):  # noqa: ASYNC110 - PostgreSQL tells nobody
                await trio.sleep(0.01)
            other.commit()
    assert found == [MailedRow(alice, ALICE, is_taken=True)]


async def test_an_account_may_get_its_own_address_anew(store: Store, people: People) -> None:
    assert await store.save_email_change(
        people.alice, token_hash=b"t", email=ALICE, password_hash=None, expires_at=NOW + DAY
    )
    assert await store.use_email_token(b"t", NOW) == MailedRow(people.alice, ALICE, ALICE)
    assert (await account(store, people.alice)).email_verified_at == NOW


# The password


async def test_a_reset_sets_the_password_verifies_the_address_and_ends_all_logins_and_links(
    store: Store, people: People
) -> None:
    families = sorted([await log_in(store, people.alice) for _ in range(2)])
    other = await log_in(store, people.bob)
    await verify_link(store, people.alice)
    await change_link(store, people.alice)  # by somebody who knew the old password
    await reset_link(store, people.alice)
    reset = await store.reset_password(b"reset", "hash", NOW)
    assert reset == ResetRow(people.alice, ALICE, families)
    user = await account(store, people.alice)
    assert (user.password_hash, user.email_verified_at) == ("hash", NOW)
    assert await store.reset_password(b"reset", "other", NOW) is None
    assert await store.use_email_token(b"change", NOW) is None
    assert await store.use_email_token(b"verify", NOW) is None
    assert [await store.login_opened_at(each) for each in families] == [None, None]
    assert await store.login_opened_at(other) == NOW


async def test_of_many_resets_by_one_link_at_once_one_counts(store: Store, people: People) -> None:
    await reset_link(store, people.alice)
    counted: list[str] = []

    async def reset(password_hash: str) -> None:
        if await store.reset_password(b"reset", password_hash, NOW):
            counted.append(password_hash)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(reset, str(number))
    assert counted == [(await account(store, people.alice)).password_hash]


async def test_a_change_of_password_leaves_the_login_that_made_it_and_no_other(
    store: Store, people: People
) -> None:
    kept, gone = [await log_in(store, people.alice) for _ in range(2)]
    await reset_link(store, people.alice)
    await change_link(store, people.alice)
    revoked = await store.change_password(
        people.alice, old_hash=None, new_hash="new", kept_family_id=kept, at=NOW
    )
    assert revoked == [gone]
    user = await account(store, people.alice)
    assert (user.password_hash, user.email_verified_at) == ("new", None)
    assert await store.login_opened_at(kept) == NOW
    assert await store.login_opened_at(gone) is None
    assert await store.reset_owner(b"reset", NOW) is None
    assert await store.use_email_token(b"change", NOW) is None


async def test_a_password_that_has_changed_meanwhile_proves_nothing(
    store: Store, people: People
) -> None:
    family_id = await log_in(store, people.alice)
    await reset_link(store, people.alice)
    await store.reset_password(b"reset", "by mail", NOW)
    for old_hash in (None, "another"):
        changed = await store.change_password(
            people.alice, old_hash=old_hash, new_hash="new", kept_family_id=family_id, at=NOW
        )
        assert changed is None
        assert not await change_link(store, people.alice, proved=old_hash)
    assert (await account(store, people.alice)).password_hash == "by mail"
    assert await change_link(store, people.alice, proved="by mail")


async def test_no_login_is_opened_by_a_password_that_has_changed_meanwhile(
    store: Store, people: People
) -> None:
    await reset_link(store, people.alice)
    assert await try_log_in(store, people.alice, PasswordProof(None)) is not None
    assert await try_log_in(store, people.alice, PasswordProof("hash")) is None
    await store.reset_password(b"reset", "hash", NOW)
    assert await try_log_in(store, people.alice, PasswordProof(None)) is None
    assert await try_log_in(store, people.alice, PasswordProof("hash")) is not None
    assert await try_log_in(store, NOBODY, PasswordProof(None)) is None
    assert len(await store.devices(people.alice, at=NOW, limit=9)) == 1


async def test_of_logins_that_are_opened_while_a_password_is_set_none_is_left(
    store: Store, people: People
) -> None:
    for number in range(5):
        user_id = await sign_up(store, f"Eve{number}")
        token = b"%d" % number
        await store.save_mail_token(
            user_id,
            MailPurpose.RESET,
            token_hash=token,
            email=f"eve{number}@example.org",
            expires_at=NOW + DAY,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_log_in, store, user_id, PasswordProof(None))
            nursery.start_soon(try_log_in, store, user_id, PasswordProof(None))
            nursery.start_soon(store.reset_password, token, "hash", NOW)
            nursery.start_soon(try_log_in, store, user_id, PasswordProof(None))
        assert (await account(store, user_id)).password_hash == "hash"
        assert await store.devices(user_id, at=NOW, limit=9) == []


async def test_nobody_and_an_account_that_has_ended_gets_no_password(
    store: Store, people: People
) -> None:
    family_id = await log_in(store, people.alice)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    for user_id in (people.alice, NOBODY):
        changed = await store.change_password(
            user_id, old_hash=None, new_hash="new", kept_family_id=family_id, at=NOW
        )
        assert changed is None
    assert (await account(store, people.alice)).password_hash is None
    assert await store.login_opened_at(family_id) is None


async def test_nobody_logs_in_to_an_account_that_has_ended(store: Store) -> None:
    user_id = uuid7()
    await store.insert_user(
        user_id=user_id, email=NEW, name="Zoe", password_hash=None, created_at=NOW
    )
    without_password = PasswordProof(None)  # as before its end, and as behind it
    assert await try_log_in(store, user_id, without_password) is not None
    await store.begin_erasure(user_id, deletes_messages=False, at=NOW)
    assert await try_log_in(store, user_id, without_password) is None
    assert await store.devices(user_id, at=NOW, limit=9) == []
