"""Hostile Socket.IO and Engine.IO on a real daemon: packets, pings, namespaces; T42 to T47."""

from __future__ import annotations

import pytest
import trio

from tests.hostile.engine import WEBSOCKET, Engine, asked, open_session, poll
from tests.hostile.place import PATIENCE, SOON, Place
from tests.scenarios.wire import BINARY, TEXT, frame, handshake, open_wire

pytestmark = pytest.mark.usefixtures("bystander")

SETTINGS = {"auth_timeout": 1, "ping_interval": 1, "ping_timeout": 1}  # seconds


async def is_served(engine: Engine) -> bool:
    """Return whether a session is answered like any other."""
    said = await engine.ask("session:list", {})
    return bool(said["ok"])


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(['451000-["x"]'], id="T44 1,000 attachments"),
        pytest.param(['4510000-["x",{"_placeholder":true,"num":0}]'], id="T44 10,000"),
        pytest.param(['4511-["x",{"_placeholder":true,"num":0}]'], id="T44 11 attachments"),
        pytest.param(['45-1-["x"]'], id="T44 minus one"),
        pytest.param(['451-["x",{"_placeholder":true,"num":99}]'], id="T44 num 99"),
        pytest.param(['451-["x",{"_placeholder":true,"num":"x"}]'], id="T44 num x"),
        pytest.param(['451-["x",{"_placeholder":true,"num":-1}]'], id="T44 num -1"),
        pytest.param(['451-["x",{"_placeholder":true,"num":1e99}]'], id="T44 num 1e99"),
        pytest.param(
            ['451-["x",{"_placeholder":true,"num":0}]', '42["x",{}]'],
            id="T44 text instead of the attachment",
        ),
        pytest.param(["42[{}]"], id="T45 an object as name"),
        pytest.param(["42[null]"], id="T45 null as name"),
        pytest.param(["42[[]]"], id="T45 a list as name"),
        pytest.param(["42[]"], id="T45 no name"),
        pytest.param(["42{}"], id="T45 an object"),
        pytest.param(["42"], id="T45 nothing"),
        pytest.param(['42["connect"]'], id="T45 connect"),
        pytest.param(['42["connect_error"]'], id="T45 connect_error"),
        pytest.param(['42["disconnect"]'], id="T45 disconnect"),
        pytest.param(['42["newListener"]'], id="T45 newListener"),
        pytest.param(['42["' + "x" * 100_000 + '"]'], id="T45 a long name"),
        pytest.param(["42" + "[" * 10_000 + "]" * 10_000], id="T45 10,000 deep"),
        pytest.param(["42" + "9" * 400 + '["session:list",{}]'], id="T46 an id of 400 digits"),
        pytest.param(['42-1["session:list",{}]'], id="T46 a negative id"),
        pytest.param(['429007199254740992["no:such",{}]'], id="T46 2^53 as id"),
        pytest.param(["439007199254740993[{}]"], id="T46 an ack beyond 2^53"),
        pytest.param(["43[]"], id="T46 an ack without id"),
        pytest.param(["4"], id="T46 an empty packet"),
        pytest.param(["47"], id="T46 an unknown packet"),
        pytest.param(["40"], id="T47 a second CONNECT"),
        pytest.param(["40/" + "x" * 100_000 + ","], id="T47 a namespace of 100 kB"),
        pytest.param(['42/admin,["x"]'], id="T47 an event of a namespace not joined"),
        pytest.param(["0"], id="T42 an OPEN of a client"),
        pytest.param(["2"], id="T42 a ping of a client"),
        pytest.param(["9"], id="T42 no packet"),
    ],
)  # fmt: skip
async def test_a_packet_that_is_none_ends_the_session_with_4500(
    place: Place, packets: list[str]
) -> None:
    async with open_session(place, place.ann.token) as engine:
        for packet in packets:
            await engine.send(packet)
        assert await engine.closed() == 4500


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param('42["__proto__"]', id="T45 __proto__"),
        pytest.param('42["hasOwnProperty",{}]', id="T45 hasOwnProperty"),
        pytest.param('42["no:such",{}]', id="T45 an unknown event"),
        pytest.param('42["session:list",{},{}]', id="T45 two payloads"),
        pytest.param('42["session:list",[]]', id="T45 a list as payload"),
        pytest.param('42["message:send",{"__proto__":{}}]', id="T45 __proto__ as field"),
    ],
)  # fmt: skip
async def test_an_event_that_is_none_is_refused_and_the_session_goes_on(
    place: Place, packet: str
) -> None:
    async with open_session(place, place.ann.token) as engine:
        await engine.send(packet)
        assert "validation_failed" in await engine.until('42["request:failed"')
        assert await is_served(engine)


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(["4399[1]"], id="T46 an ack of nothing"),
        pytest.param(["430[]", "430[]"], id="T46 two acks"),
        pytest.param(["3", "3", "3"], id="T42 pongs ahead of the ping"),
        pytest.param(["6", "5"], id="T42 noop and upgrade"),
    ],
)
async def test_what_answers_nothing_is_ignored(place: Place, packets: list[str]) -> None:
    async with open_session(place, place.ann.token) as engine:
        for packet in packets:
            await engine.send(packet)
        assert await is_served(engine)


async def test_attachments_that_nobody_wants_t44_are_refused_and_the_session_goes_on(
    place: Place,
) -> None:
    async with open_session(place, place.ann.token) as engine:
        await engine.send('451-7["message:send",{"_placeholder":true,"num":0}]')
        await engine.wire.send(frame(b"\0\1\2", BINARY))
        assert "validation_failed" in await engine.until("437[")
        assert await is_served(engine)


async def test_attachments_without_a_packet_t44_end_the_session(place: Place) -> None:
    async with open_session(place, place.ann.token) as engine:
        await engine.wire.send(frame(b"\0\1\2", BINARY))
        assert await engine.closed() == 4500


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([], id="T43 silence"),
        pytest.param(["3"] * 10, id="T43 only pongs"),
        pytest.param(['40{"token":"a.b.c"}'], id="T43 a bad token"),
        pytest.param(["40/admin,"], id="T43 another namespace"),
    ],
)  # fmt: skip
async def test_who_joins_nothing_is_closed_with_4501(place: Place, first: list[str]) -> None:
    async with open_session(place) as engine:
        started = trio.current_time()
        for packet in first:
            await engine.send(packet)
        assert await engine.closed() == 4501
        assert trio.current_time() - started < 1 + SOON


async def test_an_event_ahead_of_connect_t43_ends_the_session(place: Place) -> None:
    async with open_session(place) as engine:
        await engine.send('42["session:list",{}]')
        assert await engine.closed() == 4500


async def test_an_unknown_namespace_t47_is_refused_and_the_chat_goes_on(place: Place) -> None:
    async with open_session(place, place.ann.token) as engine:
        await engine.send("40/admin,{}")
        assert "Invalid namespace" in await engine.until("44/admin,")
        assert await is_served(engine)


async def test_a_thousand_namespaces_t47_are_eight_and_the_end(place: Place) -> None:
    async with open_session(place, place.ann.token) as engine:
        for number in range(1000):
            try:
                await engine.send(f"40/{number},")
            except trio.BrokenResourceError:
                break
        for number in range(7):
            assert await engine.until("44") == f'44/{number},{{"message":"Invalid namespace"}}'
        assert await engine.closed() == 4501


async def test_who_never_answers_a_ping_t42_is_gone_and_who_does_stays(place: Place) -> None:
    async with open_session(place, place.ann.token) as deaf:
        async with open_session(place, place.ann.token) as engine:
            for _ in range(4):  # longer than the deaf one is given
                assert await engine.until("2") == "2"
                await engine.send("3")
                await engine.send("3")  # twice
            assert await is_served(engine)
        with trio.fail_after(SOON):
            assert await deaf.closed() in {4012, None}  # a lost peer is told nothing


@pytest.mark.parametrize("size", [1_048_577, 16_385], ids=["T49 logged in", "T49 before the login"])
async def test_a_packet_beyond_what_is_taken_closes_1009(place: Place, size: int) -> None:
    async with open_session(place, place.ann.token if size > 1_000_000 else None) as engine:
        await engine.wire.send(frame(b"4" * size, TEXT))
        assert await engine.closed() == 1009


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(query, id=f"T48 {query[:40]}")
        for query in (
            "",
            "transport=polling",
            "EIO=3&transport=polling",
            "EIO=4",
            "EIO=4&transport=../..",
            "EIO=4&transport=carrier-pigeon",
            "EIO=4&transport=__proto__",
            "EIO=4&transport=constructor",
            "EIO=4&transport=polling&sid=__proto__",
            "EIO=4&transport=polling&sid=" + "x" * 8000,
            "EIO=4&EIO=3&transport=polling&sid=a&sid=b",
            "EIO=[4]&transport[]=polling",
        )
    ],
)
async def test_a_request_of_no_session_is_400_in_the_words_of_the_protocol(
    place: Place, query: str
) -> None:
    for method, body in (("GET", None), ("POST", b"40")):
        answer = await asked(place, poll(method, query, body), method)
        assert answer.status == 400
        assert set(answer.json) == {"code", "message"}


@pytest.mark.parametrize(
    "query", ["EIO=3&transport=websocket", "EIO=4&transport=websocket&sid=x", "transport=websocket"]
)
async def test_a_websocket_of_no_session_t48_is_400(place: Place, query: str) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(path=f"/socket.io/?{query}"))
            assert await wire.status() == 400
            assert await wire.head() is None


async def test_garbage_behind_the_handshake_t29_closes_1002(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(path=WEBSOCKET) + b"\xff" * 20)
            assert await wire.head() is not None
            assert (await wire.until_closed())[1] == 1002
