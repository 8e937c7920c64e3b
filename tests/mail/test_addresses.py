"""Addresses that are verified and changed, and what is not for an account that has not done so."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import StoreUnavailable
from chatd.ids import uuid7
from chatd.store.memory import MemoryStore
from tests.mail.desk import OTHER, URL, Desk, open_desk
from tests.people import open_world
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
DAY = 86_400.0


async def is_verified(desk: Desk, token: str) -> bool:
    answer = await desk.get("/auth/me", token)
    assert answer.status == 200
    verified: bool = answer.json["user"]["emailVerified"]
    return verified


# Verified


@pytest.mark.parametrize("setting", ["optional", "required"])
async def test_who_registers_gets_a_link_that_verifies_the_address_without_a_login(
    tmp_path: Path, setting: str
) -> None:
    async with open_desk(tmp_path, email_verification=setting) as desk:
        tokens = await desk.register()
        assert tokens["user"]["emailVerified"] is False
        letter = await desk.letter("verification")
        assert letter.to == "anna@example.com"
        assert letter.link == f"{URL}/auth/verify#token={letter.token}"
        answer = await desk.post("/auth/email/verify", {"token": letter.token})
        assert (answer.status, answer.json) == (200, {"email": "anna@example.com"})
        assert await is_verified(desk, tokens["accessToken"])
        assert (await desk.acts(UUID(tokens["user"]["id"])))[0] == "email_verified"
        answer = await desk.post("/auth/email/verify", {"token": letter.token})
        assert (answer.status, answer.code) == (401, "unauthorized")


async def test_without_the_setting_nothing_is_sent_until_somebody_asks(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        assert await desk.letters() == []
        answer = await desk.post("/auth/email/verification", token=tokens["accessToken"])
        assert answer.status == 202
        assert await desk.verify((await desk.letter("verification")).token) == 200
        answer = await desk.post("/auth/email/verification", token=tokens["accessToken"])
        assert (answer.status, answer.code) == (409, "conflict")
        assert await desk.letters() == []


async def test_a_link_of_an_address_is_good_for_a_day_and_a_newer_one_ends_it(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_desk(tmp_path) as desk:
        anna = await desk.world.person("anna")
        token, links = desk.world.token(anna), list[str]()
        for _ in range(2):
            assert (await desk.post("/auth/email/verification", token=token)).status == 202
            links.append((await desk.letter("verification")).token)
        assert await desk.verify(links[0]) == 401
        mock_clock.jump(DAY)
        assert await desk.verify(links[1]) == 401
        token = desk.world.token(anna)
        await desk.post("/auth/email/verification", token=token)
        mock_clock.jump(DAY - 0.01)
        assert await desk.verify((await desk.letter("verification")).token) == 200


async def test_a_new_account_is_opened_though_mail_has_no_room(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="optional", mail_queue=1) as desk:
        mailer: Any = desk.world.daemon.services.mailer
        mailer._queue = 0
        tokens = await desk.register()
        assert await desk.letters() == []
        mailer._queue = 1
        answer = await desk.post("/auth/email/verification", token=tokens["accessToken"])
        assert answer.status == 202
        await desk.letter("verification")


async def test_no_link_is_sent_to_an_account_that_ends_before_it_is_written(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_desk(tmp_path, store) as desk:
        anna = await desk.world.person("anna")
        token = desk.world.token(anna)
        store.fail_next("save_mail_token", StoreUnavailable("away"))
        assert (await desk.post("/auth/email/verification", token=token)).status == 202
        await wait_all_tasks_blocked()
        await store.begin_erasure(anna.id, deletes_messages=False, at=desk.world.server.now)
        mock_clock.jump(60)
        assert await desk.letters() == []
        assert store.calls["save_mail_token"] == 2


# Changed


async def ask_change(desk: Desk, token: str, email: str, **body: Any) -> int:
    return (
        await desk.post("/auth/email", {"email": email, "password": PASSWORD} | body, token)
    ).status


async def test_an_address_changes_when_the_link_sent_to_the_new_one_is_used(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        access = tokens["accessToken"]
        assert await ask_change(desk, access, "New@example.com") == 202
        letters = {letter.kind: letter for letter in await desk.letters()}
        assert set(letters) == {"email_change", "email_change_asked"}
        assert letters["email_change"].to == "new@example.com"
        assert letters["email_change_asked"].to == "anna@example.com"
        assert letters["email_change_asked"].link is None
        assert await desk.can_log_in(PASSWORD)
        assert await desk.verify(letters["email_change"].token) == 200
        assert (await desk.letter("email_changed")).to == "anna@example.com"
        assert not await desk.can_log_in(PASSWORD)
        assert await desk.can_log_in(PASSWORD, "new@example.com")
        assert await is_verified(desk, access)
        acts = await desk.acts(UUID(tokens["user"]["id"]))
        assert {"email_changed", "email_change_asked"} <= set(acts)
        await desk.register()  # the old address is free again


async def test_a_reset_ends_the_link_by_which_an_intruder_would_take_the_account(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        await ask_change(desk, tokens["accessToken"], "intruder@example.com")
        link = {letter.kind: letter for letter in await desk.letters()}["email_change"]
        assert await desk.reset(await desk.forgot()) == 200
        assert await desk.verify(link.token) == 401
        assert await desk.can_log_in(OTHER)


async def test_who_asks_for_an_address_that_has_an_account_is_not_told_and_the_address_is(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        await desk.world.person("bert")
        bodies = []
        for email in ("bert@example.com", "free@example.com"):
            body = {"email": email, "password": PASSWORD}
            answer = await desk.post("/auth/email", body, tokens["accessToken"])
            bodies.append((answer.status, answer.body))
        assert bodies[0] == bodies[1]
        told = {(letter.kind, letter.to): letter.link for letter in await desk.letters()}
        assert told[("address_taken", "bert@example.com")] is None
        assert ("email_change", "bert@example.com") not in told


async def test_an_address_that_is_taken_before_its_link_is_used_stays_theirs(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        await ask_change(desk, tokens["accessToken"], "bert@example.com")
        link = {letter.kind: letter for letter in await desk.letters()}["email_change"]
        bert = await desk.world.person("bert")
        answer = await desk.post("/auth/email/verify", {"token": link.token})
        assert (answer.status, answer.code) == (409, "conflict")
        assert await desk.store.user_by_email("bert@example.com") == bert
        assert await desk.can_log_in(PASSWORD)


@pytest.mark.parametrize(
    "email", ["no address", "a@b.example\r\nBcc: c@d.example", "a@b.example\0", "x" * 250 + "@b.de"]
)
async def test_what_is_no_address_is_refused_and_nothing_is_sent(
    tmp_path: Path, email: str
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        assert await ask_change(desk, tokens["accessToken"], email) == 422
        assert (await desk.post("/auth/password/forgot", {"email": email})).status == 422
        assert await desk.letters() == []


async def test_the_own_address_is_no_change(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        assert await ask_change(desk, tokens["accessToken"], "Anna@Example.com") == 409


async def test_nobody_changes_an_account_that_has_ended(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        token = desk.world.server.token(uuid7())
        for path, body in (
            ("/auth/email/verification", {}),
            ("/auth/email", {"email": "a@b.example"}),
            ("/auth/password", {"newPassword": OTHER}),
        ):
            assert (await desk.post(path, body, token)).status == 401


# Required


async def attempt(desk: Desk, token: str, session_id: UUID) -> dict[str, int]:
    """Return what comes of writing and reading by REST."""
    room = f"/chat/sessions/{session_id}"
    return {
        "send": (await desk.post(f"{room}/messages", {"content": "hello"}, token)).status,
        "create": (
            await desk.post("/chat/sessions", {"kind": "GROUP", "name": "tea"}, token)
        ).status,
        "rename": (
            await desk.world.rest("PATCH", "/users/me", {"name": "New"}, token=token)
        ).status,
        "list": (await desk.get("/chat/sessions", token)).status,
        "history": (await desk.get(f"{room}/messages", token)).status,
        "export": (await desk.get("/auth/me", token)).status,
    }


READS = {"list": 200, "history": 200, "export": 200}
NOTHING_WRITTEN = READS | {"send": 403, "create": 403, "rename": 403}
ALL = READS | {"send": 201, "create": 201, "rename": 200}


async def test_who_has_to_verify_reads_and_does_not_write_until_then(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="required") as desk:
        bert = await desk.world.person("bert")
        tokens = await desk.register()
        access = tokens["accessToken"]
        anna = await desk.store.user_by_email("anna@example.com")
        assert anna is not None
        tea = await desk.world.session(bert, anna)
        assert await attempt(desk, access, tea) == NOTHING_WRITTEN
        answer = await desk.post(f"/chat/sessions/{tea}/messages", {"content": "x"}, access)
        assert answer.json["error"]["details"] == {"reason": "email_unverified"}
        assert answer.code == "forbidden"
        async with desk.world.socket(access) as socket:
            await socket.event("connection:ready")
            await socket.ask("session:join", sessionId=str(tea))
            for event, data in (
                ("message:send", {"sessionId": str(tea), "content": "hello"}),
                ("typing:start", {"sessionId": str(tea)}),
                ("status:set", {"status": "BUSY"}),
            ):
                assert await socket.refusal(event, **data) == "forbidden"
            refreshed = await desk.post("/auth/refresh", {"refreshToken": tokens["refreshToken"]})
            assert await attempt(desk, refreshed.json["accessToken"], tea) == NOTHING_WRITTEN
            assert await desk.verify((await desk.letter("verification")).token) == 200
            # The tokens that there are, and the socket that is open, know it at once.
            assert await attempt(desk, access, tea) == ALL
            await socket.ask("message:send", sessionId=str(tea), content="hello")
        desk.world.daemon.services.verified.__init__()  # type: ignore[misc]  # as after a restart
        assert (await attempt(desk, access, tea))["send"] == 403
        successor = {"refreshToken": refreshed.json["refreshToken"]}
        refreshed = await desk.post("/auth/refresh", successor)
        assert await attempt(desk, refreshed.json["accessToken"], tea) == ALL


async def test_who_has_to_verify_still_looks_after_account_and_logins(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="required") as desk:
        access = (await desk.register())["accessToken"]
        await desk.letters()
        assert (await desk.post("/auth/email/verification", token=access)).status == 202
        assert await ask_change(desk, access, "right@example.com") == 202
        body = {"password": PASSWORD, "newPassword": OTHER}
        assert (await desk.post("/auth/password", body, access)).status == 200
        assert (await desk.post("/auth/logout", token=access)).status == 200


async def test_a_corrected_address_and_a_reset_verify_as_well(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="required") as desk:
        tokens = await desk.register("wrong")
        await desk.letters()
        await ask_change(desk, tokens["accessToken"], "anna@example.com")
        link = {letter.kind: letter for letter in await desk.letters()}["email_change"]
        await desk.verify(link.token)
        body = {"kind": "GROUP", "name": "tea"}
        access = tokens["accessToken"]
        assert (await desk.post("/chat/sessions", body, access)).status == 201
        await desk.register("bert")
        await desk.letters()
        await desk.reset(await desk.forgot("bert@example.com"))
        login = {"email": "bert@example.com", "password": OTHER}
        access = (await desk.post("/auth/login", login)).json["accessToken"]
        assert (await desk.post("/chat/sessions", body, access)).status == 201


async def test_who_signs_in_elsewhere_has_verified_there(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="required") as desk:
        services = desk.world.daemon.services
        row = await desk.store.account_of_identity(
            issuer="https://issuer.example.org",
            subject="1",
            email="zoe@example.com",
            name="Zoe",
            user_id=uuid7(),
            at=services.now(),
        )
        assert row.user_id is not None
        [zoe] = await desk.store.users_by_ids([row.user_id])
        login = await desk.log_in(zoe)
        refreshed = await desk.post("/auth/refresh", {"refreshToken": login.refresh_token})
        access = refreshed.json["accessToken"]
        assert not await is_verified(desk, access)  # chatd itself has not
        assert (
            await desk.post("/chat/sessions", {"kind": "GROUP", "name": "tea"}, access)
        ).status == 201


@pytest.mark.parametrize("setting", ["off", "optional"])
async def test_where_it_is_not_required_nobody_has_to_verify(tmp_path: Path, setting: str) -> None:
    async with open_desk(tmp_path, email_verification=setting) as desk:
        access = (await desk.register())["accessToken"]
        assert (
            await desk.post("/chat/sessions", {"kind": "GROUP", "name": "tea"}, access)
        ).status == 201


# Off


async def test_a_server_without_mail_says_so_everywhere(tmp_path: Path) -> None:
    async with open_world(tmp_path, environment="production", signing_keys=()) as world:
        features = (await world.rest("GET", "/config.json")).json
        assert (features["mail"], features["emailVerification"]) == (False, "off")
        token = world.token(await world.person("anna"))
        for path, body in (
            ("/auth/email/verification", {}),
            ("/auth/email/verify", {"token": "x" * 43}),
            ("/auth/email", {"email": "new@example.com", "password": "x"}),
            ("/auth/password/forgot", {"email": "anna@example.com"}),
            ("/auth/password/reset", {"token": "x" * 43, "password": OTHER}),
        ):
            answer = await world.rest("POST", path, body, token=token)
            assert (answer.status, answer.code) == (503, "unavailable")
            assert "smtp_url" in answer.json["error"]["message"]


async def test_a_password_is_changed_without_mail_too(tmp_path: Path) -> None:
    async with open_world(tmp_path, environment="production", signing_keys=()) as world:
        body = {"email": "anna@example.com", "password": PASSWORD}
        tokens = (await world.rest("POST", "/auth/register", body)).json
        change = {"password": PASSWORD, "newPassword": OTHER}
        answer = await world.rest("POST", "/auth/password", change, token=tokens["accessToken"])
        assert answer.status == 200
        answer = await world.rest("POST", "/auth/login", body | {"password": OTHER})
        assert answer.status == 200


async def test_front_ends_are_told_what_is_on(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="optional") as desk:
        features = (await desk.get("/config.json")).json
        assert (features["mail"], features["emailVerification"]) == (True, "optional")
