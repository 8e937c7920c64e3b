"""People as others find them."""

from __future__ import annotations

from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.errors import StoreBug
from chatd.ids import uuid7
from tests.store.kit import NOBODY, NOW, gather, say, sign_up


async def name(store: Store, name: str, email: str) -> UUID:
    user = await store.insert_user(
        user_id=uuid7(), email=email, name=name, password_hash=None, created_at=NOW
    )
    assert user is not None
    return user.id


async def found(store: Store, query: str) -> list[str]:
    return [row.user.name for row in await store.find_users(query, after=None, limit=50)]


async def test_a_name_is_found_by_a_part_of_it_and_first_by_its_beginning(store: Store) -> None:
    for each in ("Joanna", "anna", "Bert", "Annabel", "Susanna"):
        await sign_up(store, each)
    assert await found(store, "ANN") == ["anna", "Annabel", "Joanna", "Susanna"]
    assert await found(store, "an%") == []
    assert await found(store, "_") == []
    assert await found(store, "") == ["anna", "Annabel", "Bert", "Joanna", "Susanna"]


async def test_letters_outside_ascii_are_the_same_in_any_case_and_form(store: Store) -> None:
    for each in ("Änne Groß", "\uff25va", "Ärger"):
        await name(store, each, f"{uuid7()}@example.org")
    assert await found(store, "ä") == ["Änne Groß", "Ärger"]
    assert await found(store, "A\u0308NNE GROSS") == ["Änne Groß"]
    assert await found(store, "eva") == ["\uff25va"]


async def test_a_whole_address_finds_its_user_and_a_part_of_it_nobody(store: Store) -> None:
    await name(store, "Zoe", "secret@example.org")
    await name(store, "not secret@example.org", "other@example.org")
    assert await found(store, "Secret@Example.org") == ["Zoe", "not secret@example.org"]
    for part in ("secret@", "ecret@example.org", "secret@example.or", "@example.org"):
        assert await found(store, part) == ["not secret@example.org"]
    for part in ("other", "other@example.or", "ther@example.org"):
        assert await found(store, part) == []


async def test_pages_follow_each_other_without_gap_or_repeat(store: Store) -> None:
    for number in range(7):
        await name(store, "Ann" if number % 2 else "Joann", f"{number}@example.org")
    whole = await store.find_users("ann", after=None, limit=50)
    assert [row.rank for row in whole] == [0] * 3 + [1] * 4
    pages, after = [], None
    while page := await store.find_users("ann", after=after, limit=2):
        pages += page
        after = (page[-1].rank, page[-1].key, page[-1].user.id)
    assert pages == whole


async def test_a_name_and_an_avatar_change_each_alone(store: Store) -> None:
    alice = await sign_up(store, "Alice")
    url = "https://a.test/a.png"
    row = await store.update_user(alice, name="Alma", avatar=None, sets_avatar=False)
    assert row is not None
    assert (row.name, row.avatar_url, row.email) == ("Alma", None, "alice@example.org")
    for avatar in (url, "#aabbcc", None, url):
        row = await store.update_user(alice, name=None, avatar=avatar, sets_avatar=True)
        assert row is not None
        assert (row.name, row.avatar_url) == ("Alma", avatar)
    kept = await store.update_user(alice, name="Ally", avatar=None, sets_avatar=False)
    assert kept is not None
    assert [kept] == await store.users_by_ids([alice])
    assert kept.avatar_url == url
    assert await store.update_user(NOBODY, name="X", avatar=None, sets_avatar=True) is None


async def test_who_is_renamed_is_found_by_the_new_name_only(store: Store) -> None:
    alice = await sign_up(store, "Alice")
    await store.update_user(alice, name="ÄNNE", avatar=None, sets_avatar=False)
    assert await found(store, "alice") == []
    assert await found(store, "änne") == ["ÄNNE"]


async def test_what_was_said_before_shows_the_name_and_avatar_of_now(store: Store) -> None:
    alice = await sign_up(store, "Alice")
    tea = await gather(store, alice)
    await say(store, tea, alice, "hello")
    await store.update_user(alice, name="Alma", avatar="#aabbcc", sets_avatar=True)
    page = await store.history(tea, alice)
    assert page is not None
    [row] = page.messages
    assert (row.sender_name, row.sender_avatar_url) == ("Alma", "#aabbcc")


@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_what_is_no_avatar_is_not_stored(store: Store) -> None:
    alice = await sign_up(store, "Alice")
    for bad in ("javascript:alert(1)", "http://a.test/", "#abc", "https://"):
        with pytest.raises(StoreBug):
            await store.update_user(alice, name=None, avatar=bad, sets_avatar=True)
