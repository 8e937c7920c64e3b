"""The test suite of the Socket.IO protocol, case by case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from tests.protocol_suite.kit import Peer, Socket


@asynccontextmanager
async def connected(peer: Peer) -> AsyncIterator[Socket]:
    """Open a socket in the main namespace, greeted."""
    async with peer.opened() as socket:
        await socket.send("40")
        assert str(await socket.read()).startswith('40{"sid":')
        assert await socket.read() == '42["auth",{}]'
        yield socket


async def connect(socket: Socket, packet: str, prefix: str) -> None:
    """Send a CONNECT and read the answer, which holds a sid and nothing else."""
    await socket.send(packet)
    answer = await socket.read()
    assert isinstance(answer, str)
    assert answer.startswith(prefix + "{")
    data = orjson.loads(answer.removeprefix(prefix))
    assert list(data) == ["sid"]
    assert isinstance(data["sid"], str)


# Connect


@pytest.mark.parametrize("connect_packet", ["40", "40{}", "40/,"])
async def test_the_main_namespace_takes_anybody(sockets: Peer, connect_packet: str) -> None:
    async with sockets.opened() as socket:
        await connect(socket, connect_packet, "40")
        assert await socket.read() == '42["auth",{}]'


async def test_the_main_namespace_hands_the_payload_on(sockets: Peer) -> None:
    async with sockets.opened() as socket:
        await connect(socket, '40{"token":"123"}', "40")
        assert await socket.read() == '42["auth",{"token":"123"}]'


@pytest.mark.parametrize("connect_packet", ["40/custom,", "40/custom"])
async def test_a_custom_namespace_takes_anybody(sockets: Peer, connect_packet: str) -> None:
    async with sockets.opened() as socket:
        await connect(socket, connect_packet, "40/custom,")
        assert await socket.read() == '42/custom,["auth",{}]'


async def test_a_custom_namespace_hands_the_payload_on(sockets: Peer) -> None:
    async with sockets.opened() as socket:
        await connect(socket, '40/custom,{"token":"abc"}', "40/custom,")
        assert await socket.read() == '42/custom,["auth",{"token":"abc"}]'


async def test_an_unknown_namespace_is_refused_and_the_session_goes_on(sockets: Peer) -> None:
    async with sockets.opened() as socket:
        await socket.send("40/random")
        assert await socket.read() == '44/random,{"message":"Invalid namespace"}'
        await connect(socket, "40", "40")


async def test_a_sid_of_a_socket_is_not_the_one_of_its_session(sockets: Peer) -> None:
    async with sockets.websocket() as socket:
        sid = (await socket.event())["sid"]
        await socket.send("40")
        assert (await socket.event())["sid"] != sid


@pytest.mark.parametrize("packet", ["4", "4abc", "4{}", '40"text"', "40[]", '49{"a":1}'])
async def test_a_handshake_that_is_none_closes_the_session(sockets: Peer, packet: str) -> None:
    async with sockets.opened() as socket:
        await socket.send(packet)
        assert (await socket.closed())[0] == []


async def test_who_joins_no_namespace_is_closed(pinging_sockets: Peer) -> None:
    async with pinging_sockets.opened() as socket:
        with pytest.raises(Exception, match="CloseReason"):
            await socket.read()  # pings are answered meanwhile


async def test_who_has_joined_is_not_closed_by_the_connect_timeout(pinging_sockets: Peer) -> None:
    async with connected(pinging_sockets) as socket:
        for _ in range(5):  # pings: longer than the timeout
            assert await socket.next() == "2"
            await socket.send("3")


async def test_a_second_connect_closes_the_session(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send("40")
        assert (await socket.closed())[0] == []


async def test_an_event_ahead_of_connect_closes_the_session(sockets: Peer) -> None:
    async with sockets.opened() as socket:
        await socket.send('42["message","too early"]')
        assert (await socket.closed())[0] == []


async def test_an_event_for_a_namespace_not_joined_closes_the_session(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send('42/custom,["message","elsewhere"]')
        assert (await socket.closed())[0] == []


# Disconnect


async def test_who_leaves_the_main_namespace_keeps_the_session(pinging_sockets: Peer) -> None:
    async with connected(pinging_sockets) as socket:
        await socket.send("41")
        assert await socket.next() == "2"


async def test_who_leaves_a_custom_namespace_stays_in_the_main_one(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await connect(socket, "40/custom", "40/custom,")
        assert await socket.read() == '42/custom,["auth",{}]'
        await socket.send("41/custom", '42["message","message to main namespace"]')
        assert await socket.read() == '42["message-back","message to main namespace"]'


async def test_who_has_left_may_come_again(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send("41")
        await connect(socket, "40", "40")


async def test_nobody_speaks_in_a_namespace_that_was_left(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send("41", '42["message"]')
        assert (await socket.closed())[0] == []


# Messages


async def test_an_event_comes_back(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send('42["message",1,"2",{"3":[true]}]')
        assert await socket.read() == '42["message-back",1,"2",{"3":[true]}]'


async def test_several_events_come_back_in_order(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send(*(f'42["message",{number}]' for number in range(100)))
        for number in range(100):
            assert await socket.read() == f'42["message-back",{number}]'


async def test_an_event_with_binary_comes_back_with_binary(sockets: Peer) -> None:
    placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    async with connected(sockets) as socket:
        await socket.send(f'452-["message",{placeholders}]', b"\x01\x02\x03", b"\x04\x05\x06")
        assert await socket.read() == f'452-["message-back",{placeholders}]'
        assert [await socket.read(), await socket.read()] == [b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_an_event_with_an_id_is_acknowledged(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send('42456["message-with-ack",1,"2",{"3":[false]}]')
        assert await socket.read() == '43456[1,"2",{"3":[false]}]'


async def test_an_event_with_binary_and_an_id_is_acknowledged_with_binary(sockets: Peer) -> None:
    placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    async with connected(sockets) as socket:
        await socket.send(
            f'452-789["message-with-ack",{placeholders}]', b"\x01\x02\x03", b"\x04\x05\x06"
        )
        assert await socket.read() == f"462-789[{placeholders}]"
        assert [await socket.read(), await socket.read()] == [b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_binary_goes_both_ways_by_polling(sockets: Peer) -> None:
    session = await sockets.open_polling()
    await session.say("40")
    assert (await session.read()).startswith('40{"sid":')
    assert await session.read() == '42["auth",{}]'
    await session.say('451-["message",{"_placeholder":true,"num":0}]\x1ebAQIDBA==')
    assert await session.read() == '451-["message-back",{"_placeholder":true,"num":0}]'
    assert await session.read() == "bAQIDBA=="


@pytest.mark.parametrize(
    "packet",
    [
        "4abc",
        "42{}",
        "42",
        "42[]",
        "42[{}]",
        '42["connect"]',
        '42["disconnect"]',
        '42abc["message-with-ack",1,"2",{"3":[false]}]',
        '42-1["message"]',
        '42["message"',
        "43[]",
        '44{"message":"mine"}',
        '450-["message"]',
        '451-["message",{"_placeholder":true,"num":1}]',
        "47",
    ],
)
async def test_a_packet_of_no_known_form_closes_the_session(sockets: Peer, packet: str) -> None:
    async with connected(sockets) as socket:
        await socket.send(packet)
        assert (await socket.closed())[0] == []


async def test_text_between_an_event_and_its_binary_closes_the_session(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send('451-["message",{"_placeholder":true,"num":0}]', '42["message"]')
        assert (await socket.closed())[0] == []


async def test_binary_that_nobody_announced_closes_the_session(sockets: Peer) -> None:
    async with connected(sockets) as socket:
        await socket.send(b"\x01\x02\x03")
        assert (await socket.closed())[0] == []
