"""Passwords that are forgotten and changed (T68, T74, T75, T76, T80), on a clock that stands still.

Hashes are made in threads, for which the mock clock waits as long as it is not told to jump.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode, StoreAmbiguous, StoreUnavailable
from chatd.handlers.proof import RECENT
from chatd.store.memory import MemoryStore
from tests.mail.desk import OTHER, URL, Desk, open_desk
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
TTL = 900.0


# Forgotten


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


# Changed


async def change(desk: Desk, token: str, **body: Any) -> tuple[int, str | None]:
    """Change the password; return the status, and the reason of a refusal."""
    answer = await desk.post("/auth/password", {"newPassword": OTHER} | body, token)
    if answer.status == 200:
        return 200, None
    details: dict[str, Any] = answer.json["error"].get("details", {})
    return answer.status, details.get("reason")


async def test_a_change_of_password_ends_the_other_logins_and_not_the_own(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        anna = await desk.store.user_by_email("anna@example.com")
        assert anna is not None
        other = await desk.log_in(anna)
        own_id = desk.world.daemon.services.tokens.verify(
            tokens["accessToken"], desk.world.server.now
        ).family_id
        async with (
            desk.world.connect(anna, own_id) as own,
            desk.world.connect(anna, other.family_id) as stranger,
        ):
            assert await change(desk, tokens["accessToken"], password=PASSWORD) == (200, None)
            assert await stranger.closed() == CloseCode.REVOKED.code
            await own.ask("session:list")
        assert (await desk.get("/auth/me", other.token)).status == 401
        assert (await desk.get("/auth/me", tokens["accessToken"])).status == 200
        refresh = {"refreshToken": other.refresh_token}
        assert (await desk.post("/auth/refresh", refresh)).status == 401
        await desk.letter("password_changed")
        assert not await desk.can_log_in(PASSWORD)
        assert await desk.can_log_in(OTHER)
        assert (await desk.acts(anna.id))[2] == "password_changed"


async def test_a_password_is_changed_though_there_is_no_room_for_the_notice(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        mailer: Any = desk.world.daemon.services.mailer
        mailer._queue = 0
        assert await change(desk, tokens["accessToken"], password=PASSWORD) == (200, None)
        assert await desk.letters() == []
        assert [each["kind"] for each in desk.logs if each["event"] == "no room for a mail"] == [
            "password_changed"
        ]


@pytest.mark.parametrize("password", ["wrong horse", "", None])
async def test_who_does_not_show_the_password_changes_nothing(
    tmp_path: Path, password: str | None
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        body = {} if password is None else {"password": password}
        told = (403, "wrong_password")
        assert await change(desk, tokens["accessToken"], **body) == told
        answer = await desk.post(
            "/auth/email", {"email": "new@example.com"} | body, tokens["accessToken"]
        )
        assert (answer.status, answer.json["error"]["details"]["reason"]) == told
        assert await desk.letters() == []
        assert (await desk.acts(user_id_of(tokens)))[:2] == ["password_refused"] * 2
        assert await desk.can_log_in(PASSWORD)


def user_id_of(tokens: dict[str, Any]) -> UUID:
    return UUID(tokens["user"]["id"])


async def test_the_new_password_is_checked_as_at_the_beginning(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        for new, field in (("password1", "newPassword"), ("anna-anna-1", "newPassword")):
            body = {"password": PASSWORD, "newPassword": new}
            answer = await desk.post("/auth/password", body, tokens["accessToken"])
            assert answer.status == 422
            [wrong] = answer.json["error"]["details"]["fields"]
            assert wrong["field"] == field


async def test_an_account_without_a_password_sets_one_within_5_minutes_of_its_sign_in(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        login = await desk.log_in(anna)
        mock_clock.jump(RECENT + 0.01)
        assert await change(desk, login.token) == (403, "sign_in_again")
        login = await desk.log_in(anna)
        mock_clock.jump(RECENT - 0.01)
        assert await change(desk, login.token) == (200, None)
        assert await change(desk, login.token) == (403, "wrong_password")
        assert await desk.can_log_in(OTHER)


async def test_a_token_without_a_login_proves_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        assert await change(desk, desk.world.token(anna)) == (403, "sign_in_again")


async def test_an_account_without_a_password_ends_within_5_minutes_of_its_sign_in(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        login, body = await desk.log_in(anna), {"messages": "KEEP_ANONYMOUS"}
        mock_clock.jump(RECENT + 0.01)
        answer = await desk.world.rest("DELETE", "/users/me", body, token=login.token)
        assert answer.status == 403
        assert answer.json["error"]["details"] == {"reason": "sign_in_again"}
        login = await desk.log_in(anna)
        answer = await desk.world.rest("DELETE", "/users/me", body, token=login.token)
        assert answer.status == 202
        assert await desk.store.user_by_email("anna@example.com") is None


async def test_proofs_have_one_rate_whatever_they_are_for(tmp_path: Path) -> None:
    async with open_desk(tmp_path, rate_limits="on") as desk:
        tokens = await desk.register()
        token = tokens["accessToken"]
        for _ in range(3):
            assert (await change(desk, token, password="wrong"))[0] == 403
        for _ in range(2):
            body = {"password": "wrong", "messages": "DELETE"}
            answer = await desk.world.rest("DELETE", "/users/me", body, token=token)
            assert answer.status == 403
        email = {"email": "new@example.com", "password": "wrong"}
        assert (await desk.post("/auth/email", email, token)).status == 429
        assert (await change(desk, token, password=PASSWORD))[0] == 429


async def test_two_changes_at_once_are_one(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens, found = await desk.register(), list[int]()

        async def one(password: str) -> None:
            status, _ = await change(
                desk, tokens["accessToken"], password=PASSWORD, newPassword=password
            )
            found.append(status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, OTHER)
            nursery.start_soon(one, OTHER + "!")
        assert sorted(found) in ([200, 409], [200, 403])


@pytest.mark.parametrize("is_committed", [False, True])
async def test_when_nobody_knows_whether_a_password_was_set_every_login_ends(
    tmp_path: Path, is_committed: bool
) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store) as desk:
        anna = await desk.world.person("anna")
        for method in ("reset_password", "change_password"):
            login = await desk.log_in(anna)
            token = await desk.forgot()
            store.fail_next(method, StoreAmbiguous("lost"), is_committed=is_committed)
            async with desk.world.connect(anna, login.family_id) as socket:
                if method == "reset_password":
                    assert await desk.reset(token) == 503
                else:
                    [user] = await store.users_by_ids([anna.id])
                    body = {"password": OTHER} if user.password_hash else {}
                    assert (await change(desk, login.token, **body))[0] == 503
                assert await socket.closed() == CloseCode.REVOKED.code
            assert (await desk.get("/auth/me", login.token)).status == 401
            refresh = {"refreshToken": login.refresh_token}
            assert (await desk.post("/auth/refresh", refresh)).status == 401
        await wait_all_tasks_blocked()
