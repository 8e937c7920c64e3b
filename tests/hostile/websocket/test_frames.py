"""Hostile frames: each closes with its code, none costs memory; T34 to T41."""

from __future__ import annotations

import socket
import struct
import zlib

import pytest
import trio

from tests.hostile.websocket.attack import (
    FLAT,
    PATIENCE,
    SOON,
    Place,
    attack,
    is_answered,
    pour,
    request,
    send_many,
)
from tests.scenarios.talker import create_session, talking
from tests.scenarios.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    frame,
    open_wire,
)

LIMIT = 1_048_576  # bytes of a message: the daemon's default
CONTINUATION = 0x0
NORMAL_CLOSES = 'chatd_closes_total{code="1000"}'
SLOW_CLOSES = 'chatd_closes_total{code="4008"}'
LONG = b"x" * 126
HALF = frame(b"{", fin=False)


@pytest.mark.parametrize("logged_in", [True, False], ids=["logged in", "not logged in"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frame(b"{}", masked=False), 1002, id="T34 unmasked"),
        pytest.param(frame(b"{}", rsv=4), 1002, id="T34 RSV1"),
        pytest.param(frame(b"{}", rsv=2), 1002, id="T34 RSV2"),
        pytest.param(frame(b"{}", rsv=1), 1002, id="T34 RSV3"),
        pytest.param(frame(b"{}", 0x3), 1002, id="T34 reserved opcode"),
        pytest.param(frame(b"", 0xB), 1002, id="T34 reserved control opcode"),
        pytest.param(frame(b"", PING, fin=False), 1002, id="T34 fragmented ping"),
        pytest.param(frame(LONG, PING), 1002, id="T34 long ping"),
        pytest.param(frame(LONG, PONG), 1002, id="T34 long pong"),
        pytest.param(frame(LONG, CLOSE), 1002, id="T34 long close"),
        pytest.param(frame(b"}", CONTINUATION), 1002, id="T34 continuation of nothing"),
        pytest.param(HALF + frame(b"{}"), 1002, id="T34 message within a message"),
        pytest.param(frame(b"\xff{}"), 1007, id="T35 no UTF-8"),
        pytest.param(
            frame(b'"\xe2\x82', fin=False) + frame(b'\x28"', CONTINUATION),
            1007,
            id="T35 no UTF-8 in two fragments",
        ),
        pytest.param(frame(b"\x03\xe8\xff", CLOSE), 1007, id="T35 close reason"),
        pytest.param(frame((999).to_bytes(2, "big"), CLOSE), 1002, id="T36 close code 999"),
        pytest.param(frame((1005).to_bytes(2, "big"), CLOSE), 1002, id="T36 close code 1005"),
        pytest.param(frame(b"x", CLOSE), 1002, id="T36 close of one byte"),
        pytest.param(frame(b"", length=2**62), 1009, id="T37 2^62 bytes declared"),
        pytest.param(frame(b"", length=2**63), 1009, id="T37 2^63 bytes declared"),
        pytest.param(frame(b"", length=2**30), 1009, id="T37 1 GB declared"),
        pytest.param(
            HALF + frame(b"", CONTINUATION, length=2**62), 1009, id="T37 2^62 in a fragment"
        ),
        pytest.param(frame(b"{}", BINARY), 1003, id="binary"),
        pytest.param(frame(b"{}", BINARY, fin=False), 1003, id="binary fragment"),
        pytest.param(frame(b"", BINARY), 1003, id="empty binary"),
    ],
)
async def test_a_frame_that_is_none_closes_with_its_code(
    place: Place, data: bytes, code: int, logged_in: bool
) -> None:
    with trio.fail_after(PATIENCE):
        _, closed = await attack(place, data, logged_in=logged_in)
    assert closed == code


@pytest.mark.parametrize(
    ("opening", "more", "times"),
    [
        pytest.param(
            frame(b"", fin=False), frame(b"", CONTINUATION, fin=False), 1_800_000, id="T39 empty"
        ),
        pytest.param(
            frame(b"x", fin=False), frame(b"x", CONTINUATION, fin=False), 500_000, id="T39 one byte"
        ),
        pytest.param(frame(b"", length=64 * LIMIT), b"x" * 16, 4 * LIMIT, id="T38 one frame"),
        pytest.param(
            frame(b"x" * LIMIT, fin=False), frame(b"x" * 4096, CONTINUATION, fin=False), 16_384,
            id="T38 fragments",
        ),
    ],
)  # fmt: skip
async def test_a_message_without_end_closes_1009_and_the_sender_is_dropped_soon(
    place: Place, opening: bytes, more: bytes, times: int
) -> None:
    with trio.fail_after(PATIENCE), place.daemon.grows_at_most(FLAT):
        async with open_wire(place.port) as wire, trio.open_nursery() as nursery:
            await wire.upgrade(place.ann.token)
            nursery.start_soon(send_many, wire, opening, more, times)
            assert (await wire.until_closed())[1] == 1009
            with trio.fail_after(SOON):
                await pour(wire, frame(b"x" * 4096, CONTINUATION, fin=False))
            nursery.cancel_scope.cancel()


async def test_a_compression_bomb_t40_is_no_frame_and_costs_no_memory(place: Place) -> None:
    packer = zlib.compressobj(wbits=-15)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(256)) + packer.flush()
    assert len(bomb) < LIMIT // 2
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    with trio.fail_after(PATIENCE), place.daemon.grows_at_most(FLAT):
        async with open_wire(place.port) as wire:
            await wire.upgrade(place.ann.token, offer)
            await wire.send(frame(bomb, rsv=4))
            assert (await wire.until_closed())[1] == 1002


async def test_a_flood_of_pings_t41_is_answered_and_the_daemon_is_alive(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire, trio.open_nursery() as nursery:
            await wire.upgrade(place.ann.token)
            nursery.start_soon(send_many, wire, b"", frame(b"?", PING), 20_000)
            pongs = 0
            while pongs < 20_000:
                found = await wire.frames()
                assert found is not None
                pongs += sum(one.opcode == PONG for one in found)
            assert await is_answered(wire)


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["T41 pings", "T41 pongs"])
async def test_a_flood_from_one_that_does_not_read_costs_no_memory(
    place: Place, opcode: int
) -> None:
    with trio.fail_after(PATIENCE), place.daemon.grows_at_most(FLAT):
        async with open_wire(place.port, receive_buffer=4096) as wire:
            await wire.upgrade(place.ann.token)
            await send_many(wire, b"", frame(b"x" * 125, opcode), 100_000)


async def test_pages_asked_for_and_never_read_t19_cost_the_memory_of_one(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        session = await create_session(place.daemon, place.ann)
        async with talking(place.daemon, place.ann) as talker:
            for _ in range(100):
                await talker.send(session, "x" * 16_384)
        page = frame(request("message:history", sessionId=session, limit=100))
        closes = await place.daemon.metric(SLOW_CLOSES)
        with place.daemon.grows_at_most(FLAT):
            async with open_wire(place.port, receive_buffer=4096) as wire:
                await wire.upgrade(place.ann.token)
                await wire.send(page * 200)  # 330 MB of answers
                await place.daemon.reaches(SLOW_CLOSES, closes + 1)


async def test_a_client_that_vanishes_within_a_frame_is_forgotten(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        closes = await place.daemon.metric(NORMAL_CLOSES)
        for _ in range(20):
            async with open_wire(place.port) as wire:
                await wire.upgrade(place.ann.token)
                await wire.send(frame(b"x" * 1000)[:500])
                reset = struct.pack("ii", 1, 0)
                wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        await place.daemon.reaches(NORMAL_CLOSES, closes + 20)
