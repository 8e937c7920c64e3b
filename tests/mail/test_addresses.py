"""Addresses that are verified, and changed, by links."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import StoreUnavailable
from chatd.ids import uuid7
from chatd.store.memory import MemoryStore
from tests.mail.desk import OTHER, URL, open_desk
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
DAY = 86_400.0


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
        assert await desk.is_verified(tokens["accessToken"])
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


async def test_an_address_changes_when_the_link_sent_to_the_new_one_is_used(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        access = tokens["accessToken"]
        assert await desk.ask_change(access, "New@example.com") == 202
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
        assert await desk.is_verified(access)
        acts = await desk.acts(UUID(tokens["user"]["id"]))
        assert {"email_changed", "email_change_asked"} <= set(acts)
        await desk.register()  # the old address is free again


async def test_a_reset_ends_the_link_by_which_an_intruder_would_take_the_account(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        await desk.ask_change(tokens["accessToken"], "intruder@example.com")
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
        await desk.ask_change(tokens["accessToken"], "bert@example.com")
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
        assert await desk.ask_change(tokens["accessToken"], email) == 422
        assert (await desk.post("/auth/password/forgot", {"email": email})).status == 422
        assert await desk.letters() == []


async def test_the_own_address_is_no_change(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        tokens = await desk.register()
        assert await desk.ask_change(tokens["accessToken"], "Anna@Example.com") == 409


async def test_nobody_changes_an_account_that_has_ended(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        token = desk.world.server.token(uuid7())
        for path, body in (
            ("/auth/email/verification", {}),
            ("/auth/email", {"email": "a@b.example"}),
            ("/auth/password", {"newPassword": OTHER}),
        ):
            assert (await desk.post(path, body, token)).status == 401
