"""Hostile HTTP in front of a WebSocket, as first and as second request; T1 to T5, T16 to T22."""

from __future__ import annotations

import pytest
import trio

from tests.hostile.websocket.attack import (
    FLAT,
    GET,
    PATIENCE,
    SOON,
    Place,
    pour,
)
from tests.scenarios.wire import (
    Wire,
    handshake,
    open_wire,
)

HEAD = handshake()
POST = b"POST /auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BOTH = POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("first", [b"", GET], ids=["T1 first", "T20 second"])
@pytest.mark.parametrize(
    ("hostile", "status"),
    [
        pytest.param(BOTH, 400, id="T1 both lengths"),
        pytest.param(
            BOTH.replace(b"5\r\nTransfer", b"5\r\nContent-Length: 6\r\nTransfer"), 400, id="T2"
        ),
        pytest.param(
            POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, id="T2 two lengths"
        ),
        pytest.param(POST + b"Content-Length: -1\r\n\r\n", 400, id="T3 negative"),
        pytest.param(POST + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n", 413, id="T3 20 digits"),
        pytest.param(POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501, id="T4 unknown coding"),
        pytest.param(POST + b"Content-Length: 999999999\r\n\r\n", 413, id="T22 too long"),
        pytest.param(POST + b"Content-Length: 9\r\n\r\n", 408, id="T17 a body that never comes"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\n\r\n5;x\r\nabcdeX", 400, id="T5 bad end"
        ),
        pytest.param(HEAD.replace(b"Host: localhost", b"Host: \xff"), 400, id="T30 upgrade"),
    ],
)
async def test_a_hostile_request_is_refused_and_closed(
    place: Place, first: bytes, hostile: bytes, status: int
) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            if first:
                await wire.send(first)
                assert await wire.status() == 200
            await wire.send(hostile)
            assert await wire.status() == status
            assert await wire.head() is None, "the connection goes on"


async def test_a_body_without_end_t22_is_413_before_it_ends(place: Place) -> None:
    with trio.fail_after(PATIENCE), place.daemon.grows_at_most(FLAT):
        async with open_wire(place.port) as wire, trio.open_nursery() as nursery:
            await wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            nursery.start_soon(pour, wire, b"10000\r\n" + bytes(0x10000) + b"\r\n")
            assert await wire.status() == 413
            assert await wire.head() is None
            nursery.cancel_scope.cancel()


async def test_a_head_that_comes_slowly_t16_is_408_at_the_head_timeout(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire, trio.open_nursery() as nursery:
            nursery.start_soon(trickle, wire)
            started = trio.current_time()
            assert await wire.status() == 408
            assert 0.9 < trio.current_time() - started < SOON
            nursery.cancel_scope.cancel()


async def trickle(wire: Wire) -> None:
    await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    try:
        while True:
            await wire.send(b"X-More: 1\r\n")
            await trio.sleep(0.05)  # the attack is its slowness
    except trio.BrokenResourceError:
        return


async def test_two_hundred_that_say_nothing_t18_are_closed_while_others_are_served(
    place: Place,
) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            closed = [trio.Event() for _ in range(200)]
            for event in closed:
                nursery.start_soon(say_nothing, place, event)
            async with open_wire(place.port) as wire:
                while not all(event.is_set() for event in closed):
                    await wire.send(GET)
                    assert await wire.status() == 200


async def say_nothing(place: Place, closed: trio.Event) -> None:
    async with open_wire(place.port) as wire:
        assert await wire.head() is None
        closed.set()
