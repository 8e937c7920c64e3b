"""Devices: where somebody is logged in, and the end of a login from elsewhere."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import CloseCode, StoreAmbiguous
from chatd.events.accounts import Devices
from chatd.ids import uuid7
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from chatd.testing.server import START
from chatd.tokens import hash_token, new_refresh_token
from tests.people import World, open_world
from tests.socketio_kit import Chatter, open_chat, open_link


class Login(NamedTuple):
    """What a device holds after a login."""

    device_id: UUID
    access: str
    refresh: str


async def log_in(world: World, user: UserRow, name: str = "Firefox") -> Login:
    """Return a new login of a new device, without a password."""
    services = world.daemon.services
    family_id, device_id, refresh, now = uuid7(), uuid7(), new_refresh_token(), services.now()
    await world.store.open_family(
        family_id=family_id,
        user_id=user.id,
        device_id=device_id,
        device_name=name,
        address="192.0.2.1",
        token_hash=hash_token(refresh),
        at=now,
        expires_at=now + timedelta(days=30),
    )
    access, _ = services.tokens.issue(user.id, family_id, device_id, now)
    return Login(device_id, access, refresh)


async def listed(world: World, login: Login) -> list[dict[str, Any]]:
    """Return the devices as a device is shown them by REST, which must be as documented."""
    answer = await world.rest("GET", "/auth/devices", token=login.access)
    assert answer.status == 200, answer.body
    Devices.model_validate(answer.json)
    devices: list[dict[str, Any]] = answer.json["devices"]
    return devices


async def remove(world: World, login: Login, device_id: UUID) -> tuple[int, str | None]:
    """Remove a device by REST; return the status and the code of a refusal."""
    answer = await world.rest("DELETE", f"/auth/devices/{device_id}", token=login.access)
    return answer.status, None if answer.status == 200 else answer.code


async def works(world: World, login: Login) -> tuple[bool, bool]:
    """Whether the access token and the refresh token of a login are still good."""
    shown = await world.rest("GET", "/auth/me", token=login.access)
    body = {"refreshToken": login.refresh}
    refreshed = await world.rest("POST", "/auth/refresh", body)
    return shown.status == 200, refreshed.status == 200


async def test_the_devices_of_the_caller_are_shown_with_the_one_that_asks(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        laptop = await log_in(world, anna, "Firefox on a laptop")
        await trio.sleep(60)
        phone = await log_in(world, anna, "phone")
        await log_in(world, await world.person("bert"))
        for login in (laptop, phone):
            devices = await listed(world, login)
            assert [each["id"] for each in devices] == [str(phone.device_id), str(laptop.device_id)]
            [current] = [each for each in devices if each["isCurrent"]]
            assert current["id"] == str(login.device_id)
        assert devices[1] == {
            "id": str(laptop.device_id),
            "name": "Firefox on a laptop",
            "address": "192.0.2.1",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastUsedAt": "2026-01-01T00:00:00.000Z",
            "isCurrent": False,
        }
        await trio.sleep(60)
        assert START + timedelta(seconds=120) == world.daemon.services.now()
        await world.rest("POST", "/auth/refresh", {"refreshToken": laptop.refresh})
        first, _ = await listed(world, phone)
        assert (first["id"], first["lastUsedAt"]) == (
            str(laptop.device_id),
            "2026-01-01T00:02:00.000Z",
        )


@pytest.mark.threat("T79")
async def test_a_device_that_is_removed_is_cut_at_once_and_logged_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        mine, lost, third = [await log_in(world, anna) for _ in range(3)]
        async with world.socket(lost.access) as socket, world.socket(third.access) as other:
            for each in (socket, other):
                await each.event("connection:ready")
            start = trio.current_time()
            assert await remove(world, mine, lost.device_id) == (200, None)
            assert await socket.closed() == CloseCode.REVOKED.code
            assert trio.current_time() == start
            await other.ask("session:list")
        assert await works(world, lost) == (False, False)
        assert await works(world, third) == (True, True)
        shown = {each["id"] for each in await listed(world, mine)}
        assert shown == {str(mine.device_id), str(third.device_id)}


async def test_a_device_is_removed_from_a_socket_of_another(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        mine, lost = [await log_in(world, anna) for _ in range(2)]
        async with world.socket(mine.access) as socket, world.socket(lost.access) as other:
            for each in (socket, other):
                await each.event("connection:ready")
            devices = (await socket.ask("device:list"))["devices"]
            assert {each["id"]: each["isCurrent"] for each in devices} == {
                str(mine.device_id): True,
                str(lost.device_id): False,
            }
            await socket.ask("device:remove", deviceId=str(lost.device_id))
            assert await other.closed() == CloseCode.REVOKED.code
            assert len((await socket.ask("device:list"))["devices"]) == 1


async def test_who_removes_their_own_device_from_its_socket_is_told_and_then_cut(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        mine = await log_in(world, await world.person("anna"))
        async with world.socket(mine.access) as socket, world.socket(mine.access) as tab:
            for each in (socket, tab):
                await each.event("connection:ready")
            await socket.ask("device:remove", deviceId=str(mine.device_id))
            assert await socket.closed() == CloseCode.REVOKED.code
            assert await tab.closed() == CloseCode.REVOKED.code
        assert await works(world, mine) == (False, False)


async def test_a_stock_client_of_a_removed_device_is_sent_away_and_not_let_in_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_chat(tmp_path) as world:
        anna = await world.person("anna")
        mine, lost = [await log_in(world, anna) for _ in range(2)]
        client = Chatter(await open_link(world, "websocket"))
        await client.connect(lost.access)
        await client.event("connection:ready")
        assert await remove(world, mine, lost.device_id) == (200, None)
        assert (await client.event("connection:closing"))["code"] == CloseCode.REVOKED.code
        await client.packet("41")  # DISCONNECT: a stock client stays away
        again = Chatter(await open_link(world, "websocket"))
        await again.link.send("40" + json.dumps({"token": lost.access}))
        assert (await again.packet("4")).startswith("44")  # CONNECT_ERROR


async def test_the_device_of_somebody_else_is_not_found_and_stays_logged_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await log_in(world, await world.person("anna"))
        bert = await log_in(world, await world.person("bert"))
        async with world.socket(bert.access) as socket:
            await socket.event("connection:ready")
            assert await remove(world, anna, bert.device_id) == (404, "not_found")
            assert await remove(world, anna, uuid7()) == (404, "not_found")
            await socket.ask("session:list")
        async with world.socket(anna.access) as socket:
            foreign = str(bert.device_id)
            assert await socket.refusal("device:remove", deviceId=foreign) == "not_found"
            assert await socket.refusal("device:remove") == "validation_failed"
        assert await works(world, bert) == (True, True)


async def test_a_removal_whose_answer_was_lost_cuts_when_it_is_repeated(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        mine, lost = [await log_in(world, anna) for _ in range(2)]
        store.fail_next("revoke_device", StoreAmbiguous("lost"))
        async with world.socket(lost.access) as socket:
            await socket.event("connection:ready")
            assert await remove(world, mine, lost.device_id) == (503, "unavailable")
            assert await remove(world, mine, lost.device_id) == (200, None)
            assert await socket.closed() == CloseCode.REVOKED.code
        assert await works(world, lost) == (False, False)
