"""The twins tell the same story of passwords, second factors, challenges, API tokens and bots."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.contract.api_tokens import ApiTokenRow
from chatd.contract.second_factor import SealedRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from tests.store.kit import DAY, NOW
from tests.store.test_twins import (
    CLEAN,
    UNLOCK,
    Step,
    furnish,
    outcome,
    some,
    step,
    times,
    tokens,
    users,
)

steps_of_time = st.integers(0, 5)
secrets = st.sampled_from([b"one", b"two"])
keys = st.sampled_from(["k1", "k2"])
code_lists = st.lists(tokens, max_size=3, unique=True)
limits = st.integers(1, 3)
token_ids = st.integers(0, 4).map(lambda n: some("to", n))
bots = st.integers(0, 2).map(lambda n: UUID(int=some("bo", n).int & ~(0xF << 76) | (8 << 76)))
everybody = users | bots


def token_row(number: int, user_id: UUID, at: datetime, expires_at: datetime | None) -> ApiTokenRow:
    return ApiTokenRow(some("to", number), user_id, "ci", ("read",), at, expires_at, None)


stories = st.one_of(
    step("second_factor", users),
    step("begin_second_factor", users, secret=secrets, key_id=keys),
    step(
        "confirm_second_factor",
        users,
        secret=secrets,
        step=steps_of_time,
        code_hashes=code_lists,
        at=times,
    ),
    step("spend_step", users, steps_of_time),
    step("spend_recovery_code", users, tokens),
    step("replace_recovery_codes", users, code_lists),
    step("remove_second_factor", users),
    step("sealed_otherwise", keys, limits),
    step("reseal", st.builds(SealedRow, users, secrets, keys), secret=secrets, key_id=keys),
    step(
        "open_challenge",
        challenge_hash=st.binary(min_size=8, max_size=8),
        user_id=users,
        device_id=st.none() | users,
        password_mark=st.just(b"mark"),
        at=times,
        expires_at=times,
    ),
    step(
        "open_challenge",
        challenge_hash=tokens,
        user_id=users,
        device_id=st.none(),
        password_mark=st.just(b"mark"),
        at=times,
        expires_at=st.just(NOW + DAY),
    ),
    step("challenge", tokens, times),
    step("try_challenge", tokens, limits),
    step("end_challenge", tokens),
    step(
        "insert_api_token",
        st.builds(token_row, st.integers(0, 4), everybody, times, st.none() | times),
        tokens,
        limit=limits,
    ),
    step("use_api_token", tokens, times, used_before=times),
    step("api_tokens", everybody),
    step("revoke_api_token", token_ids, everybody),
    step(
        "insert_bot",
        user_id=bots,
        owner_id=st.none() | users,
        name=st.just("Bot"),
        created_at=times,
        limit=limits,
    ),
    step("bots_of", users),
    step("find_users", st.sampled_from(["", "bot"]), after=st.none(), limit=st.just(10)),
    step("set_password", users, st.just("hash"), times),
    step("users_by_ids", st.lists(everybody, max_size=1)),
    step("revoke_user", users, times),
    step("revoked_since", times),
    step("begin_erasure", everybody, deletes_messages=st.just(False), at=times),
    step(
        "open_family",
        family_id=st.integers(0, 3).map(lambda n: some("fa", n)),
        user_id=users,
        device_id=st.integers(0, 2).map(lambda n: some("de", n)),
        device_name=st.just("phone"),
        address=st.just("192.0.2.1"),
        token_hash=tokens,
        at=times,
        expires_at=times,
    ),
    step("revoke_oldest", users, keep=limits, at=times),
)


@settings(
    max_examples=60,
    deadline=None,  # PostgreSQL's time is not ours
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(stories, min_size=5, max_size=40))
async def test_both_stores_tell_the_same_story_of_credentials(
    database_url: str, story: list[Step]
) -> None:
    memory = MemoryStore(epoch=uuid4())
    with trio.fail_after(20):
        async with open_pool(database_url, size=1) as pool:
            await pool.transact(lambda each: each.script(UNLOCK))
            await pool.fetch(CLEAN)
            postgres = PostgresStore(pool)
            for store in (memory, postgres):
                await furnish(store)
            for call in story:
                assert await outcome(postgres, call) == await outcome(memory, call), call
