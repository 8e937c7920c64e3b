"""Every statement that returns an account returns all of it, each column in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from chatd.contract import Store
from chatd.ids import bot_id, uuid7
from chatd.rows import MailPurpose, UserRow
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND, gather
from tests.store.test_files import upload

ALICE = "alice@example.org"

Ask = Callable[[Store, UUID], Awaitable[UserRow | None]]


async def verify(store: Store, user_id: UUID, email: str) -> None:
    """Have an account's address verified at NOW."""
    assert await store.save_mail_token(
        user_id, MailPurpose.VERIFY, token_hash=b"verify", email=email, expires_at=NOW + DAY
    )
    assert await store.use_email_token(b"verify", NOW) is not None


async def by_email(store: Store, _user_id: UUID) -> UserRow | None:
    return await store.user_by_email(ALICE)


async def by_search(store: Store, _user_id: UUID) -> UserRow | None:
    [found] = await store.find_users(ALICE, after=None, limit=5)
    return found.user


async def by_acquaintance(store: Store, user_id: UUID) -> UserRow | None:
    [known] = await store.acquaintances(user_id, [user_id])
    return known


async def by_first_state(store: Store, user_id: UUID) -> UserRow | None:
    states = await store.first_states([user_id], 5)
    return states[user_id][0]


async def by_update(store: Store, user_id: UUID) -> UserRow | None:
    return await store.update_user(user_id, name="Ally", avatar="#0f766e", sets_avatar=True)


async def by_avatar_file(store: Store, user_id: UUID) -> UserRow | None:
    picture = await upload(store, user_id, None)
    return await store.set_avatar_file(user_id, picture.id, name="Ally")


async def by_reset_link(store: Store, user_id: UUID) -> UserRow | None:
    assert await store.save_mail_token(
        user_id, MailPurpose.RESET, token_hash=b"reset", email=ALICE, expires_at=NOW + DAY
    )
    return await store.reset_owner(b"reset", NOW)


@pytest.mark.parametrize(
    "ask",
    [
        *(by_email, by_search, by_acquaintance, by_first_state, by_update, by_avatar_file),
        by_reset_link,
    ],
)
async def test_a_statement_that_returns_an_account_tells_all_of_it(
    store: Store, people: People, ask: Ask
) -> None:
    await gather(store, people.alice, people.bob)
    await verify(store, people.alice, ALICE)
    await store.set_password(people.alice, "hash", NOW)
    await store.set_last_seen([people.alice], NOW + SECOND)
    await store.set_status(people.alice, manual_status="BUSY", text="at lunch", until=NOW + DAY)
    row = await ask(store, people.alice)
    assert row is not None
    assert await store.users_by_ids([people.alice]) == [row]
    assert (row.email, row.password_hash, row.created_at) == (ALICE, "hash", NOW)
    assert (row.manual_status, row.status_text, row.status_until) == ("BUSY", "at lunch", NOW + DAY)
    assert (row.last_seen, row.email_verified_at) == (NOW + SECOND, NOW)


async def test_a_new_account_and_a_new_bot_are_returned_as_they_are_found(
    store: Store, people: People
) -> None:
    eve = await store.insert_user(
        user_id=uuid7(), email="eve@example.org", name="Eve", password_hash="hash", created_at=NOW
    )
    bot = await store.insert_bot(
        user_id=bot_id(), owner_id=people.alice, name="Weather", created_at=NOW, limit=1
    )
    for row in (eve, bot):
        assert row is not None
        assert row.email_verified_at is None
        assert await store.users_by_ids([row.id]) == [row]


async def test_the_bots_of_an_owner_are_returned_with_all_that_is_known(
    store: Store, people: People
) -> None:
    bot = await store.insert_bot(
        user_id=bot_id(), owner_id=people.alice, name="Weather", created_at=NOW, limit=1
    )
    assert bot is not None
    await verify(store, bot.id, bot.email)
    [listed] = await store.bots_of(people.alice)
    assert listed.email_verified_at == NOW
    assert await store.users_by_ids([bot.id]) == [listed]
