"""The test suite of the Engine.IO protocol, case by case."""

from __future__ import annotations

import base64

import orjson
import pytest
import trio
from trio_websocket import ConnectionRejected

from tests.http_kit import Answer
from tests.protocol_suite.kit import PATIENCE, Peer, Session, packets

HANDSHAKE_KEYS = ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"]


async def refusal(peer: Peer, query: str, method: str = "GET") -> int:
    """Return the code with which a handshake over HTTP is refused."""
    answer = await peer.ask(query, method, b"" if method != "GET" else None)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert set(answer.json) == {"code", "message"}
    code: int = answer.json["code"]
    return code


async def websocket_refusal(peer: Peer, query: str) -> str:
    """Return the words with which a WebSocket is refused."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    answer = await peer.ask(query, "GET", None, *upgrade)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    return answer.body.decode()


# Handshake


async def test_polling_opens_a_session_with_an_upgrade(pinging_engine: Peer) -> None:
    answer = await pinging_engine.ask("EIO=4&transport=polling")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.body[:1] == b"0"
    handshake = orjson.loads(answer.body[1:])
    assert list(handshake) == HANDSHAKE_KEYS
    assert isinstance(handshake.pop("sid"), str)
    assert handshake == {
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


async def test_a_websocket_opens_a_session_without_upgrades(pinging_engine: Peer) -> None:
    async with pinging_engine.websocket() as socket:
        opening = await socket.next()
        assert isinstance(opening, str)
        assert opening[0] == "0"
        handshake = orjson.loads(opening[1:])
        assert list(handshake) == HANDSHAKE_KEYS
        assert isinstance(handshake.pop("sid"), str)
        assert handshake == {
            "upgrades": [],
            "pingInterval": 300,
            "pingTimeout": 200,
            "maxPayload": 1_000_000,
        }


async def test_the_path_may_lack_its_last_slash(engine: Peer) -> None:
    bare = Peer(engine._port, "/engine.io")
    session = await bare.open_polling()
    await session.say("4hello")
    assert await session.read() == "4hello"


@pytest.mark.parametrize("version", ["", "EIO=abc&", "EIO=3&", "EIO=&"])
async def test_polling_needs_a_version_that_is_known(engine: Peer, version: str) -> None:
    assert await refusal(engine, f"{version}transport=polling") == 5


@pytest.mark.parametrize("transport", ["", "transport=abc", "transport=", "transport=Polling"])
async def test_polling_needs_a_transport_that_is_known(engine: Peer, transport: str) -> None:
    assert await refusal(engine, f"EIO=4&{transport}") == 0


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_handshake_is_a_get(engine: Peer, method: str) -> None:
    assert await refusal(engine, "EIO=4&transport=polling", method) == 2


async def test_a_handshake_of_a_websocket_is_no_plain_request(engine: Peer) -> None:
    assert await refusal(engine, "EIO=4&transport=websocket") == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_session_that_never_was_is_unknown(engine: Peer, method: str) -> None:
    assert await refusal(engine, "EIO=4&transport=polling&sid=abc", method) == 1


@pytest.mark.parametrize("version", ["", "EIO=abc&", "EIO=3&"])
async def test_a_websocket_needs_a_version_that_is_known(engine: Peer, version: str) -> None:
    query = f"{version}transport=websocket"
    assert await websocket_refusal(engine, query) == "Unsupported protocol version"
    with pytest.RaisesGroup(ConnectionRejected, flatten_subgroups=True):
        async with engine.websocket(query):
            raise AssertionError


@pytest.mark.parametrize("transport", ["", "transport=abc"])
async def test_a_websocket_needs_a_transport_that_is_known(engine: Peer, transport: str) -> None:
    assert await websocket_refusal(engine, f"EIO=4&{transport}") == "Transport unknown"


async def test_a_websocket_of_a_session_that_never_was_is_refused(engine: Peer) -> None:
    query = "EIO=4&transport=websocket&sid=abc"
    assert await websocket_refusal(engine, query) == "Session ID unknown"


# Heartbeat


async def test_a_session_that_polls_is_pinged_and_lives_by_its_pongs(pinging_engine: Peer) -> None:
    session = await pinging_engine.open_polling()
    for _ in range(3):
        answer = await session.get()
        assert (answer.status, answer.body) == (200, b"2")
        await session.say("3")


async def test_a_session_that_polls_ends_when_a_ping_is_not_answered(pinging_engine: Peer) -> None:
    session = await pinging_engine.open_polling()
    assert (await session.get()).body == b"2"
    # Fetching more is a sign of life here, which it is not for Node: nothing is fetched in time.
    await trio.sleep(1)  # the server's clock: 500 ms, doubled
    answer = await session.get()
    assert (answer.status, answer.json["code"]) == (400, 1)


async def test_a_websocket_is_pinged_and_lives_by_its_pongs(pinging_engine: Peer) -> None:
    async with pinging_engine.opened() as socket:
        for _ in range(3):
            assert await socket.next() == "2"
            await socket.send("3")


async def test_a_websocket_closes_when_a_ping_is_not_answered(pinging_engine: Peer) -> None:
    async with pinging_engine.opened() as socket:
        said, _ = await socket.closed()
        assert said == ["2"]


async def test_a_ping_of_the_client_closes_its_websocket(engine: Peer) -> None:
    async with engine.opened() as socket:
        await socket.send("2")
        assert (await socket.closed())[0] == []


async def test_a_ping_of_the_client_closes_its_polling(engine: Peer) -> None:
    session = await engine.open_polling()
    await session.post("2")
    assert await session.is_over()


# Close


async def test_a_client_that_polls_may_close(engine: Peer) -> None:
    session = await engine.open_polling()
    async with engine.request(session.query) as parked:
        await session.say("1")
        answer = await parked.read()
    assert (answer.status, answer.body) == (200, b"6")
    answer = await session.get()
    assert (answer.status, answer.json["code"]) == (400, 1)


async def test_a_client_on_a_websocket_may_close(engine: Peer) -> None:
    async with engine.opened() as socket:
        await socket.send("1")
        assert (await socket.closed())[0] == []


# Messages over polling


async def test_one_packet_comes_back_by_polling(engine: Peer) -> None:
    session = await engine.open_polling()
    answer = await session.post("4hello")
    assert (answer.status, answer.body) == (200, b"ok")
    answer = await session.get()
    assert (answer.status, answer.body) == (200, b"4hello")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


async def test_several_packets_of_one_payload_come_back_in_order(engine: Peer) -> None:
    session = await engine.open_polling()
    await session.say("4test1\x1e4test2\x1e4test3")
    assert (await session.get()).body == b"4test1\x1e4test2\x1e4test3"


async def test_text_and_binary_packets_share_a_payload(engine: Peer) -> None:
    session = await engine.open_polling()
    await session.say("4hello\x1ebAQIDBA==")
    assert (await session.get()).body == b"4hello\x1ebAQIDBA=="


async def test_text_that_is_not_ascii_comes_back_by_polling(engine: Peer) -> None:
    session = await engine.open_polling()
    await session.say("4€ und 🦊")
    assert await session.read() == "4€ und 🦊"


async def test_hundreds_of_packets_of_one_payload_all_come_back(engine: Peer) -> None:
    session = await engine.open_polling()
    sent = [f"4{number}" for number in range(500)]
    await session.say("\x1e".join(sent))
    assert [await session.read() for _ in sent] == sent


@pytest.mark.parametrize("body", ["abc", "", "4hello\x1e", "9", "bAQ!", "٤a"])
async def test_a_payload_that_is_none_closes_the_session(engine: Peer, body: str) -> None:
    session = await engine.open_polling()
    assert (await session.post(body)).status == 400
    assert await session.is_over()


async def test_a_payload_that_is_not_utf_8_closes_the_session(engine: Peer) -> None:
    session = await engine.open_polling()
    assert (await session.post(b"4\xff")).status == 400
    assert await session.is_over()


async def test_a_binary_body_closes_the_session(engine: Peer) -> None:
    session = await engine.open_polling()
    answer = await session.post(b"\x04a", "Content-Type: application/octet-stream")
    assert answer.status == 400
    assert await session.is_over()


async def answer_of(session: Session, answers: list[Answer]) -> None:
    """Fetch, and keep the answer."""
    answers.append(await session.get())


async def test_a_second_get_beside_the_first_closes_the_session(engine: Peer) -> None:
    session = await engine.open_polling()
    answers: list[Answer] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_of, session, answers)
        nursery.start_soon(answer_of, session, answers)
    parked, second = sorted(answers, key=lambda answer: answer.status)
    assert (parked.status, parked.body) == (200, b"1")
    assert second.status == 400
    assert await session.is_over()


async def test_a_client_that_leaves_its_parked_get_is_gone(engine: Peer) -> None:
    session = await engine.open_polling()
    async with engine.request(session.query):
        pass  # closed, unanswered
    with trio.fail_after(PATIENCE):
        while (await session.post("3")).status == 200:  # noqa: ASYNC110 - see below
            await trio.sleep(0.01)  # the kernel tells the server, and sends us no event
    assert (await session.get()).status == 400


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_session_knows_get_and_post_alone(engine: Peer, method: str) -> None:
    session = await engine.open_polling()
    assert (await engine.ask(session.query, method, b"")).status == 400
    await session.say("4hello")
    assert await session.read() == "4hello"


# Messages over a WebSocket


async def test_a_text_comes_back_by_websocket(engine: Peer) -> None:
    async with engine.opened() as socket:
        await socket.send("4hello")
        assert await socket.read() == "4hello"


async def test_a_binary_message_comes_back_by_websocket(engine: Peer) -> None:
    async with engine.opened() as socket:
        await socket.send(b"\x01\x02\x03\x04")
        assert await socket.read() == b"\x01\x02\x03\x04"


async def test_a_client_without_binary_frames_gets_base64(engine: Peer) -> None:
    async with engine.websocket("EIO=4&transport=websocket&b64=1") as socket:
        await socket.read()
        await socket.send("b" + base64.b64encode(b"\x01\x02\x03\x04").decode())
        assert await socket.read() == "bAQIDBA=="


@pytest.mark.parametrize("message", ["abc", "", "9"])
async def test_a_message_that_is_no_packet_closes_the_websocket(engine: Peer, message: str) -> None:
    async with engine.opened() as socket:
        await socket.send(message)
        assert (await socket.closed())[0] == []


# Upgrade


async def test_polling_becomes_a_websocket(engine: Peer) -> None:
    session = await engine.open_polling()
    async with engine.websocket(f"EIO=4&transport=websocket&sid={session.sid}") as socket:
        await socket.send("2probe")
        assert await socket.read() == "3probe"
        await socket.send("5", "4hello")
        assert await socket.read() == "4hello"


async def test_a_parked_get_is_released_by_the_probe_and_loses_nothing(engine: Peer) -> None:
    session = await engine.open_polling()
    query = f"EIO=4&transport=websocket&sid={session.sid}"
    async with engine.request(session.query) as parked, engine.websocket(query) as socket:
        await socket.send("2probe")
        assert await socket.read() == "3probe"
        assert (await parked.read()).body == b"6"
        await session.say("4by polling\x1ebAQIDBA==")
        await socket.send("5", "4by websocket")
        assert [await socket.read() for _ in range(3)] == [
            "4by polling",
            b"\x01\x02\x03\x04",
            "4by websocket",
        ]


async def test_http_with_the_sid_of_an_upgraded_session_is_refused(engine: Peer) -> None:
    session = await engine.open_polling()
    async with engine.websocket(f"EIO=4&transport=websocket&sid={session.sid}") as socket:
        await socket.send("2probe")
        await socket.read()
        await socket.send("5", "4before")
        assert await socket.read() == "4before"
        assert (await session.get()).status == 400
        assert (await session.post("4by polling")).status == 400
        await socket.send("4hello")
        assert await socket.read() == "4hello"


async def test_a_second_websocket_of_an_upgraded_session_is_closed(engine: Peer) -> None:
    session = await engine.open_polling()
    query = f"EIO=4&transport=websocket&sid={session.sid}"
    async with engine.websocket(query) as socket:
        await socket.send("2probe")
        await socket.read()
        await socket.send("5", "4before")
        assert await socket.read() == "4before"
        async with engine.websocket(query) as second:
            assert (await second.closed())[0] == []
        await socket.send("4hello")
        assert await socket.read() == "4hello"


async def test_a_websocket_that_says_no_probe_is_closed_and_polling_goes_on(engine: Peer) -> None:
    session = await engine.open_polling()
    async with engine.websocket(f"EIO=4&transport=websocket&sid={session.sid}") as socket:
        await socket.send("4hello")
        assert (await socket.closed())[0] == []
    await session.say("4still here")
    assert await session.read() == "4still here"


def test_a_payload_is_split_at_its_separator() -> None:
    assert packets("4a\x1e4b") == ["4a", "4b"]
