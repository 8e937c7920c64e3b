"""Passwords that are changed (T68, T75), and proofs of who one is, on a clock that stands still.

Hashes are made in threads, for which the mock clock waits as long as it is not told to jump.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode, StoreAmbiguous
from chatd.handlers.proof import RECENT
from chatd.store.memory import MemoryStore
from tests.mail.desk import OTHER, Desk, open_desk
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
TTL = 900.0


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


async def test_a_change_of_password_leaves_api_tokens_and_their_sockets(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        own = (await desk.register())["accessToken"]
        body = {"name": "ci", "scopes": ["read"]}
        token: str = (await desk.post("/auth/tokens", body, own)).json["token"]
        async with desk.world.socket(token) as socket:
            await socket.event("connection:ready")
            assert await change(desk, own, password=PASSWORD) == (200, None)
            await socket.ask("session:list")
            assert (await desk.get("/auth/me", token)).status == 200
            await desk.letter("password_changed")
            assert await desk.reset(await desk.forgot(), PASSWORD) == 200
            assert await socket.closed() == CloseCode.REVOKED.code
        assert (await desk.get("/auth/me", token)).status == 401


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


@pytest.mark.threat("T75")
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


async def test_a_wrong_proof_delays_the_next_one_whatever_it_is_for(tmp_path: Path) -> None:
    async with open_desk(tmp_path, rate_limits="on") as desk:
        tokens = await desk.register()
        token = tokens["accessToken"]
        assert (await change(desk, token, password="wrong"))[0] == 403
        body = {"password": PASSWORD, "messages": "DELETE"}
        refused = await desk.world.rest("DELETE", "/users/me", body, token=token)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        email = {"email": "new@example.com", "password": PASSWORD}
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
