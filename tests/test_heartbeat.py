"""The heartbeat: silence, pongs, and the end of an access token."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.ids import uuid7
from chatd.rows import UserRow
from chatd.wire.frames import ping_frame
from tests.http_kit import HANDSHAKE
from tests.http_kit import Client as RawClient
from tests.people import World, open_world

INTERVAL, TIMEOUT = 25.0, 20.0
TTL, WARNING, GRACE = 900.0, 60.0, 30.0


async def forward(clock: MockClock, seconds: float) -> None:
    """Let time pass in steps in which pings are answered."""
    until = trio.current_time() + seconds
    while (left := until - trio.current_time()) > 0:
        clock.jump(min(left, INTERVAL))
        await wait_all_tasks_blocked()


async def silent_client(world: World, user: UserRow) -> RawClient:
    """Return a client that is logged in and says nothing more, not even pong."""
    client = RawClient(world.stream())
    bearer = f"Authorization: Bearer {world.token(user)}\r\n\r\n".encode()
    await client.send(HANDSHAKE.removesuffix(b"\r\n") + bearer)
    await wait_all_tasks_blocked()
    received = await client.stream.receive_some(65_536)
    assert b" 101 " in received
    if b"connection:ready" not in received:
        received = await client.stream.receive_some(65_536)
    assert b"connection:ready" in received
    return client


async def waiting(client: RawClient) -> bytes | None:
    """Return what has come, None when nothing has."""
    received: list[bytes] = []

    async def read() -> None:
        received.append(bytes(await client.stream.receive_some(65_536)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return received[0] if received else None


@pytest.mark.threat("T42")
async def test_a_silent_client_is_gone_after_ping_and_timeout_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        client = await silent_client(world, await world.person("anna"))
        await waiting(client)
        await forward(mock_clock, INTERVAL - 0.1)
        assert await waiting(client) is None
        await forward(mock_clock, 0.1)
        assert await waiting(client) == ping_frame()
        await forward(mock_clock, TIMEOUT - 0.1)
        assert await waiting(client) is None
        assert len(world.daemon.live.sockets.all()) == 1
        await forward(mock_clock, 0.1)
        assert await waiting(client) == b""
        assert world.daemon.live.sockets.all() == []


async def test_a_client_that_answers_pings_stays(tmp_path: Path, mock_clock: MockClock) -> None:
    async with (
        open_world(tmp_path) as world,
        world.connect(await world.person("anna")) as client,
    ):
        for _ in range(10):
            await forward(mock_clock, INTERVAL)
        assert await client.ask("session:list") == {"sessions": [], "nextCursor": None}


async def test_a_client_that_talks_is_not_pinged(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        client = await silent_client(world, await world.person("anna"))
        await waiting(client)
        for _ in range(4):
            await forward(mock_clock, INTERVAL - 5)
            await client.send(b"\x8a\x80\0\0\0\0")  # a pong that nobody asked for
            assert await waiting(client) is None


@pytest.mark.threat("T70")
async def test_expiry_is_announced_a_minute_before_and_closes_after_the_grace_and_not_before(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path) as world,
        world.connect(await world.person("anna")) as client,
    ):
        await forward(mock_clock, TTL - WARNING - 0.1)
        assert await client.heard("auth:expiring") == []
        await forward(mock_clock, 0.1)
        assert await client.heard("auth:expiring") == [
            {"expiresAt": "2026-01-01T00:15:00.000Z", "inMs": 60_000}
        ]
        await forward(mock_clock, WARNING + GRACE - 0.1)
        assert await client.heard("auth:expiring") == []
        await forward(mock_clock, 0.1)
        assert await client.closed() == CloseCode.TOKEN_EXPIRED.code
        assert client.waiting[-1] == {
            "event": "connection:closing",
            "data": {"code": 4401, "reason": "token expired", "reconnect": True},
        }


async def test_a_refresh_on_the_live_socket_extends_it(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, family_id = await world.person("anna"), uuid7()
        async with world.connect(anna, family_id) as client:
            await forward(mock_clock, TTL - WARNING)
            assert len(await client.heard("auth:expiring")) == 1
            answer = await client.ask("auth:refresh", accessToken=world.token(anna, family_id))
            assert answer == {"expiresAt": "2026-01-01T00:29:00.000Z"}
            await forward(mock_clock, WARNING + GRACE)
            assert await client.heard("auth:expiring") == []
            await forward(mock_clock, TTL - WARNING - WARNING - GRACE)
            assert len(await client.heard("auth:expiring")) == 1
            await forward(mock_clock, WARNING + GRACE)
            assert await client.closed() == CloseCode.TOKEN_EXPIRED.code


@pytest.mark.parametrize("whose", ["another user's", "another login's", "nobody's"])
async def test_a_live_socket_takes_no_token_but_its_own_logins(
    tmp_path: Path, mock_clock: MockClock, whose: str
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, family_id = await world.person("anna"), await world.person("bert"), uuid7()
        tokens = {
            "another user's": world.token(bert, family_id),
            "another login's": world.token(anna),
            "nobody's": "not.a.token",
        }
        async with world.connect(anna, family_id) as client:
            code = await client.refusal("auth:refresh", accessToken=tokens[whose])
            assert code == "unauthorized"
            await forward(mock_clock, TTL - WARNING)
            await forward(mock_clock, WARNING + GRACE)
            assert await client.closed() == CloseCode.TOKEN_EXPIRED.code


async def test_an_expired_token_does_not_renew_a_socket(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, family_id = await world.person("anna"), uuid7()
        token = world.token(anna, family_id)
        async with world.connect(anna, family_id) as client:
            await forward(mock_clock, TTL)
            assert await client.refusal("auth:refresh", accessToken=token) == "token_expired"
