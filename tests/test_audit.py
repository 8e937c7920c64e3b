"""The audit log of an account, as its owner reads it (protocol.md section 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from chatd.store.memory import MemoryStore
from tests.people import World, open_world
from tests.test_accounts import open_login, refresh, renewed
from tests.test_devices import log_in, remove

PASSWORD = "correct horse battery"


async def entries(world: World, token: str) -> list[dict[str, Any]]:
    answer = await world.rest("GET", "/users/me/audit", token=token)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["entries"]
    return found


# With a password: bcrypt runs in threads, so the clock is the real one


async def test_logins_are_written_down_and_failed_ones_without_what_was_typed(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    with trio.fail_after(10):
        async with open_world(tmp_path, store) as world:
            anna = {"email": "anna@example.com", "password": PASSWORD}
            opened = await world.rest("POST", "/auth/register", anna)
            wrong = anna | {"password": "a wrong password"}
            assert (await world.rest("POST", "/auth/login", wrong)).status == 401
            nobody = wrong | {"email": "nobody@example.com"}
            assert (await world.rest("POST", "/auth/login", nobody)).status == 401
            logged_in = await world.rest("POST", "/auth/login", anna)
            await world.rest("POST", "/auth/logout", token=logged_in.json["accessToken"])
            shown = await entries(world, opened.json["accessToken"])
    assert [each["action"] for each in shown] == ["logout", "login", "login_failed", "register"]
    assert {each["address"] for each in shown} == {"192.0.2.1"}
    assert shown[3]["details"] == {"deviceId": opened.json["deviceId"]}
    assert shown[0]["details"] == shown[1]["details"] == {"deviceId": logged_in.json["deviceId"]}
    assert [row.action for user_id, row in store.audit if user_id is None] == ["login_failed"]
    written = str(store.audit)
    assert "wrong" not in written
    assert "@" not in written


# On a clock that nobody waits for


async def test_removed_devices_thefts_and_the_end_of_all_logins_are_written_down(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        lost, mine = await log_in(world, anna), await log_in(world, anna)
        _, stolen = await open_login(world, anna)
        assert await remove(world, mine, lost.device_id) == (200, None)
        await renewed(world, (await renewed(world, stolen)).refresh_token)
        assert (await refresh(world, stolen)).status == 401
        await world.rest("POST", "/auth/logout-all", token=mine.access)
        shown = await entries(world, world.token(anna))
        actions = [each["action"] for each in shown]
        assert actions == ["logout_all", "refresh_token_reused", "device_removed"]
        assert shown[2]["details"] == {"deviceId": str(lost.device_id)}
        assert await entries(world, world.token(await world.person("bert"))) == []


async def test_a_cursor_leads_through_all_entries_on_a_socket(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        now = world.daemon.services.now()
        for number in range(5):
            await world.store.write_audit(str(number), user_id=anna.id, address=None, at=now)
        async with world.connect(anna) as client:
            page = await client.ask("user:audit", limit=2)
            seen = page["entries"]
            while page["nextCursor"] is not None:
                page = await client.ask("user:audit", limit=2, cursor=page["nextCursor"])
                seen += page["entries"]
            assert [each["action"] for each in seen] == ["4", "3", "2", "1", "0"]
            assert await client.refusal("user:audit", cursor="x") == "validation_failed"
            assert await client.refusal("user:audit", limit=101) == "validation_failed"
