"""Accounts: register, log in, rotate, log out (protocol.md section 2)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import CloseCode
from chatd.events.accounts import Me, Tokens
from chatd.ids import uuid7
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from chatd.tokens import hash_token, new_refresh_token
from tests.http_kit import Answer
from tests.people import World, open_world

PASSWORD = "correct horse battery"
GRACE = 60.0


async def open_login(world: World, user: UserRow) -> tuple[UUID, str]:
    """Return a new login and its refresh token, without a password."""
    family_id, token, now = uuid7(), new_refresh_token(), world.daemon.services.now()
    ttl = world.daemon.settings.refresh_token_ttl
    await world.store.open_family(
        family_id=family_id,
        user_id=user.id,
        device_id=uuid7(),
        device_name="test",
        address="192.0.2.1",
        token_hash=hash_token(token),
        at=now,
        expires_at=now + timedelta(seconds=ttl),
    )
    return family_id, token


async def refresh(world: World, token: str) -> Answer:
    return await world.rest("POST", "/auth/refresh", {"refreshToken": token})


async def renewed(world: World, token: str) -> Tokens:
    """Exchange a refresh token that must be good."""
    answer = await refresh(world, token)
    assert answer.status == 200, answer.body
    return Tokens.model_validate(answer.json)


async def me(world: World, token: str) -> int:
    return (await world.rest("GET", "/auth/me", token=token)).status


# With a password: bcrypt runs in threads, so the clock is the real one


async def test_who_registers_is_logged_in_and_can_log_in_again(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_world(tmp_path) as world:
            account = {"email": "Anna@Example.com", "password": PASSWORD}
            answer = await world.rest("POST", "/auth/register", account)
            assert answer.status == 201
            first = Tokens.model_validate(answer.json)
            assert (first.user.email, first.user.name) == ("anna@example.com", "anna")
            account["email"] = "ANNA@example.com"
            answer = await world.rest("POST", "/auth/login", account)
            assert answer.status == 200
            second = Tokens.model_validate(answer.json)
            assert second.user == first.user
            assert second.device_id != first.device_id
            for tokens in (first, second):
                shown = await world.rest("GET", "/auth/me", token=tokens.access_token)
                assert Me.model_validate(shown.json).user == first.user
                assert (await refresh(world, tokens.refresh_token)).status == 200


async def test_an_address_has_one_account_however_it_is_written(tmp_path: Path) -> None:
    with trio.fail_after(10):
        async with open_world(tmp_path) as world:
            await world.person("anna")
            account = {"email": "ANNA@Example.com", "password": PASSWORD, "name": "Other"}
            answer = await world.rest("POST", "/auth/register", account)
            assert (answer.status, answer.code) == (409, "conflict")


@pytest.mark.threat("T76")
async def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(
    tmp_path: Path,
) -> None:
    with trio.fail_after(10):
        async with open_world(tmp_path) as world:
            account = {"email": "anna@example.com", "password": PASSWORD}
            assert (await world.rest("POST", "/auth/register", account)).status == 201
            await world.person("without")  # an account that has no password
            bodies = []
            for email in ("anna@example.com", "nobody@example.com", "without@example.com"):
                wrong = {"email": email, "password": "wrong horse battery"}
                answer = await world.rest("POST", "/auth/login", wrong)
                assert (answer.status, answer.code) == (401, "unauthorized")
                bodies.append(answer.json["error"] | {"requestId": ""})
            assert bodies[0] == bodies[1] == bodies[2]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"email": "no address"}, "email"),
        ({"name": " "}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"isAdmin": True}, "isAdmin"),
    ],
)
async def test_an_account_that_may_not_be_is_refused_by_field_and_without_its_password(
    tmp_path: Path, autojump_clock: MockClock, change: dict[str, Any], field: str
) -> None:
    async with open_world(tmp_path) as world:
        account = {"email": "anna@example.com", "password": PASSWORD} | change
        answer = await world.rest("POST", "/auth/register", account)
        assert (answer.status, answer.code) == (422, "validation_failed")
        [wrong] = answer.json["error"]["details"]["fields"]
        assert wrong["field"] == field
        assert account["password"].encode() not in answer.body


async def test_logins_of_an_address_have_a_rate(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        for _ in range(20):
            assert (await world.rest("POST", "/auth/login", {})).status == 422
        answer = await world.rest("POST", "/auth/login", {})
        assert (answer.status, answer.code) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "6"
        await trio.sleep(6)
        assert (await world.rest("POST", "/auth/login", {})).status == 422


# Rotation


async def test_a_refresh_token_is_exchanged_and_its_successor_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        family_id, token = await open_login(world, anna)
        for _ in range(3):
            tokens = await renewed(world, token)
            assert tokens.user.id == anna.id
            services = world.daemon.services
            identity = services.tokens.verify(tokens.access_token, services.now())
            assert identity.family_id == family_id
            assert tokens.refresh_token != token
            token = tokens.refresh_token


@pytest.mark.threat("T71")
async def test_a_used_token_gives_the_same_successor_until_the_grace_ends(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        family_id, token = await open_login(world, anna)
        first = await renewed(world, token)
        await trio.sleep(GRACE)
        assert (await renewed(world, token)).refresh_token == first.refresh_token
        await trio.sleep(0.1)
        assert (await refresh(world, token)).code == "unauthorized"
        assert world.daemon.live.sockets.is_revoked(family_id)


@pytest.mark.threat("T66")
async def test_a_token_used_after_its_successor_is_theft_and_ends_the_whole_login(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        family_id, stolen = await open_login(world, anna)
        other_family, _ = await open_login(world, anna)
        first = await renewed(world, stolen)
        second = await renewed(world, first.refresh_token)
        async with (
            world.connect(anna, family_id) as socket,
            world.connect(anna, other_family) as other,
        ):
            answer = await refresh(world, stolen)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert await socket.closed() == CloseCode.REVOKED.code
            await other.ask("session:list")
        [(user_id, entry)] = store.audit
        assert (user_id, entry.action) == (anna.id, "refresh_token_reused")
        assert entry.address == "192.0.2.1"
        assert (await refresh(world, second.refresh_token)).status == 401
        assert await me(world, second.access_token) == 401
        assert await me(world, world.token(anna, other_family)) == 200


@pytest.mark.parametrize("token", ["", "unknown", "x" * 129])
@pytest.mark.threat("T69")
async def test_what_is_no_refresh_token_is_refused(
    tmp_path: Path, autojump_clock: MockClock, token: str
) -> None:
    async with open_world(tmp_path) as world:
        answer = await refresh(world, token)
        assert answer.status == (422 if len(token) > 128 else 401)


@pytest.mark.threat("T68")
async def test_a_device_that_was_away_for_too_long_logs_in_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, refresh_token_ttl=100) as world:
        _, token = await open_login(world, await world.person("anna"))
        await trio.sleep(99)
        token = (await renewed(world, token)).refresh_token
        await trio.sleep(100)
        assert (await refresh(world, token)).code == "unauthorized"


async def test_a_login_ends_when_it_is_too_old_though_it_is_used(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, refresh_token_ttl=100, login_max_age=250) as world:
        _, token = await open_login(world, await world.person("anna"))
        for _ in range(4):
            await trio.sleep(60)
            token = (await renewed(world, token)).refresh_token
        await trio.sleep(10)
        assert (await refresh(world, token)).code == "unauthorized"


async def test_an_account_that_is_gone_gets_no_tokens_and_is_not_shown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        _, token = await open_login(world, anna)
        del store._users[anna.id]
        assert (await refresh(world, token)).code == "unauthorized"
        assert await me(world, world.token(anna)) == 401


# The end of a login


async def test_a_logout_ends_this_login_and_no_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        family_id, token = await open_login(world, anna)
        other_family, other_token = await open_login(world, anna)
        access = world.token(anna, family_id)
        async with (
            world.connect(anna, family_id) as socket,
            world.connect(anna, other_family) as other,
        ):
            assert (await world.rest("POST", "/auth/logout", token=access)).status == 200
            assert await socket.closed() == CloseCode.REVOKED.code
            await other.ask("session:list")
        assert await me(world, access) == 401
        assert (await refresh(world, token)).status == 401
        assert (await refresh(world, other_token)).status == 200


async def test_a_logout_everywhere_ends_every_login_of_the_user_and_of_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        logins = [await open_login(world, anna) for _ in range(2)]
        _, bert_token = await open_login(world, bert)
        access = world.token(anna, logins[0][0])
        async with world.connect(anna, logins[1][0]) as socket, world.connect(bert) as other:
            assert (await world.rest("POST", "/auth/logout-all", token=access)).status == 200
            assert await socket.closed() == CloseCode.REVOKED.code
            await other.ask("session:list")
        assert [(await refresh(world, token)).status for _, token in logins] == [401, 401]
        assert (await refresh(world, bert_token)).status == 200


async def test_a_logout_is_remembered_by_the_next_daemon(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        family_id, _ = await open_login(world, anna)
        access = world.token(anna, family_id)
        assert (await world.rest("POST", "/auth/logout", token=access)).status == 200
    async with open_world(tmp_path, store) as world:
        assert await me(world, access) == 401
        assert await me(world, world.token(anna)) == 200
        async with world.socket(access) as socket:
            assert await socket.closed() == CloseCode.REVOKED.code


async def test_a_revocation_is_forgotten_when_the_last_access_token_has_expired(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        sockets = world.daemon.live.sockets
        old, new = uuid7(), uuid7()
        sockets.cut_families([old], CloseCode.REVOKED)
        await trio.sleep(899)
        sockets.cut_families([], CloseCode.REVOKED)
        assert sockets.is_revoked(old)
        await trio.sleep(1)
        sockets.cut_families([new], CloseCode.REVOKED)
        assert not sockets.is_revoked(old)
        assert sockets.is_revoked(new)


@pytest.mark.parametrize(
    "header",
    ["", "Authorization: Basic YTpi", "Authorization: Bearer", "Authorization: Bearer x.y.z"],
)
async def test_without_a_good_token_nobody_is_shown_anything(
    tmp_path: Path, autojump_clock: MockClock, header: str
) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.rest("GET", "/auth/me", headers=[header] if header else [])
        assert (answer.status, answer.code) == (401, "unauthorized")


async def test_an_expired_access_token_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        await trio.sleep(899)
        assert await me(world, token) == 200
        await trio.sleep(1)
        answer = await world.rest("GET", "/auth/me", token=token)
        assert (answer.status, answer.code) == (401, "token_expired")
        assert answer.json["error"]["retryable"]
