"""People as others find them."""

from __future__ import annotations

from uuid import UUID

from chatd.contract import Store
from chatd.ids import uuid7
from tests.store.kit import NOW, sign_up


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
