"""Hostile long-polling on a real daemon, and the upgrade from it; T48 to T52."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest
import trio

from tests.hostile.engine import Engine, asked, bring, fetch, open_session, poll, polled
from tests.hostile.place import PATIENCE, Place, open_http
from tests.scenarios.talker import create_session, register, talking
from tests.scenarios.wire import handshake, open_wire

pytestmark = pytest.mark.usefixtures("bystander")

SETTINGS = {"upgrade_timeout": 1, "body_timeout": 1}  # seconds
QUERY = "EIO=4&transport=polling"
UNKNOWN = {"code": 1, "message": "Session ID unknown"}


def event(name: str, **data: object) -> str:
    return "42" + orjson.dumps([name, data]).decode()


async def test_a_second_get_t48_is_refused_and_ends_the_session(place: Place) -> None:
    sid, ends = await polled(place, place.ann.token), list[int]()

    async def ask() -> None:
        while True:  # somebody may come or go meanwhile: that is an answer, too
            answer = await fetch(place, sid)
            if answer.status != 200 or answer.body in {b"1", b"6"}:
                ends.append(answer.status)
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert sorted(ends) == [200, 400]
    assert await is_over(place, sid)


async def test_a_post_beside_a_post_t48_is_refused_and_ends_the_session(place: Place) -> None:
    sid = await polled(place, place.ann.token)
    async with open_http(place) as first:
        await first.send(poll("POST", f"{QUERY}&sid={sid}", b"3" * 10)[:-9])
        while (second := await bring(place, sid, "3")).status == 200:
            continue  # it came ahead of the other
        assert second.status == 400
        assert (await first.read("POST")).status in {400, 408}
    assert await is_over(place, sid)


@pytest.mark.parametrize("sid", ["A" * 24, "-" * 24, "x", "\u00e9", "'; --"], ids=ascii)
@pytest.mark.threat("T51")
async def test_a_guessed_session_is_unknown(place: Place, sid: str) -> None:
    for answer in (await fetch(place, quote(sid)), await bring(place, quote(sid), "40")):
        assert (answer.status, answer.json) == (400, UNKNOWN)


async def test_a_public_id_t51_opens_no_session(place: Place) -> None:
    async with open_session(place) as engine:
        await engine.send("40" + orjson.dumps({"token": place.ann.token}).decode())
        shown = orjson.loads((await engine.until("40"))[2:])
        for public in (shown["sid"], shown["pid"], place.ann.id):
            assert (await fetch(place, public)).json == UNKNOWN


async def is_over(place: Place, sid: str) -> bool:
    """Fetch what a session still says, its end last, and return whether it is unknown then."""
    while (answer := await fetch(place, sid)).status == 200:
        assert answer.body.endswith(b"1") or answer.body == b"6"
    return bool(answer.json == UNKNOWN)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("\x1e".join(["3"] * 1001), id="T49 1,001 packets"),
        pytest.param("\x1e" * 500_000, id="T49 500,000 empty packets"),
        pytest.param("b" + "!" * 100, id="T49 no base64"),
        pytest.param("2", id="T49 a ping of a client"),
        pytest.param("\x00", id="T49 NUL"),
    ],
)
async def test_a_payload_that_is_none_is_refused_and_ends_the_session(
    place: Place, payload: str
) -> None:
    sid = await polled(place, place.ann.token)
    answer = await bring(place, sid, payload)
    assert answer.status == (200 if payload == "2" else 400)  # a packet, but not a client's
    assert await is_over(place, sid)


async def test_a_payload_above_what_is_taken_t49_is_413_ahead_of_its_body_and_costs_no_session(
    place: Place,
) -> None:
    sid = await polled(place, place.ann.token)
    async with open_http(place) as client:
        await client.send(poll("POST", f"{QUERY}&sid={sid}", b"3\x1e" * 700_000)[:2000])
        assert (await client.read("POST")).status == 413
    assert (await bring(place, sid, "3")).status == 200


async def test_a_body_that_stops_half_way_t48_ends_the_session_in_time(place: Place) -> None:
    sid = await polled(place, place.ann.token)
    async with open_http(place) as client:
        await client.send(poll("POST", f"{QUERY}&sid={sid}", b"3" * 100)[:-50])
        assert (await client.read("POST")).status in {400, 408}
    assert await is_over(place, sid)


def upgrading(sid: str) -> bytes:
    return handshake(path=f"/socket.io/?EIO=4&transport=websocket&sid={sid}")


@pytest.mark.parametrize(
    "first", [[], ["2wrong"], ['42["message:send",{}]']], ids=lambda each: f"T50 {each}"
)  # fmt: skip
async def test_an_upgrade_that_is_none_is_closed_and_polling_lives_on(
    place: Place, first: list[str]
) -> None:
    sid = await polled(place, place.ann.token)
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(upgrading(sid))
            assert await wire.head() is not None
            engine = Engine(wire)
            for packet in first:
                await engine.send(packet)
            await engine.closed()
    assert (await bring(place, sid, "421" + event("session:list")[2:])).status == 200
    said = ""
    while "431[" not in said:
        said += (await fetch(place, sid)).body.decode()


async def test_messages_during_the_upgrade_t50_are_each_heard_once(place: Place) -> None:
    session = await create_session(place.daemon, place.ann)
    sid = await polled(place, place.ann.token)
    await bring(place, sid, "429" + event("session:join", sessionId=session)[2:])
    heard = ""
    while "439[" not in heard:
        heard += (await fetch(place, sid)).body.decode()
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire, talking(place.daemon, place.ann) as ann:
            await wire.send(upgrading(sid))
            assert await wire.head() is not None
            engine = Engine(wire)
            for number in range(10):
                await ann.send(session, f"ahead {number}")
            await engine.send("2probe")
            assert await engine.packet() == "3probe"
            for number in range(10):
                await ann.send(session, f"while {number}")
            heard += (await fetch(place, sid)).body.decode()
            await engine.send("5")
            for number in range(10):
                await ann.send(session, f"behind {number}")
            while "behind 9" not in heard:
                heard += await engine.packet()
    words = [f"{when} {number}" for when in ("ahead", "while", "behind") for number in range(10)]
    assert [heard.count(f'"content":"{each}"') for each in words] == [1] * 30


@pytest.mark.threat("T52")
async def test_a_pid_of_somebody_else_opens_a_session_of_ones_own(place: Place) -> None:
    mallory = await register(place.daemon, "mallory")
    session = await create_session(place.daemon, place.ann)
    async with open_session(place) as theirs:
        await theirs.send("40" + orjson.dumps({"token": place.ann.token}).decode())
        shown = orjson.loads((await theirs.until("40"))[2:])
        offset = orjson.loads((await theirs.until('42["connection:ready"'))[2:])[2]
        await theirs.ask("session:join", {"sessionId": session})
        stolen = {"token": mallory.token, "pid": shown["pid"], "offset": offset}
        async with open_session(place) as engine:
            await engine.send("40" + orjson.dumps(stolen).decode())
            own = orjson.loads((await engine.until("40"))[2:])
            assert own["sid"] != shown["sid"]
            assert own["pid"] != shown["pid"]
            ready = orjson.loads((await engine.until('42["connection:ready"'))[2:])[1]
            assert ready["recovered"] is False
            assert ready["sessions"] == []
        assert (await theirs.ask("session:list", {}))["ok"], "the owner's connection goes on"


async def test_handshakes_that_nobody_follows_up_t48_keep_nobody_out(place: Place) -> None:
    for _ in range(300):
        assert (await asked(place, poll("GET", QUERY))).status == 200
    async with open_session(place, place.ann.token) as engine:
        assert (await engine.ask("session:list", {}))["ok"]
