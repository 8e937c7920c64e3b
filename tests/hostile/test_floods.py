"""Floods on a daemon with its rates on: who floods is told, slowed and cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import orjson
import pytest
import trio

from chatd.client import ClientError
from tests.hostile.engine import asked, open_session, poll
from tests.hostile.place import PATIENCE, Place, ask, http, open_http
from tests.scenarios.talker import Person, create_session, register, talking
from tests.scenarios.wire import PING, PONG, TEXT, Wire, frame, open_wire

pytestmark = pytest.mark.usefixtures("bystander")

SETTINGS = {
    "rate_limits": "on",
    "max_sockets_per_user": 5,
    "max_joined_sessions": 3,
    "max_connections_per_address": 60,
    # The tests come fast and from one address: what they do not flood themselves is wide open.
    "connect_rate": "1000/s burst 10000",
    "handshake_rate": "1000/s burst 10000",
    "register_rate": "1000/s burst 10000",
    "event_rate": "50/s burst 200",
}
MESSAGES = 2000


def request(event: str, number: int, **data: object) -> bytes:
    return frame(orjson.dumps({"event": event, "id": number, "data": data}))


@pytest.fixture(scope="module")
def mallory(place: Place) -> Person:
    """Register whoever floods: accounts of one address have a rate too."""
    return trio.run(register, place.daemon, "mallory")


@asynccontextmanager
async def flooding(place: Place, mallory: Person) -> AsyncIterator[Wire]:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.upgrade(mallory.token)
            yield wire


async def send_all(wire: Wire, data: bytes) -> None:
    try:
        await wire.send(data)
    except trio.BrokenResourceError:
        return


@pytest.mark.parametrize("name", ["session:list", "no:such", "typing:start", "auth:refresh"])
@pytest.mark.threat("T41")
async def test_a_flood_of_tiny_messages_is_refused_and_then_closed_with_4013(
    place: Place, mallory: Person, name: str
) -> None:
    async with flooding(place, mallory) as wire, trio.open_nursery() as nursery:
        flood = b"".join(request(name, number) for number in range(MESSAGES))
        nursery.start_soon(send_all, wire, flood)
        before, code = await wire.until_closed()
    assert code == 4013
    said = [orjson.loads(one.payload) for one in before if one.opcode == TEXT]
    limited = [each for each in said if each.get("error", {}).get("code") == "rate_limited"]
    assert limited
    assert all(each["error"]["retryAfterMs"] > 0 for each in limited)
    assert [each["event"] for each in said if "event" in each][-1] == "connection:closing"
    assert len(said) < MESSAGES


@pytest.mark.threat("T41")
async def test_a_flood_over_socketio_is_closed_too(place: Place, mallory: Person) -> None:
    async with open_session(place, mallory.token) as engine, trio.open_nursery() as nursery:
        flood = frame(b'42["no:such",{}]') * MESSAGES
        nursery.start_soon(send_all, engine.wire, flood)
        assert await engine.closed() == 4013


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["pings", "pongs"])
@pytest.mark.threat("T41")
async def test_a_flood_of_control_frames_is_closed_with_4013(
    place: Place, mallory: Person, opcode: int
) -> None:
    async with flooding(place, mallory) as wire, trio.open_nursery() as nursery:
        nursery.start_soon(send_all, wire, frame(b"x", opcode) * 100_000)
        assert (await wire.until_closed())[1] == 4013


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("status:set", {"status": "BUSY"}),
        ("typing:start", {}),
        ("status:active", {}),
        ("users:status", {"userIds": []}),
    ],
)
@pytest.mark.threat("T90")
async def test_what_others_are_told_of_has_a_rate(
    place: Place, mallory: Person, event: str, data: dict[str, object]
) -> None:
    async with talking(place.daemon, mallory) as talker:
        if event.startswith("typing"):
            data = {"sessionId": await create_session(place.daemon, mallory)}
            await talker.join(str(data["sessionId"]))
        codes = []
        for number in range(60):
            try:
                await talker.ask(event, **data)
            except ClientError as refusal:
                codes.append((number, refusal.code))
    assert codes
    assert {code for _, code in codes} == {"rate_limited"}
    assert codes[0][0] <= 25


@pytest.mark.threat("T90")
async def test_one_who_changes_all_the_time_is_told_of_once_a_second(place: Place) -> None:
    mallory = await register(place.daemon, "mallory")
    async with talking(place.daemon, place.ann) as ann:
        async with talking(place.daemon, mallory) as talker:
            began = trio.current_time()
            for number in range(10):
                status = ("BUSY", "ONLINE")[number % 2]
                await talker.ask("status:set", status=status, text=f"{number}")
            await ann.send(place.session, "a barrier")
            passed = trio.current_time() - began
        told = [
            push.data
            for push in ann.pushes
            if push.name == "user:status" and push.data["userId"] == mallory.id
        ]
    assert len(told) <= 2 + passed


@pytest.mark.threat("T89")
async def test_a_user_has_so_many_sockets_and_the_next_is_closed_with_4504(place: Place) -> None:
    mallory = await register(place.daemon, "mallory")
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await stack.enter_async_context(talking(place.daemon, mallory))
            async with open_wire(place.port) as wire:
                await wire.upgrade(mallory.token)
                assert (await wire.until_closed())[1] == 4504
            async with open_session(place) as engine:
                await engine.send("40" + orjson.dumps({"token": mallory.token}).decode())
                refusal = orjson.loads((await engine.until("44"))[2:])
                assert refusal["message"] == "too many connections"


@pytest.mark.threat("T89")
async def test_a_socket_joins_so_many_sessions(place: Place) -> None:
    mallory = await register(place.daemon, "mallory")
    sessions = [await create_session(place.daemon, mallory) for _ in range(4)]
    async with talking(place.daemon, mallory) as talker:
        for session in sessions[:3]:
            await talker.join(session)
        with pytest.raises(ClientError) as refusal:
            await talker.join(sessions[3])
    assert refusal.value.code == "conflict"


@pytest.mark.threat("T89")
async def test_sessions_are_opened_at_a_rate_and_with_a_hundred_people_at_most(
    place: Place,
) -> None:
    mallory = await register(place.daemon, "mallory")
    crowd = [str(uuid4()) for _ in range(101)]
    body = {"kind": "GROUP", "name": "crowd", "memberIds": crowd}
    answer = await ask(place, "POST", "/chat/sessions", body, token=mallory.token)
    assert (answer.status, answer.code) == (422, "validation_failed")
    statuses = []
    async with open_http(place) as client:
        for number in range(60):
            body = {"kind": "GROUP", "name": f"{number}"}
            last = await client.ask(http("POST", "/chat/sessions", body, token=mallory.token))
            statuses.append(last.status)
            if last.status == 429:
                break
    assert statuses.count(201) <= 40
    assert (last.status, last.code) == (429, "rate_limited")
    assert int(last.headers["retry-after"]) >= 1


@pytest.mark.threat("T77")
async def test_guessing_a_password_is_slowed_and_the_account_is_not_locked_for_others(
    place: Place,
) -> None:
    victim = f"{uuid4().hex}@example.com"
    await ask(place, "POST", "/auth/register", {"email": victim, "password": "swordfish-9"})
    answers = []
    for number in range(12):
        body = {"email": victim, "password": f"guess {number}"}
        answers.append(await ask(place, "POST", "/auth/login", body))
    assert {answer.status for answer in answers} == {401, 429}
    refused = answers[-1]
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["ratelimit-remaining"] == "0"


@pytest.mark.threat("T18")
async def test_an_address_has_so_many_connections_and_is_told(place: Place) -> None:
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(62):
            streams.append(await trio.open_tcp_stream("127.0.0.1", place.port))
            stack.push_async_callback(streams[-1].aclose)
        with trio.fail_after(PATIENCE):
            said = bytes(await streams[-1].receive_some(65_536))
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"overloaded" in said
    assert b"retry-after: " in said.lower()


@pytest.mark.threat("T18", "T48")
async def test_an_address_polls_with_so_many_sessions_and_websockets_still_get_in(
    place: Place,
    mallory: Person,
) -> None:
    statuses = [
        (await asked(place, poll("GET", "EIO=4&transport=polling"))).status for _ in range(62)
    ]
    assert statuses[-1] == 503
    async with open_session(place, mallory.token) as engine:
        assert (await engine.ask("session:list", {}))["ok"]
