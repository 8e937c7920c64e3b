"""Second factors in the store: a step and a recovery code are taken once, a challenge ends once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest
import trio

from chatd.contract import Store
from chatd.contract.second_factor import ChallengeRow, SealedRow, SecondFactorRow
from chatd.errors import StoreBug
from chatd.ids import uuid7
from tests.store.conftest import People
from tests.store.kit import DAY, NOW, SECOND

CODES = [bytes([number]) * 32 for number in range(3)]
CHALLENGE = b"c" * 32
LATER = NOW + timedelta(minutes=5)


async def confirmed(store: Store, user_id: UUID, *, step: int = 100) -> None:
    """Give an account a second factor."""
    assert await store.begin_second_factor(user_id, secret=b"secret", key_id="k1")
    assert await store.confirm_second_factor(
        user_id, secret=b"secret", step=step, code_hashes=CODES, at=NOW
    )


async def challenged(store: Store, user_id: UUID, key: bytes = CHALLENGE) -> None:
    """Begin a login that waits for the second factor."""
    await store.open_challenge(
        challenge_hash=key,
        user_id=user_id,
        device_id=None,
        password_mark=b"mark",
        at=NOW,
        expires_at=LATER,
    )


async def both(work: Callable[[], Awaitable[object]]) -> list[object]:
    """Do something twice at once."""
    answers: list[object] = []

    async def once() -> None:
        answers.append(await work())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(once)
        nursery.start_soon(once)
    return answers


async def test_a_second_factor_is_nothing_until_it_is_confirmed(
    store: Store, people: People
) -> None:
    assert await store.second_factor(people.alice) is None
    assert await store.begin_second_factor(people.alice, secret=b"one", key_id="k1")
    assert await store.second_factor(people.alice) == SecondFactorRow(b"one", "k1", None, 0, 0)
    assert not await store.spend_step(people.alice, 1)
    assert not await store.replace_recovery_codes(people.alice, CODES)
    assert await store.begin_second_factor(people.alice, secret=b"two", key_id="k2")
    assert not await store.confirm_second_factor(
        people.alice, secret=b"one", step=5, code_hashes=CODES, at=NOW
    )
    assert await store.confirm_second_factor(
        people.alice, secret=b"two", step=5, code_hashes=CODES, at=NOW
    )
    assert await store.second_factor(people.alice) == SecondFactorRow(b"two", "k2", NOW, 5, 3)
    assert await store.second_factor(people.bob) is None


async def test_a_confirmed_one_is_neither_replaced_nor_confirmed_again(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice)
    assert not await store.begin_second_factor(people.alice, secret=b"other", key_id="k1")
    assert not await store.confirm_second_factor(
        people.alice, secret=b"secret", step=200, code_hashes=[], at=NOW + DAY
    )
    row = await store.second_factor(people.alice)
    assert row == SecondFactorRow(b"secret", "k1", NOW, 100, 3)


async def test_a_step_is_taken_once_and_none_before_it_after_it(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice, step=100)
    for step, is_taken in ((100, False), (99, False), (102, True), (101, False), (102, False)):
        assert await store.spend_step(people.alice, step) is is_taken
    assert not await store.spend_step(people.bob, 103)


async def test_of_two_uses_of_a_step_at_once_one_wins(store: Store, people: People) -> None:
    await confirmed(store, people.alice)
    for step in range(101, 121):
        answers = await both(lambda step=step: store.spend_step(people.alice, step))  # type: ignore[misc]
        assert sorted(map(bool, answers)) == [False, True]


async def test_of_two_uses_of_a_recovery_code_at_once_one_wins(
    store: Store, people: People
) -> None:
    for number in range(10):
        await confirmed(store, people.alice)
        code = CODES[number % 3]
        answers = await both(lambda code=code: store.spend_recovery_code(people.alice, code))  # type: ignore[misc]
        assert sorted(answers, key=str) == [2, None]
        assert await store.remove_second_factor(people.alice)


async def test_recovery_codes_are_counted_down_and_are_of_one_account(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice)
    await confirmed(store, people.bob)
    assert await store.spend_recovery_code(people.alice, CODES[0]) == 2
    assert await store.spend_recovery_code(people.alice, CODES[0]) is None
    assert await store.spend_recovery_code(people.alice, b"x" * 32) is None
    assert await store.spend_recovery_code(people.alice, CODES[1]) == 1
    assert await store.replace_recovery_codes(people.alice, [b"n" * 32])
    assert await store.spend_recovery_code(people.alice, CODES[2]) is None
    assert await store.spend_recovery_code(people.alice, b"n" * 32) == 0
    row = await store.second_factor(people.bob)
    assert row is not None
    assert row.codes_left == 3


async def test_what_is_removed_is_gone_with_its_codes_and_challenges(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice)
    await challenged(store, people.alice)
    assert await store.remove_second_factor(people.alice)
    assert not await store.remove_second_factor(people.alice)
    assert await store.second_factor(people.alice) is None
    assert await store.spend_recovery_code(people.alice, CODES[0]) is None
    assert await store.challenge(CHALLENGE, NOW) is None


async def test_secrets_under_other_keys_are_found_and_sealed_anew_unless_they_changed(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice)
    assert await store.begin_second_factor(people.bob, secret=b"new", key_id="k2")
    [old] = await store.sealed_otherwise("k2", 10)
    assert old == SealedRow(people.alice, b"secret", "k1")
    await store.reseal(old._replace(secret=b"another"), secret=b"x", key_id="k2")
    assert await store.sealed_otherwise("k2", 10) == [old]
    await store.reseal(old, secret=b"sealed anew", key_id="k2")
    assert await store.sealed_otherwise("k2", 10) == []
    row = await store.second_factor(people.alice)
    assert row == SecondFactorRow(b"sealed anew", "k2", NOW, 100, 3)
    everybody = await store.sealed_otherwise("k3", 10)
    assert [each.user_id for each in everybody] == sorted([people.alice, people.bob])
    assert await store.sealed_otherwise("k3", 1) == everybody[:1]


# Challenges


async def test_a_challenge_lives_until_it_expires(store: Store, people: People) -> None:
    device_id = uuid7()
    await store.open_challenge(
        challenge_hash=CHALLENGE,
        user_id=people.alice,
        device_id=device_id,
        password_mark=b"mark",
        at=NOW,
        expires_at=LATER,
    )
    row = ChallengeRow(people.alice, device_id, b"mark", 0)
    assert await store.challenge(CHALLENGE, LATER - SECOND) == row
    assert await store.challenge(CHALLENGE, LATER) is None
    assert await store.challenge(b"d" * 32, NOW) is None


async def test_a_challenge_has_so_many_tries(store: Store, people: People) -> None:
    await challenged(store, people.alice)
    tried = [await store.try_challenge(CHALLENGE, 3) for _ in range(4)]
    assert tried == [True, True, True, False]
    row = await store.challenge(CHALLENGE, NOW)
    assert row is not None
    assert row.tries == 3
    assert not await store.try_challenge(b"d" * 32, 3)


async def test_of_two_who_end_a_challenge_at_once_one_wins(store: Store, people: People) -> None:
    for number in range(10):
        key = bytes([number]) * 32
        await challenged(store, people.alice, key)
        answers = await both(lambda key=key: store.end_challenge(key))  # type: ignore[misc]
        assert sorted(map(bool, answers)) == [False, True]
        assert await store.challenge(key, NOW) is None


async def test_a_challenge_that_is_there_is_not_replaced(store: Store, people: People) -> None:
    await challenged(store, people.alice)
    with pytest.raises(StoreBug):
        await challenged(store, people.bob)


async def test_expired_challenges_are_deleted_by_the_next(store: Store, people: People) -> None:
    await challenged(store, people.alice)
    await store.open_challenge(
        challenge_hash=b"d" * 32,
        user_id=people.bob,
        device_id=None,
        password_mark=b"",
        at=LATER,
        expires_at=LATER + DAY,
    )
    assert await store.challenge(CHALLENGE, NOW) is None
    assert await store.challenge(b"d" * 32, LATER) is not None


async def test_the_end_of_all_logins_ends_the_challenges_of_that_user(
    store: Store, people: People
) -> None:
    await challenged(store, people.alice)
    await challenged(store, people.bob, b"d" * 32)
    await store.revoke_user(people.alice, NOW)
    assert await store.challenge(CHALLENGE, NOW) is None
    assert await store.challenge(b"d" * 32, NOW) is not None


async def test_the_end_of_an_account_ends_its_second_factor_and_nothing_begins_after_it(
    store: Store, people: People
) -> None:
    await confirmed(store, people.alice)
    await challenged(store, people.alice)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert await store.second_factor(people.alice) is None
    assert await store.challenge(CHALLENGE, NOW) is None
    assert not await store.begin_second_factor(people.alice, secret=b"x", key_id="k1")
    await challenged(store, people.alice)
    assert await store.challenge(CHALLENGE, NOW) is None


# Passwords and logins beside it


async def log_in(store: Store, user_id: UUID, minutes: int) -> UUID:
    """Open a login some minutes after NOW and return its family."""
    family_id, at = uuid7(), NOW + timedelta(minutes=minutes)
    await store.open_family(
        family_id=family_id,
        user_id=user_id,
        device_id=uuid7(),
        device_name="",
        address="192.0.2.1",
        token_hash=family_id.bytes * 2,
        at=at,
        expires_at=at + DAY,
    )
    return family_id


async def test_a_new_password_ends_all_logins_of_that_account(store: Store, people: People) -> None:
    family_id, other_id = await log_in(store, people.alice, 0), await log_in(store, people.bob, 0)
    await challenged(store, people.alice)
    assert await store.set_password(people.alice, "hash", NOW) == [family_id]
    [alice] = await store.users_by_ids([people.alice])
    assert alice.password_hash == "hash"
    assert await store.challenge(CHALLENGE, NOW) is None
    assert await store.revoked_since(NOW) == [family_id]
    assert other_id not in await store.revoked_since(NOW)
    await store.begin_erasure(people.alice, deletes_messages=False, at=NOW)
    assert await store.set_password(people.alice, "other", NOW) is None


async def test_the_logins_used_last_are_kept(store: Store, people: People) -> None:
    logins = [await log_in(store, people.alice, minutes) for minutes in range(4)]
    others = await log_in(store, people.bob, 0)
    used = NOW + timedelta(minutes=10)  # the oldest is refreshed
    await store.rotate_refresh_token(
        token_hash=logins[0].bytes * 2,
        successor_hash=b"s" * 32,
        at=used,
        grace_until=NOW,
        expires_at=used + DAY,
        max_age=365 * DAY,
    )
    assert await store.revoke_oldest(people.alice, keep=4, at=used) == []
    assert await store.revoke_oldest(people.alice, keep=2, at=used) == sorted(logins[1:3])
    assert await store.revoke_oldest(people.alice, keep=2, at=used) == []
    assert await store.revoked_since(NOW) == sorted(logins[1:3])
    assert await store.revoke_oldest(people.bob, keep=1, at=used) == []
    assert others not in await store.revoked_since(NOW)
