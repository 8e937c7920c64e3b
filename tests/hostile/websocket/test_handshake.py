"""Hostile handshakes and logins on a real daemon; T29 to T33, T43, T53, T59, T63."""

from __future__ import annotations

import orjson
import pytest
import trio

from tests.hostile.websocket.attack import (
    GET,
    PATIENCE,
    SOON,
    Place,
    attack,
    is_answered,
    request,
)
from tests.scenarios.wire import (
    KEY,
    PING,
    frame,
    handshake,
    open_wire,
)


@pytest.mark.parametrize("logged_in", [True, False], ids=["with a token", "without"])
@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n", bytes(64)],
    ids=["T29 all bits", "T29 another request", "T29 zeros"],
)
async def test_garbage_right_behind_an_upgrade_closes_1002(
    place: Place, garbage: bytes, logged_in: bool
) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            token = place.ann.token if logged_in else None
            await wire.send(handshake(token) + garbage)
            head = await wire.head()
            assert head is not None
            assert head.startswith(b"HTTP/1.1 101 ")
            assert (await wire.until_closed())[1] == 1002


async def test_one_byte_right_behind_an_upgrade_t29_is_the_start_of_a_frame(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            early = frame(request("session:list"))
            await wire.send(handshake(place.ann.token) + early[:1])
            assert await wire.head() is not None
            await wire.send(early[1:])
            assert await is_answered(wire)


async def test_a_valid_frame_right_behind_an_upgrade_t29_is_served(place: Place) -> None:
    login = orjson.dumps({"event": "auth", "id": 7, "data": {"token": place.ann.token}})
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake() + frame(login))
            assert await wire.head() is not None
            assert await is_answered(wire)


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Upgrade", "Host", "Origin"),
        *("Sec-WebSocket-Key", "Sec-WebSocket-Version"),
        *("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"),
    ],
    ids=lambda name: f"T30 {name}",
)
@pytest.mark.parametrize("byte", [0x80, 0xFF], ids=hex)
async def test_a_byte_beyond_ascii_in_a_handshake_is_400(
    place: Place, name: str, byte: int
) -> None:
    head = handshake(place.ann.token).replace(b"\r\n\r\n", b"\r\nX-Last: 1\r\n\r\n")
    marked = name.encode() + b": "
    if marked in head:
        head = head.replace(marked, marked + bytes([byte]))
    else:
        head = head.replace(b"X-Last: ", marked + bytes([byte]))
    assert await status_of(place, head) == 400


async def status_of(place: Place, data: bytes) -> int | None:
    """Send bytes on a new connection and return the status; then the server must close."""
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(data)
            status = await wire.status()
            assert await wire.head() is None, "the connection goes on"
            return status


HEAD = handshake()
VERSION, UPGRADE = b"Sec-WebSocket-Version: 13", b"Upgrade: websocket"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(
            HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc"), 400, id="T31 body"
        ),
        pytest.param(HEAD.replace(b"GET", b"POST"), 400, id="T31 POST"),
        pytest.param(HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, id="T31 HTTP/1.0"),
        pytest.param(
            HEAD.replace(UPGRADE, UPGRADE + b"\r\n" + UPGRADE), 400, id="T31 two upgrades"
        ),
        pytest.param(HEAD.replace(KEY, b"c2hvcnQ="), 400, id="T32 short key"),
        pytest.param(HEAD.replace(KEY, b"!" * 24), 400, id="T32 no base64"),
        pytest.param(HEAD.replace(b"Sec-WebSocket-Key", b"X-Key"), 400, id="T32 no key"),
        pytest.param(HEAD.replace(VERSION, b"Sec-WebSocket-Version: 8"), 426, id="T32 version 8"),
        pytest.param(handshake(path="/elsewhere"), 404, id="T29 unknown path"),
        pytest.param(handshake(None, "Origin: https://evil.example"), 403, id="T53 foreign page"),
        pytest.param(handshake(None, "Origin: null"), 403, id="T53 null"),
    ],
)
async def test_a_handshake_that_is_none_is_refused_and_closed(
    place: Place, head: bytes, status: int
) -> None:
    assert await status_of(place, head + b"\x81\x80\0\0\0\0") == status


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate, permessage-deflate, x-webkit-deflate-frame",
        ";;;,,,=",
        "permessage-deflate" + "; a=b" * 500,
    ],
    ids=lambda offer: f"T33 {offer[:50]}",
)
async def test_compression_is_declined_however_it_is_offered(place: Place, offer: str) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(place.ann.token, f"Sec-WebSocket-Extensions: {offer}"))
            head = await wire.head()
            assert head is not None
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"extensions" not in head.lower()
            assert await is_answered(wire)


async def test_an_upgrade_may_be_the_second_request_t20_of_a_connection(place: Place) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            for _ in range(2):
                await wire.send(GET)
                assert await wire.status() == 200
            await wire.upgrade(place.ann.token)
            assert await is_answered(wire)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="T43 silence"),
        pytest.param(frame(b"", PING), id="T43 only a ping"),
        pytest.param(frame(b"{", fin=False), id="T43 half a message"),
        pytest.param(frame(request("session:list")), id="T43 something else"),
        pytest.param(frame(request("auth")), id="T43 no token"),
        pytest.param(frame(request("auth", token=None)), id="T43 token null"),
        pytest.param(frame(request("auth", token="a.b.c")), id="T59 no token of ours"),
        pytest.param(frame(request("auth", token="é" * 5_000)), id="T63 a long token"),
    ],
)
async def test_who_does_not_log_in_is_closed_with_4501(place: Place, first: bytes) -> None:
    with trio.fail_after(PATIENCE):
        started = trio.current_time()
        _, code = await attack(place, first, logged_in=False)
        assert code == 4501
        assert trio.current_time() - started < 1 + SOON


@pytest.mark.parametrize(
    "bearer",
    ["a.b.c", "", "Bearer", "\xff\xfe", "x" * 7000],
    ids=["T59 none of ours", "T59 empty", "T59 a word", "T59 bytes", "T63 long"],
)
async def test_a_bad_token_in_the_handshake_is_refused_or_closes_4501(
    place: Place, bearer: str
) -> None:
    with trio.fail_after(PATIENCE):
        async with open_wire(place.port) as wire:
            await wire.send(handshake(bearer))
            head = await wire.head()
            assert head is not None
            if head.startswith(b"HTTP/1.1 101 "):
                assert (await wire.until_closed())[1] == 4501
            else:
                assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))
