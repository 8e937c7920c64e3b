"""Passwords that are forgotten (T68, T74, T75, T76, T80), on a clock that stands still.

Hashes are made in threads, for which the mock clock waits as long as it is not told to jump.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import CloseCode, StoreAmbiguous, StoreUnavailable
from chatd.store.memory import MemoryStore
from tests.mail.desk import OTHER, URL, open_desk
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
TTL = 900.0


async def test_a_link_sets_a_password_and_ends_every_login_at_once(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        anna = await desk.store.user_by_email("anna@example.com")
        assert anna is not None
        login = await desk.log_in(anna)
        async with desk.world.connect(anna, login.family_id) as socket:
            letter_token = await desk.forgot("ANNA@example.com")
            assert await desk.reset(letter_token) == 200
            assert await socket.closed() == CloseCode.REVOKED.code
        for access in (tokens["accessToken"], login.token):
            assert (await desk.get("/auth/me", access)).status == 401
        for refresh in (tokens["refreshToken"], login.refresh_token):
            answer = await desk.post("/auth/refresh", {"refreshToken": refresh})
            assert (answer.status, answer.code) == (401, "unauthorized")
        notice = await desk.letter("password_changed")
        assert (notice.to, notice.link) == ("anna@example.com", None)
        assert not await desk.can_log_in(PASSWORD)
        assert await desk.can_log_in(OTHER)
        acts = await desk.acts(anna.id)
        assert acts[2:4] == ["password_reset", "password_reset_asked"]


async def test_the_link_is_a_page_of_the_web_client_with_the_secret_where_no_server_sees_it(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        await desk.post("/auth/password/forgot", {"email": "anna@example.com"})
        letter = await desk.letter("password_reset")
        assert letter.link == f"{URL}/auth/reset#token={letter.token}"
        assert len(letter.token) == 43  # 256 bits


async def test_of_a_link_the_store_has_only_a_hash(tmp_path: Path) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store) as desk:
        await desk.world.person("anna")
        token = await desk.forgot()
        assert token.encode() not in repr(store._mail_tokens).encode()
        assert await desk.reset(token) == 200


async def test_a_used_reset_verifies_the_address(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        await desk.reset(await desk.forgot())
        [user] = await desk.store.users_by_ids([anna.id])
        assert user.email_verified_at is not None


async def test_an_account_of_a_sign_in_elsewhere_gets_a_password_by_mail(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")  # without a password
        assert not await desk.can_log_in(OTHER)
        assert await desk.reset(await desk.forgot()) == 200
        assert await desk.can_log_in(OTHER)


@pytest.mark.threat("T80")
async def test_a_link_is_good_for_15_minutes_and_not_longer(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        token = await desk.forgot()
        mock_clock.jump(TTL)
        assert await desk.reset(token) == 401
        token = await desk.forgot()
        mock_clock.jump(TTL - 0.01)
        assert await desk.reset(token) == 200


@pytest.mark.threat("T80")
async def test_a_link_is_good_once_and_a_newer_one_ends_the_older(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        older, newer = await desk.forgot(), await desk.forgot()
        assert await desk.reset(older) == 401
        assert await desk.reset(newer) == 200
        assert await desk.reset(newer, PASSWORD) == 401
        assert await desk.can_log_in(OTHER)


async def test_of_two_who_use_a_link_at_once_one_sets_the_password(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        token, found = await desk.forgot(), dict[str, int]()

        async def use(password: str) -> None:
            found[password] = await desk.reset(token, password)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(use, PASSWORD)
            nursery.start_soon(use, OTHER)
        assert sorted(found.values()) == [200, 401]
        for password, status in found.items():
            assert await desk.can_log_in(password) == (status == 200)


@pytest.mark.parametrize("token", ["", "x" * 43, "x" * 42, "x" * 44, "x" * 42 + "/", None, 7])
async def test_a_made_up_link_is_refused_before_any_hash_is_made(
    tmp_path: Path, token: Any
) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        await desk.forgot()
        desk.world.daemon.services.passwords._limiter.total_tokens = 1
        desk.world.daemon.services.passwords._queue = -1  # a hash would be overloaded
        for path in ("/auth/password/reset", "/auth/email/verify"):
            body = {"token": token} | ({"password": OTHER} if "reset" in path else {})
            answer = await desk.post(path, body)
            is_shaped = token == "x" * 43
            assert answer.status == (401 if is_shaped else 422)


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("password1", "frequent"),
        ("anna-anna-anna", "little more"),
        ("chatd-anna-1", "little more"),
        ("short", "at least 8"),
        ("x" * 257, "at most 256"),
    ],
)
async def test_a_password_that_is_not_good_is_refused_and_the_link_stays_good(
    tmp_path: Path, password: str, words: str
) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        token = await desk.forgot()
        answer = await desk.post("/auth/password/reset", {"token": token, "password": password})
        assert (answer.status, answer.code) == (422, "validation_failed")
        [wrong] = answer.json["error"]["details"]["fields"]
        assert wrong["field"] == "password"
        assert words in wrong["message"]
        assert password.encode() not in answer.body
        body = {"email": "anna2@example.com", "password": password.replace("anna", "anna2")}
        assert (await desk.post("/auth/register", body)).status == 422
        assert await desk.reset(token) == 200


async def test_a_link_for_an_address_sets_no_password_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        login = await desk.log_in(anna)
        await desk.post("/auth/email/verification", token=login.token)
        verify = (await desk.letter("verification")).token
        reset = await desk.forgot()
        assert await desk.reset(verify) == 401
        assert await desk.verify(reset) == 401
        assert await desk.verify(verify) == 200
        assert await desk.reset(reset) == 200


# Nobody learns who has an account


@pytest.mark.threat("T76")
async def test_a_forgotten_password_is_answered_the_same_for_a_known_and_an_unknown_address(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        await desk.world.person("anna")
        answers = [
            await desk.post("/auth/password/forgot", {"email": f"{name}@example.com"})
            for name in ("anna", "nobody")
        ]
        known, unknown = [
            (answer.status, answer.body, sorted(set(answer.headers) - {"x-request-id", "date"}))
            for answer in answers
        ]
        assert known == unknown
        assert [letter.to for letter in await desk.letters()] == ["anna@example.com"]


async def test_a_forgotten_password_is_answered_before_anything_is_looked_up(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store) as desk:
        await desk.world.person("anna")
        store.latency = 60  # and the clock stands still
        for name in ("anna", "nobody"):
            answer = await desk.post("/auth/password/forgot", {"email": f"{name}@example.com"})
            assert answer.status == 202
        assert await desk.letters() == []
        store.latency = 0
        mock_clock.jump(60)
        await desk.letter("password_reset")


async def test_mails_to_one_address_have_a_rate_whether_it_is_known_or_not(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_desk(tmp_path, rate_limits="on", mail_rate="6/h burst 2") as desk:
        await desk.world.person("anna")
        for name in ("anna", "nobody"):
            body = {"email": f"{name}@example.com"}
            for _ in range(2):
                assert (await desk.post("/auth/password/forgot", body)).status == 202
            answer = await desk.post("/auth/password/forgot", body)
            assert (answer.status, answer.code) == (429, "rate_limited")
            assert answer.headers["retry-after"] == "600"
        assert len(await desk.letters()) == 2
        mock_clock.jump(600)
        assert (await desk.post("/auth/password/forgot", body)).status == 202


@pytest.mark.threat("T80")
async def test_guessing_links_has_a_rate(tmp_path: Path) -> None:
    async with open_desk(tmp_path, rate_limits="on") as desk:
        for path in ("/auth/password/reset", "/auth/email/verify"):
            found = [(await desk.post(path, {"token": "x" * 43})).status for _ in range(21)]
            assert found[-1] == 429
            assert 429 not in found[:-1]


async def test_where_mail_has_no_room_known_and_unknown_addresses_are_refused_alike(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store, mail_queue=1) as desk:
        await desk.world.person("anna")
        store.latency = 60
        assert (await desk.post("/auth/password/forgot", {"email": "a@b.example"})).status == 202
        for name in ("anna", "nobody"):
            answer = await desk.post("/auth/password/forgot", {"email": f"{name}@example.com"})
            assert (answer.status, answer.code) == (503, "overloaded")
        store.latency = 0


async def test_a_letter_waits_for_a_store_that_is_away(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store) as desk:
        await desk.world.person("anna")
        store.fail_next("user_by_email", StoreUnavailable("away"))
        store.fail_next("save_mail_token", StoreAmbiguous("lost"))
        await desk.post("/auth/password/forgot", {"email": "anna@example.com"})
        for _ in range(2):
            assert await desk.letters() == []
            mock_clock.jump(30)
        assert await desk.reset((await desk.letter("password_reset")).token) == 200
