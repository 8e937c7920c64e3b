"""Sign-ins in the store: an identity has one account, a sign-in is taken once."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.ids import uuid7
from chatd.rows import IdentityRow, Link, OwnIdentityRow, SignInRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOBODY, NOW, SECOND

ISSUER = "https://issuer.example.org"


async def sign_in(store: Store, subject: str = "1", **more: Any) -> IdentityRow:
    """Return the account of an identity whose issuer has verified zoe@example.org."""
    usual: dict[str, Any] = {
        "issuer": ISSUER,
        "email": "zoe@example.org",
        "name": "Zoe",
        "user_id": uuid7(),
    }
    return await store.account_of_identity(subject=subject, at=NOW, **(usual | more))


# Identities


async def test_a_new_identity_opens_an_account_without_a_password(store: Store) -> None:
    row = await sign_in(store)
    assert row.link is Link.OPENED
    assert row.user_id is not None
    [user] = await store.users_by_ids([row.user_id])
    assert (user.email, user.name, user.password_hash) == ("zoe@example.org", "Zoe", None)


@pytest.mark.parametrize("email", ["zoe@example.org", "other@example.org", None])
async def test_a_known_identity_has_its_account_whatever_its_address_is_now(
    store: Store, email: str | None
) -> None:
    first = await sign_in(store)
    assert await sign_in(store, email=email) == IdentityRow(Link.KNOWN, first.user_id)


async def test_the_same_subject_of_another_issuer_is_somebody_else(store: Store) -> None:
    first = await sign_in(store)
    other = await sign_in(store, issuer="https://other.example", email="other@example.org")
    assert other.link is Link.OPENED
    assert other.user_id != first.user_id


async def test_without_a_verified_address_an_unknown_identity_gets_nothing(store: Store) -> None:
    assert await sign_in(store, email=None) == IdentityRow(Link.UNVERIFIED)
    assert (await sign_in(store)).link is Link.OPENED


async def test_an_address_that_chatd_has_not_verified_is_not_linked(
    store: Store, people: People
) -> None:
    for subject in ("1", "2"):
        taken = await sign_in(store, subject, email="Alice@Example.ORG")
        assert taken == IdentityRow(Link.TAKEN)


async def test_an_address_that_chatd_has_verified_is_linked(store: Store, people: People) -> None:
    assert await store.verify_email(people.alice, "Alice@example.org", NOW)
    linked = await sign_in(store, email="alice@example.org")
    assert linked == IdentityRow(Link.LINKED, people.alice)
    assert await sign_in(store, email=None) == IdentityRow(Link.KNOWN, people.alice)


async def test_an_account_with_a_second_factor_is_not_linked_by_its_address(
    store: Store, people: People
) -> None:
    assert await store.verify_email(people.alice, "alice@example.org", NOW)
    assert await store.begin_second_factor(people.alice, secret=b"sealed", key_id="test")
    assert await store.confirm_second_factor(
        people.alice, secret=b"sealed", step=1, code_hashes=[], at=NOW
    )
    assert await sign_in(store, email="alice@example.org") == IdentityRow(Link.TAKEN)
    assert await store.remove_second_factor(people.alice)
    assert await store.begin_second_factor(people.alice, secret=b"sealed", key_id="test")
    linked = await sign_in(store, email="alice@example.org")
    assert linked == IdentityRow(Link.LINKED, people.alice)


async def test_of_an_address_that_is_not_the_accounts_nothing_is_remembered(
    store: Store, people: People
) -> None:
    for user_id, email in [
        (people.alice, "alice@elsewhere.example"),
        (people.alice, "bob@example.org"),
        (NOBODY, "alice@example.org"),
    ]:
        assert not await store.verify_email(user_id, email, NOW)
    for email in ("alice@example.org", "bob@example.org"):
        assert await sign_in(store, email=email) == IdentityRow(Link.TAKEN)


@pytest.mark.parametrize("emails", [["zoe@example.org"], ["zoe@example.org", "a@example.org"]])
async def test_of_many_first_sign_ins_at_once_one_opens_the_account(
    store: Store, emails: list[str]
) -> None:
    for number in range(5):
        rows: list[IdentityRow] = []

        async def enter(subject: str, email: str, into: list[IdentityRow]) -> None:
            into.append(await sign_in(store, subject, email=f"{subject}{email}"))

        async with trio.open_nursery() as nursery:
            for nth in range(6):
                nursery.start_soon(enter, str(number), emails[nth % len(emails)], rows)
        assert sorted(row.link.value for row in rows) == ["known"] * 5 + ["opened"]
        assert len({row.user_id for row in rows}) == 1


async def test_the_identities_of_a_user_are_theirs_alone(store: Store, people: People) -> None:
    await store.verify_email(people.alice, "alice@example.org", NOW)
    for subject in ("b", "B", "a"):
        await sign_in(store, subject, email="alice@example.org")
    await sign_in(store, "z")
    found = await store.identities_of(people.alice)
    assert found == [OwnIdentityRow(ISSUER, subject, NOW) for subject in ("B", "a", "b")]
    assert await store.identities_of(people.bob) == []


# Sign-ins under way


async def begin(store: Store, secret: bytes = b"secret", **more: Any) -> None:
    """Keep a sign-in of one browser that leads to /next."""
    usual = {
        "browser_hash": b"browser",
        "user_id": None,
        "next_path": "/next",
        "at": NOW,
        "expires_at": NOW + DAY,
    }
    await store.save_sign_in(secret_hash=secret, **(usual | more))


async def test_a_sign_in_is_taken_once(store: Store) -> None:
    await begin(store)
    taken = await store.take_sign_in(b"secret", b"browser", NOW, is_known=False)
    assert taken == SignInRow(None, "/next")
    assert await store.take_sign_in(b"secret", b"browser", NOW, is_known=False) is None


async def test_of_many_that_take_a_sign_in_at_once_one_gets_it(store: Store) -> None:
    await begin(store)
    taken: list[SignInRow | None] = []

    async def take() -> None:
        taken.append(await store.take_sign_in(b"secret", b"browser", NOW, is_known=False))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(take)
    assert [row for row in taken if row is not None] == [SignInRow(None, "/next")]


async def test_a_sign_in_is_its_browsers_alone_and_stays_for_it(store: Store) -> None:
    await begin(store)
    assert await store.take_sign_in(b"secret", b"other", NOW, is_known=False) is None
    assert await store.take_sign_in(b"secret", b"browser", NOW, is_known=False) is not None


async def test_a_state_is_no_code_and_a_code_is_no_state(store: Store, people: People) -> None:
    await begin(store, b"state")
    await begin(store, b"code", user_id=people.alice)
    assert await store.take_sign_in(b"state", b"browser", NOW, is_known=True) is None
    assert await store.take_sign_in(b"code", b"browser", NOW, is_known=False) is None
    code = await store.take_sign_in(b"code", b"browser", NOW, is_known=True)
    assert code == SignInRow(people.alice, "/next")


async def test_a_sign_in_is_there_until_it_expires_and_not_then(store: Store) -> None:
    await begin(store)
    await begin(store, b"other")
    assert await store.take_sign_in(b"secret", b"browser", NOW + DAY, is_known=False) is None
    late = NOW + DAY - SECOND
    assert await store.take_sign_in(b"secret", b"browser", late, is_known=False) is not None


async def test_what_has_expired_is_deleted_by_the_next(store: Store) -> None:
    await begin(store)
    await begin(store, b"young", expires_at=NOW + 2 * DAY)
    await begin(store, b"late", at=NOW + DAY, expires_at=NOW + 2 * DAY)
    assert await store.take_sign_in(b"secret", b"browser", NOW, is_known=False) is None
    assert await store.take_sign_in(b"young", b"browser", NOW, is_known=False) is not None


async def test_a_secret_twice_is_a_bug(store: Store) -> None:
    await begin(store)
    with pytest.raises(StoreBug):
        await begin(store)


async def test_of_an_account_that_has_ended_no_identity_and_no_code_is_left(store: Store) -> None:
    first = await sign_in(store)
    assert first.user_id is not None
    await store.verify_email(first.user_id, "zoe@example.org", NOW)
    await begin(store, b"before", user_id=first.user_id)
    await store.begin_erasure(first.user_id, deletes_messages=False, at=NOW)
    await begin(store, b"after", user_id=first.user_id)
    await begin(store, b"nobody", user_id=NOBODY)
    for secret in (b"before", b"after", b"nobody"):
        assert await store.take_sign_in(secret, b"browser", NOW, is_known=True) is None
    assert await store.identities_of(first.user_id) == []
    again = await sign_in(store)
    assert again.link is Link.OPENED
    assert again.user_id != first.user_id
    assert await sign_in(store, "2") == IdentityRow(Link.TAKEN)
