"""What is not for an account whose address is not verified, and servers without mail."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from chatd.ids import uuid7
from tests.mail.desk import OTHER, Desk, open_desk
from tests.people import open_world
from tests.test_accounts import PASSWORD

pytestmark = pytest.mark.usefixtures("mock_clock")
DAY = 86_400.0


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
        assert await desk.ask_change(access, "right@example.com") == 202
        body = {"password": PASSWORD, "newPassword": OTHER}
        assert (await desk.post("/auth/password", body, access)).status == 200
        assert (await desk.post("/auth/logout", token=access)).status == 200


async def test_a_corrected_address_and_a_reset_verify_as_well(tmp_path: Path) -> None:
    async with open_desk(tmp_path, email_verification="required") as desk:
        tokens = await desk.register("wrong")
        await desk.letters()
        await desk.ask_change(tokens["accessToken"], "anna@example.com")
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
        assert not await desk.is_verified(access)  # chatd itself has not
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
