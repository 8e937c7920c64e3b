"""API tokens and bots in the store."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.contract.api_tokens import ApiTokenRow
from chatd.errors import StoreBug
from chatd.ids import bot_id, is_bot, uuid7
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND, sign_up
from tests.store.test_devices import log_in

MINUTE = timedelta(minutes=1)
LIMIT = 3


def token_of(user_id: UUID, **more: Any) -> ApiTokenRow:
    usual: dict[str, Any] = {
        "id": uuid7(),
        "name": "ci",
        "scopes": ("read", "write"),
        "created_at": NOW,
        "expires_at": None,
        "last_used_at": None,
    }
    return ApiTokenRow(user_id=user_id, **(usual | more))


def hash_of(row: ApiTokenRow) -> bytes:
    return row.id.bytes * 2


async def keep(store: Store, row: ApiTokenRow) -> ApiTokenRow:
    assert await store.insert_api_token(row, hash_of(row), limit=LIMIT)
    return row


async def use(store: Store, row: ApiTokenRow, at: datetime) -> ApiTokenRow | None:
    return await store.use_api_token(hash_of(row), at, used_before=at - MINUTE)


async def bot_of(store: Store, owner_id: UUID | None, name: str = "Bot") -> UUID:
    bot = await store.insert_bot(
        user_id=bot_id(), owner_id=owner_id, name=name, created_at=NOW, limit=LIMIT
    )
    assert bot is not None
    return bot.id


async def test_a_token_is_found_by_its_hash_until_it_expires(store: Store, people: People) -> None:
    row = await keep(store, token_of(people.alice, expires_at=NOW + DAY))
    assert await use(store, row, NOW) == row
    found = await use(store, row, NOW + DAY - SECOND)
    assert found is not None
    assert found.id == row.id
    assert await use(store, row, NOW + DAY) is None
    assert await store.use_api_token(b"x" * 32, NOW, used_before=NOW) is None


async def test_the_last_use_is_remembered_but_not_each(store: Store, people: People) -> None:
    row = await keep(store, token_of(people.alice))
    for at in (NOW, NOW + MINUTE, NOW + MINUTE + SECOND, NOW + 2 * MINUTE):
        await use(store, row, at)
    [listed] = await store.api_tokens(people.alice)
    assert listed.last_used_at == NOW + MINUTE + SECOND


async def test_of_one_user_there_are_so_many_tokens_also_when_they_come_at_once(
    store: Store, people: People
) -> None:
    answers: list[bool] = []

    async def make() -> None:
        row = token_of(people.alice)
        answers.append(await store.insert_api_token(row, hash_of(row), limit=LIMIT))

    async with trio.open_nursery() as nursery:
        for _ in range(LIMIT + 2):
            nursery.start_soon(make)
    assert sorted(answers) == [False] * 2 + [True] * LIMIT
    await keep(store, token_of(people.bob))


async def test_a_token_twice_is_a_bug(store: Store, people: People) -> None:
    row = await keep(store, token_of(people.alice))
    with pytest.raises(StoreBug):
        await store.insert_api_token(token_of(people.bob), hash_of(row), limit=LIMIT)


async def test_an_id_is_of_one_token(store: Store, people: People) -> None:
    row = await keep(store, token_of(people.alice))
    with pytest.raises(StoreBug):
        await store.insert_api_token(row, b"of another", limit=10)
    assert await use(store, row, NOW) is not None


async def test_a_user_sees_and_revokes_their_own_tokens_and_their_bots(
    store: Store, people: People
) -> None:
    robot = await bot_of(store, people.alice)
    own = await keep(store, token_of(people.alice))
    bots = await keep(store, token_of(robot, created_at=NOW + SECOND))
    foreign = await keep(store, token_of(people.bob))
    assert await store.api_tokens(people.alice) == [bots, own]
    assert await store.api_tokens(robot) == [bots]
    assert await store.revoke_api_token(foreign.id, people.alice) is None
    assert await store.revoke_api_token(bots.id, people.alice) == bots
    assert await store.revoke_api_token(bots.id, people.alice) is None
    assert await use(store, bots, NOW) is None
    assert await store.revoke_api_token(own.id, robot) is None
    assert await store.api_tokens(people.alice) == [own]


async def test_the_end_of_all_logins_ends_the_tokens_of_that_user_alone(
    store: Store, people: People
) -> None:
    robot = await bot_of(store, people.alice)
    own = await keep(store, token_of(people.alice))
    bots = await keep(store, token_of(robot))
    assert await store.revoke_user(people.alice, NOW) == [own.id]
    assert await use(store, own, NOW) is None
    assert await use(store, bots, NOW) is not None


async def test_a_login_that_was_revoked_makes_no_token(store: Store, people: People) -> None:
    family_id, _ = await log_in(store, people.alice, b"one", at=NOW)
    row, late = token_of(people.alice), token_of(people.alice)
    assert await store.insert_api_token(row, hash_of(row), limit=LIMIT, asked_by=family_id)
    assert row.id in await store.revoke_user(people.alice, NOW)
    assert not await store.insert_api_token(late, hash_of(late), limit=LIMIT, asked_by=family_id)


async def test_of_tokens_that_are_made_while_all_logins_end_none_is_left(
    store: Store, people: People
) -> None:
    for number in range(10):
        user_id = await sign_up(store, f"Eve{number}")
        family_id, _ = await log_in(store, user_id, b"%d" % number, at=NOW)

        async def make(user_id: UUID = user_id, family_id: UUID = family_id) -> None:
            row = token_of(user_id)
            await store.insert_api_token(row, hash_of(row), limit=LIMIT, asked_by=family_id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            nursery.start_soon(make)
            nursery.start_soon(store.revoke_user, user_id, NOW)
            nursery.start_soon(make)
        assert await store.api_tokens(user_id) == []


async def test_the_end_of_an_account_names_its_tokens_and_takes_no_more(
    store: Store, people: People
) -> None:
    own = await keep(store, token_of(people.alice))
    assert await store.begin_erasure(people.alice, deletes_messages=False, at=NOW) == [own.id]
    assert await store.begin_erasure(people.alice, deletes_messages=False, at=NOW) == [own.id]
    assert await use(store, own, NOW) is None
    late = token_of(people.alice)
    assert not await store.insert_api_token(late, hash_of(late), limit=LIMIT)


# Bots


async def test_a_bot_is_an_account_whose_id_says_so_and_nobody_can_log_in_to_it(
    store: Store, people: People
) -> None:
    robot = await bot_of(store, people.alice, "Robot")
    [row] = await store.users_by_ids([robot])
    assert (row.name, row.password_hash, is_bot(row.id)) == ("Robot", None, True)
    assert "@" not in row.email
    assert not any(is_bot(each) for each in (people.alice, people.bob))
    [found] = await store.find_users("rob", after=None, limit=10)
    assert found.user.id == robot


async def test_an_owner_has_so_many_bots_and_those_that_ended_do_not_count(
    store: Store, people: People
) -> None:
    robots = [await bot_of(store, people.alice, f"Bot {number}") for number in range(LIMIT)]
    more: dict[str, Any] = {"name": "One more", "created_at": NOW, "limit": LIMIT}
    refused = await store.insert_bot(user_id=bot_id(), owner_id=people.alice, **more)
    assert refused is None
    assert [row.id for row in await store.bots_of(people.alice)] == sorted(robots)
    await store.begin_erasure(robots[0], deletes_messages=False, at=NOW)
    assert [row.id for row in await store.bots_of(people.alice)] == sorted(robots[1:])
    assert await store.insert_bot(user_id=bot_id(), owner_id=people.alice, **more) is not None
    assert await store.bots_of(people.bob) == []


async def test_the_operators_bots_have_no_owner_and_no_limit(store: Store) -> None:
    for number in range(LIMIT + 1):
        await bot_of(store, None, f"Bot {number}")


async def test_who_has_ended_the_account_gets_no_bot(store: Store, people: People) -> None:
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    bot = await store.insert_bot(
        user_id=bot_id(), owner_id=people.alice, name="Bot", created_at=NOW, limit=LIMIT
    )
    assert bot is None
