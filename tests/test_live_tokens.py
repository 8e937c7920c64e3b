"""The token of a live socket, on every wire: its end is announced, it can be renewed, it is cut."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.rows import UserRow
from tests.people import Client, World
from tests.socketio_kit import Chatter, open_chat, open_link
from tests.test_accounts import open_login, refresh, renewed
from tests.test_presence import forward

pytestmark = pytest.mark.threat("T70")

TTL, WARNING, GRACE = 900.0, 60.0, 30.0
QUIET = 10_000.0  # seconds between pings: they are tested elsewhere

WIRES = pytest.mark.parametrize("wire", ["ws", "websocket", "polling"])


class Live:
    """A live socket on any wire."""

    def __init__(self, client: Client | Chatter) -> None:
        self._client = client

    async def heard(self, name: str) -> list[dict[str, Any]]:
        """Return the payloads of what came since the last look, of the events of one name."""
        if isinstance(self._client, Client):
            return await self._client.heard(name)
        packets = await self._client.heard()
        events = [json.loads(packet[2:]) for packet in packets if packet.startswith("42")]
        return [event[1] for event in events if event[0] == name]

    async def ended(self) -> dict[str, Any]:
        """Return the last word of the server's."""
        if isinstance(self._client, Client):
            await self._client.closed()
            told = [frame for frame in self._client.waiting if "event" in frame]
            assert told[-1]["event"] == "connection:closing"
            payload: dict[str, Any] = told[-1]["data"]
            return payload
        [words] = await self.heard("connection:closing")
        return words

    async def renew(self, token: str) -> None:
        """Show a newer access token."""
        if isinstance(self._client, Client):
            await self._client.ask("auth:refresh", accessToken=token)
        else:
            await self._client.done("auth:refresh", accessToken=token)


@asynccontextmanager
async def connected(world: World, user: UserRow, family_id: UUID, wire: str) -> AsyncIterator[Live]:
    """Open a socket of a login."""
    if wire == "ws":
        async with world.connect(user, family_id) as client:
            yield Live(client)
        return
    chatter = Chatter(await open_link(world, wire))
    await chatter.connect(world.token(user, family_id))
    await chatter.event("connection:ready")
    yield Live(chatter)


@WIRES
async def test_the_end_of_a_token_is_announced_and_cuts_after_the_grace_and_not_before(
    tmp_path: Path, mock_clock: MockClock, wire: str
) -> None:
    async with open_chat(tmp_path, ping_interval=QUIET) as world:
        anna = await world.person("anna")
        family_id, _ = await open_login(world, anna)
        async with connected(world, anna, family_id, wire) as live:
            await forward(mock_clock, TTL - WARNING - 0.1)
            assert await live.heard("auth:expiring") == []
            await forward(mock_clock, 0.1)
            [warning] = await live.heard("auth:expiring")
            assert warning["inMs"] == 60_000
            await forward(mock_clock, WARNING + GRACE - 0.1)
            assert len(world.daemon.live.sockets.all()) == 1
            await forward(mock_clock, 0.1)
            assert (await live.ended())["code"] == CloseCode.TOKEN_EXPIRED.code
            assert world.daemon.live.sockets.all() == []


@WIRES
async def test_a_socket_lives_on_with_a_newer_token(
    tmp_path: Path, mock_clock: MockClock, wire: str
) -> None:
    async with open_chat(tmp_path, ping_interval=QUIET) as world:
        anna = await world.person("anna")
        family_id, token = await open_login(world, anna)
        async with connected(world, anna, family_id, wire) as live:
            for _ in range(3):
                await forward(mock_clock, TTL - WARNING)
                assert len(await live.heard("auth:expiring")) == 1
                tokens = await renewed(world, token)
                token = tokens.refresh_token
                await live.renew(tokens.access_token)
            await forward(mock_clock, WARNING + GRACE)
            assert len(world.daemon.live.sockets.all()) == 1
            await forward(mock_clock, TTL - WARNING)
            await wait_all_tasks_blocked()
            assert (await live.ended())["code"] == CloseCode.TOKEN_EXPIRED.code


@WIRES
@pytest.mark.parametrize("cause", ["logout-all", "device", "theft", "replay after the grace"])
async def test_a_revoked_login_loses_its_sockets_at_once(
    tmp_path: Path, mock_clock: MockClock, wire: str, cause: str
) -> None:
    async with open_chat(tmp_path, ping_interval=QUIET) as world:
        anna = await world.person("anna")
        family_id, token = await open_login(world, anna)
        [device] = await world.store.devices(anna.id, at=world.server.now, limit=2)
        other_family, _ = await open_login(world, anna)
        tokens = await renewed(world, token)
        if cause == "theft":
            await renewed(world, tokens.refresh_token)
        elif cause == "replay after the grace":
            await forward(mock_clock, 61)
        async with connected(world, anna, family_id, wire) as live:
            elsewhere = world.token(anna, other_family)
            if cause == "logout-all":
                answer = await world.rest("POST", "/auth/logout-all", token=elsewhere)
                assert answer.status == 200
            elif cause == "device":
                path = f"/auth/devices/{device.id}"
                assert (await world.rest("DELETE", path, token=elsewhere)).status == 200
            else:
                assert (await refresh(world, token)).status == 401
            await wait_all_tasks_blocked()  # and no time passes
            assert world.daemon.live.sockets.all() == []
            words = await live.ended()
            assert (words["code"], words["reconnect"]) == (CloseCode.REVOKED.code, False)
