"""Access tokens that are none, by every door of a real daemon; T59 to T65."""

from __future__ import annotations

import time
from uuid import uuid4

import orjson
import pytest
import trio

from chatd.tokens import MAX_TOKEN_BYTES
from tests.hostile.engine import WEBSOCKET, Engine, open_session
from tests.hostile.forgeries import KEYS, OLD, claims, claims_of, forgeries, raw, signed
from tests.hostile.place import PATIENCE, Place, ask, http, open_http
from tests.scenarios.wire import frame, handshake, open_wire

pytestmark = pytest.mark.usefixtures("bystander")

SETTINGS = {"signing_keys": KEYS}
SAMPLE = signed({"sub": "ann", "exp": 0})


async def test_the_forger_of_these_tests_can_make_a_good_one(place: Place) -> None:
    for token in (
        signed(claims_of(place.ann.token)),
        signed(claims_of(place.ann.token), {"kid": "old"}, key=OLD),
    ):
        assert (await ask(place, "GET", "/auth/me", token=token)).status == 200


@pytest.mark.parametrize("name", forgeries(SAMPLE))
async def test_a_token_that_is_none_is_401_and_4501_and_a_connect_error(
    place: Place, name: str
) -> None:
    token = forgeries(place.ann.token)[name]
    login = orjson.dumps({"event": "auth", "id": 1, "data": {"token": token}})
    answer = await ask(place, "GET", "/auth/me", token=token)
    assert (answer.status, answer.code) == (401, "unauthorized")
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(token)
            assert (await wire.until_closed())[1] == 4501
        async with open_wire(place.port) as wire:
            await wire.upgrade()
            await wire.send(frame(login))
            assert (await wire.until_closed())[1] == 4501
    async with open_session(place) as engine:
        await engine.send("40" + orjson.dumps({"token": token}).decode())
        refusal = orjson.loads((await engine.until("44"))[2:])
        assert refusal["data"]["code"] == "unauthorized"


@pytest.mark.parametrize("token", ["x" * (MAX_TOKEN_BYTES + 1), "a" * 9000 + ".b.c"])
@pytest.mark.threat("T63")
async def test_a_token_beyond_the_bound_is_refused(place: Place, token: str) -> None:
    answer = await ask(place, "GET", "/auth/me", token=token)
    assert answer.status in {401, 431}
    async with open_session(place) as engine:
        await engine.send("40" + orjson.dumps({"token": token}).decode())
        assert orjson.loads((await engine.until("44"))[2:])["data"]["code"] == "unauthorized"


@pytest.mark.threat("T63")
async def test_two_thousand_key_names_cost_no_memory(place: Place) -> None:
    own = claims_of(place.ann.token)
    with place.daemon.grows_at_most(8 * 2**20):
        async with open_http(place) as client:
            for number in range(2_000):
                token = raw(own, {"alg": "HS256", "typ": "at+jwt", "kid": f"key{number}"})
                assert (await client.ask(http("GET", "/auth/me", token=token))).status == 401


@pytest.mark.parametrize("token", [None, 7, [], {}, {"token": 1}, True])
@pytest.mark.threat("T59")
async def test_what_is_no_text_is_no_token(place: Place, token: object) -> None:
    async with open_session(place) as engine:
        await engine.send("40" + orjson.dumps({"token": token}).decode())
        assert orjson.loads((await engine.until("44"))[2:])["data"]["code"] == "unauthorized"
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade()
            await wire.send(frame(orjson.dumps({"event": "auth", "data": {"token": token}})))
            assert (await wire.until_closed())[1] == 4501


@pytest.mark.parametrize("name", ["token", "access_token", "auth", "ticket", "authorization"])
@pytest.mark.threat("T64")
async def test_a_token_in_a_url_is_no_login_and_not_in_the_log(place: Place, name: str) -> None:
    query = f"{name}={place.ann.token}"
    assert (await ask(place, "GET", f"/auth/me?{query}")).status == 401
    assert (await ask(place, "GET", f"/chat/sessions?{query}")).status == 401
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(path=f"/ws?{query}"))
            assert await wire.head() is not None
            await wire.send(frame(b'{"event":"session:list","id":1,"data":{}}'))
            assert (await wire.until_closed())[1] == 4501
        async with open_wire(place.port) as wire:
            await wire.send(handshake(path=f"{WEBSOCKET}&{query}"))
            assert await wire.head() is not None
            await Engine(wire).send("40")
            refusal = orjson.loads((await Engine(wire).until("44"))[2:])
            assert refusal["data"]["code"] == "unauthorized"
    assert place.ann.token not in place.daemon.log()
    assert place.ann.token.split(".")[1] not in place.daemon.log()


@pytest.mark.threat("T65")
async def test_a_token_of_the_previous_key_is_good_to_its_end_and_not_beyond(place: Place) -> None:
    now = int(time.time())
    good = signed(claims(claims_of(place.ann.token), exp=now + 600), {"kid": "old"}, key=OLD)
    assert (await ask(place, "GET", "/auth/me", token=good)).status == 200
    over = signed(claims(claims_of(place.ann.token), exp=now - 1), {"kid": "old"}, key=OLD)
    answer = await ask(place, "GET", "/auth/me", token=over)
    assert (answer.status, answer.code) == (401, "token_expired")


@pytest.mark.threat("T62")
async def test_a_refresh_token_is_no_access_token_and_the_other_way_round(place: Place) -> None:
    body = {"email": f"{uuid4().hex}@example.com", "password": "swordfish-9"}
    made = (await ask(place, "POST", "/auth/register", body)).json
    refused = await ask(place, "GET", "/auth/me", token=made["refreshToken"])
    assert refused.status == 401
    swapped = await ask(place, "POST", "/auth/refresh", {"refreshToken": made["accessToken"]})
    assert swapped.status in {401, 422}
