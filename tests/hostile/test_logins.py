"""Stolen, repeated, guessed and outlived logins on a real daemon; T66 to T71, T79, T82."""

from __future__ import annotations

from uuid import uuid4

import orjson
import pytest
import trio

from chatd.client import ClientError
from tests.hostile.engine import open_session
from tests.hostile.place import PATIENCE, SOON, Place, ask
from tests.scenarios.talker import Json, Person, create_session, register, rest, talking
from tests.scenarios.wire import open_wire

pytestmark = pytest.mark.usefixtures("bystander")

PASSWORD = "swordfish-9"
REVOKED = 4403


async def new_login(place: Place, mail: str | None = None) -> Json:
    """Open an account, or log in to one that there is."""
    body = {"email": mail or f"{uuid4().hex}@example.com", "password": PASSWORD}
    answer = await ask(place, "POST", "/auth/login" if mail else "/auth/register", body)
    assert answer.status in {200, 201}
    login: Json = answer.json
    return login | {"email": body["email"]}


async def refresh(place: Place, token: str) -> Json | None:
    answer = await ask(place, "POST", "/auth/refresh", {"refreshToken": token})
    if answer.status == 200:
        fresh: Json = answer.json
        return fresh
    assert (answer.status, answer.code) == (401, "unauthorized")
    return None


async def is_cut(place: Place, access_token: str, *, code: int = REVOKED) -> None:
    """Check that a new socket of this token is closed at once."""
    async with open_wire(place.port) as wire:
        await wire.upgrade(access_token)
        assert (await wire.until_closed())[1] == code


@pytest.mark.threat("T66", "T71")
async def test_a_stolen_refresh_token_ends_the_whole_login_its_sockets_and_is_written_down(
    place: Place,
) -> None:
    login = await new_login(place)
    other = await new_login(place, login["email"])
    person = Person(login["user"]["id"], "x", login["accessToken"])
    with trio.fail_after(PATIENCE):
        async with (
            talking(place.daemon, person) as plain,
            open_session(place, login["accessToken"]) as engine,
        ):
            second = await refresh(place, login["refreshToken"])
            assert second is not None
            repeated = await refresh(place, login["refreshToken"])  # a lost reply, or a thief
            assert repeated is not None
            assert repeated["refreshToken"] == second["refreshToken"]
            third = await refresh(place, second["refreshToken"])
            assert third is not None
            assert await refresh(place, login["refreshToken"]) is None  # theft
            with trio.fail_after(SOON):
                await plain.until(lambda: plain.is_lost)
                assert plain.close_code == REVOKED
                assert await engine.closed() == REVOKED
    for token in (login, second, third):
        assert await refresh(place, token["refreshToken"]) is None
        assert (await ask(place, "GET", "/auth/me", token=token["accessToken"])).status == 401
        await is_cut(place, token["accessToken"])
    audit = await ask(place, "GET", "/users/me/audit", token=other["accessToken"])
    assert "refresh_token_reused" in [each["action"] for each in audit.json["entries"]]
    assert await refresh(place, other["refreshToken"]) is not None, "another device goes on"


@pytest.mark.threat("T67")
async def test_two_tabs_that_refresh_at_once_get_the_same_successor(place: Place) -> None:
    login = await new_login(place)
    found: list[Json | None] = []

    async def tab() -> None:
        found.append(await refresh(place, login["refreshToken"]))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(tab)
    assert len({each["refreshToken"] for each in found if each}) == 1
    assert None not in found
    assert (await ask(place, "GET", "/auth/me", token=login["accessToken"])).status == 200


@pytest.mark.parametrize("end", ["logout", "logout-all", "device", "erase"])
@pytest.mark.threat("T68", "T70")
async def test_what_has_ended_gives_no_tokens_and_its_sockets_are_cut(
    place: Place, end: str
) -> None:
    login = await new_login(place)
    token = login["accessToken"]
    ends = {
        "logout": ("POST", "/auth/logout", None),
        "logout-all": ("POST", "/auth/logout-all", None),
        "device": ("DELETE", f"/auth/devices/{login['deviceId']}", None),
        "erase": ("DELETE", "/users/me", {"password": PASSWORD, "messages": "DELETE"}),
    }
    with trio.fail_after(PATIENCE):
        async with (
            talking(place.daemon, Person("", "x", token)) as plain,
            open_session(place, token) as engine,
        ):
            answer = await ask(place, *ends[end], token=token)
            assert answer.status in {200, 202, 204}
            with trio.fail_after(SOON):
                await plain.until(lambda: plain.is_lost)
                assert plain.close_code == REVOKED
                assert await engine.closed() == REVOKED
    assert await refresh(place, login["refreshToken"]) is None
    assert (await ask(place, "GET", "/auth/me", token=token)).status == 401
    await is_cut(place, token)


@pytest.mark.parametrize(
    "token",
    ["", "x", "x" * 43, "A" * 43, "\u00e9" * 43, "' OR 1=1 --", "x" * 128, "x" * 129, "x" * 10**5],
    ids=lambda token: f"{token[:12]!a} of {len(token)}",
)  # fmt: skip
@pytest.mark.threat("T69")
async def test_a_guessed_refresh_token_is_401(place: Place, token: str) -> None:
    answer = await ask(place, "POST", "/auth/refresh", {"refreshToken": token})
    assert answer.status == (422 if len(token) > 128 else 401)


@pytest.mark.parametrize("mail", ["ANN@EXAMPLE.com", "nobody@example.com", "'or'1=1@example.com"])
@pytest.mark.threat("T76")
async def test_an_unknown_address_and_a_wrong_password_answer_the_same(
    place: Place, mail: str
) -> None:
    login = await new_login(place)
    answers = []
    for address, password in ((login["email"], "wrong password"), (mail, PASSWORD)):
        body = {"email": address, "password": password}
        answer = await ask(place, "POST", "/auth/login", body)
        error = answer.json["error"]
        error.pop("requestId")
        headers = {name: answer.headers[name] for name in answer.headers if name not in OWN}
        answers.append((answer.status, error, headers))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


OWN = {"date", "x-request-id"}


@pytest.mark.threat("T79")
async def test_each_login_is_a_new_one_that_can_be_seen_and_ended(place: Place) -> None:
    first = await new_login(place)
    second = await new_login(place, first["email"])
    for name in ("accessToken", "refreshToken", "deviceId"):
        assert first[name] != second[name]
    seen = await ask(place, "GET", "/auth/devices", token=second["accessToken"])
    devices = {each["id"]: each["isCurrent"] for each in seen.json["devices"]}
    assert devices == {first["deviceId"]: False, second["deviceId"]: True}


@pytest.mark.parametrize("how", ["removed", "banned"])
@pytest.mark.threat("T82")
async def test_who_is_out_hears_nothing_more_and_does_not_come_back_by_any_door(
    place: Place, how: str
) -> None:
    ben = await register(place.daemon, "ben")
    session = await create_session(place.daemon, place.ann, ben)
    path = f"/chat/sessions/{session}"
    with trio.fail_after(PATIENCE):
        async with (
            talking(place.daemon, ben) as plain,
            talking(place.daemon, place.ann) as ann,
            open_session(place, ben.token) as engine,
        ):
            joined = await plain.join(session)
            assert (await engine.ask("session:join", {"sessionId": session}))["ok"]
            await ann.send(session, "ahead")
            await plain.until(lambda: len(plain.messages(session)) == 1)
            if how == "removed":
                await rest_of(place, "DELETE", f"{path}/members?userId={ben.id}")
            else:
                await rest(
                    place.daemon, "POST", f"{path}/bans", place.ann.token, {"userId": ben.id}
                )
            await ann.send(session, "a secret")
            for event in ("message:history", "session:get", "message:pins"):
                with pytest.raises(ClientError) as refusal:
                    await plain.ask(event, sessionId=session)
                assert refusal.value.code == "not_a_member"
            since = {"epoch": joined["epoch"], "seq": joined["seq"]}
            with pytest.raises(ClientError) as refusal:
                await plain.join(session, since=since)
            assert refusal.value.code == "not_a_member"
            again = await engine.ask("session:join", {"sessionId": session, "since": since})
            assert again["error"]["code"] == "not_a_member"
            assert [each["content"] for each in plain.messages(session)] == ["ahead"]
            removed = [push.data for push in plain.pushes if push.name == "session:removed"]
            assert [each["sessionId"] for each in removed] == [session]


async def rest_of(place: Place, method: str, path: str) -> None:
    answer = await ask(place, method, path, token=place.ann.token)
    assert answer.status == 200


@pytest.mark.threat("T82")
async def test_who_is_banned_while_away_is_told_at_the_recovery_and_gets_nothing_of_it(
    place: Place,
) -> None:
    ben = await register(place.daemon, "ben")
    session = await create_session(place.daemon, place.ann, ben)
    async with open_session(place) as engine:
        await engine.send("40" + orjson.dumps({"token": ben.token}).decode())
        pid = orjson.loads((await engine.until("40"))[2:])["pid"]
        offset = orjson.loads((await engine.until('42["connection:ready"'))[2:])[2]
        assert (await engine.ask("session:join", {"sessionId": session}))["ok"]
    ban = {"userId": ben.id}
    path = f"/chat/sessions/{session}"
    await rest(place.daemon, "POST", f"{path}/bans", place.ann.token, ban)
    await rest(place.daemon, "POST", f"{path}/messages", place.ann.token, {"content": "a secret"})
    async with open_session(place) as engine:
        back = {"token": ben.token, "pid": pid, "offset": offset}
        await engine.send("40" + orjson.dumps(back).decode())
        said = ""
        while "connection:ready" not in said:
            said += await engine.packet()
        said += await engine.until('42["session:removed"') if "session:removed" not in said else ""
        assert "a secret" not in said
        again = await engine.ask("session:join", {"sessionId": session})
        assert again["error"]["code"] == "not_a_member"
