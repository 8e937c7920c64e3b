"""The export of an account: whole, readable, and written in bounded memory."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.context import Caller
from chatd.errors import CloseCode, RateLimited, StoreUnavailable, Unauthorized, Unavailable
from chatd.events.answers import Nothing
from chatd.handlers.export import MAX_EXPORTS, export
from chatd.ids import uuid7
from chatd.rows import NewMessage, UserRow
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.testing.http import request_bytes
from tests.http_kit import Answer
from tests.people import World, open_world
from tests.test_devices import log_in

LARGE = 1500  # messages of 16,000 letters: 24 MB


async def ask(world: World, user: UserRow) -> Answer:
    return await world.rest("GET", "/users/me/export", token=world.token(user))


def files(answer: Answer) -> dict[str, Any]:
    """Return the files of an archive, JSON where they are."""
    assert answer.status == 200, answer.body
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        return {
            name: json.loads(archive.read(name)) if name.endswith(".json") else archive.read(name)
            for name in archive.namelist()
        }


@pytest.mark.threat("T109")
async def test_an_export_holds_everything_of_its_user_and_nothing_of_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        login = await log_in(world, anna, "Firefox")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = await a.ask("message:send", sessionId=session_id, content="tee")
            await b.ask(
                "message:send", sessionId=session_id, content="bert's own words", mentions="ALL"
            )
            message_id = said["message"]["id"]
            await a.ask("message:edit", messageId=message_id, content="tea")
            await a.ask("message:react", messageId=message_id, emoji="👍", on=True)
            await b.ask("message:react", messageId=message_id, emoji="🍰", on=True)
        now = world.daemon.services.now()
        await world.store.write_audit("login", user_id=anna.id, address="192.0.2.7", at=now)
        for user in (anna, bert):
            await world.store.verify_email(user.id, user.email, now)
            await world.store.account_of_identity(
                issuer="https://issuer.example",
                subject=f"subject of {user.name}",
                email=user.email,
                name=user.name,
                user_id=uuid7(),
                at=now,
            )
        answer = await ask(world, anna)
        again = await ask(world, anna)
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="chatd-export.zip"'
    found = files(answer)
    assert b"messages.json" in found.pop("README.txt")
    parts = (
        "profile",
        "devices",
        "identities",
        "bots",
        "tokens",
        "sessions",
        "messages",
        "revisions",
        "reactions",
        "mentions",
        "ai_sessions",
        "ai_messages",
        "audit",
        "files",
    )
    assert set(found) == {f"{part}.json" for part in parts}
    assert (found["profile.json"]["email"], found["profile.json"]["name"]) == (anna.email, "anna")
    assert [each["id"] for each in found["devices.json"]] == [str(login.device_id)]
    assert [each["subject"] for each in found["identities.json"]] == ["subject of anna"]
    [session] = found["sessions.json"]
    assert (session["id"], session["role"], session["leftAt"]) == (session_id, "OWNER", None)
    [message] = found["messages.json"]
    assert (message["id"], message["content"], message["version"]) == (message_id, "tea", 2)
    [revision] = found["revisions.json"]
    assert (revision["messageId"], revision["content"]) == (message_id, "tee")
    assert [set(each) for each in found["mentions.json"]] == [{"messageId"}]
    assert found["reactions.json"] == [{"messageId": message_id, "emoji": "👍"}]
    assert [each["address"] for each in found["audit.json"]] == ["192.0.2.7"]
    assert "bert" not in str(found)
    repeated = files(again)
    del repeated["README.txt"]
    assert repeated == found


async def test_an_account_that_did_nothing_has_an_export_with_empty_files(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        found = files(await ask(world, await world.person("anna")))
    assert found["messages.json"] == found["audit.json"] == found["tokens.json"] == []


async def test_an_export_names_bots_and_api_tokens_and_not_what_they_are_known_by(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        token = world.token(anna)
        made = await world.rest("POST", "/users/me/bots", {"name": "Robot"}, token=token)
        bot_id = made.json["user"]["id"]
        for more in ({}, {"botId": bot_id}):
            body = {"name": "ci", "scopes": ["read"], **more}
            answer = await world.rest("POST", "/auth/tokens", body, token=token)
            assert answer.status == 201
        found = files(await ask(world, anna))
    assert [each["id"] for each in found["bots.json"]] == [bot_id]
    assert {each["userId"] for each in found["tokens.json"]} == {bot_id, str(anna.id)}
    assert "chatd_pat_" not in str(found)


async def test_one_export_an_hour_and_not_before(tmp_path: Path, mock_clock: MockClock) -> None:
    async with open_world(tmp_path, rate_limits="on", access_token_ttl=86400) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        assert (await ask(world, anna)).status == 200
        mock_clock.jump(3599)
        refused = await ask(world, anna)
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert (await ask(world, bert)).status == 200
        mock_clock.jump(1)
        assert (await ask(world, anna)).status == 200


async def test_an_export_that_was_cut_can_be_asked_for_again_and_a_whole_one_cannot(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        anna = await world.person("anna")
        await world.session(anna)
        await fill(world, anna, 9)
        caller = Caller("r", "192.0.2.1", _identity(world, anna))
        cut = await export(world.daemon.services, caller, Nothing())
        assert await anext(cut.pieces)
        assert (await ask(world, anna)).status == 409  # under way
        await cut.pieces.aclose()
        assert files(await ask(world, anna))["messages.json"]
        assert (await ask(world, anna)).status == 429


async def test_a_cut_export_that_took_longer_than_the_interval_gives_nothing_back(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="on") as world:
        services, caller = world.daemon.services, Caller("r", "192.0.2.1")
        caller.identity = _identity(world, await world.person("anna"))
        slow = await export(services, caller, Nothing())
        mock_clock.jump(3600)
        services.exports.clear()  # as at another daemon
        later = await export(services, caller, Nothing())
        await slow.pieces.aclose()
        services.exports.clear()
        with pytest.raises(RateLimited):
            await export(services, caller, Nothing())
        await later.pieces.aclose()


@pytest.mark.parametrize("call", ["users_by_ids", "bots_of"])
async def test_an_export_that_fails_does_not_count(
    tmp_path: Path, autojump_clock: MockClock, call: str
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, rate_limits="on") as world:
        anna = await world.person("anna")
        caller = Caller("r", "192.0.2.1", _identity(world, anna))
        store.fail_next(call, StoreUnavailable("away"))
        with pytest.raises((StoreUnavailable, Unavailable)):
            async for _ in (await export(world.daemon.services, caller, Nothing())).pieces:
                pass
        assert (await ask(world, anna)).status == 200


async def test_to_ask_for_the_head_of_an_export_makes_none(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, rate_limits="on") as world:
        anna = await world.person("anna")
        store.fail_next("bots_of", StoreUnavailable("away"))
        head = await world.rest("HEAD", "/users/me/export", token=world.token(anna))
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == "application/zip"
        assert world.daemon.services.exports == set()
        with pytest.raises(StoreUnavailable):  # nobody has asked for them
            await store.bots_of(anna.id)
        assert (await ask(world, anna)).status == 200


async def test_an_export_waits_for_its_reader_and_ends_when_they_leave(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        services = world.daemon.services
        first = await export(services, Caller("r", "192.0.2.1", _identity(world, anna)), Nothing())
        refused = await ask(world, anna)
        assert (refused.status, refused.code) == (409, "conflict")
        others = {uuid7() for _ in range(MAX_EXPORTS)}
        services.exports |= others
        refused = await ask(world, await world.person("bert"))
        assert (refused.status, refused.code) == (503, "overloaded")
        services.exports -= others
        await first.pieces.aclose()
        assert services.exports == set()
        assert (await ask(world, anna)).status == 200


async def test_an_export_ends_with_the_login_that_asked_for_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        await world.session(anna)
        await fill(world, anna, 9)
        services, identity = world.daemon.services, _identity(world, anna)
        answer = await export(services, Caller("r", "192.0.2.1", identity), Nothing())
        assert await anext(answer.pieces) is not None
        services.sockets.cut_families([identity.family_id], CloseCode.REVOKED)
        with pytest.raises(Unauthorized):
            await anext(answer.pieces)
        assert services.exports == set()


async def test_a_store_that_goes_away_cuts_the_archive_so_that_it_is_seen_as_half(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        store.fail_next("own_messages", StoreUnavailable("away"))
        await world.session(anna)
        await fill(world, anna, 1)
        stream = world.stream()
        request = request_bytes(
            "GET", "/users/me/export", None, token=world.token(anna), headers=()
        )
        await stream.send_all(request)
        received = b""
        while piece := await stream.receive_some():
            received += bytes(piece)
        assert b"200 OK" in received
        assert b"\r\n0\r\n\r\n" not in received
        await wait_all_tasks_blocked()
        assert world.daemon.services.exports == set()


async def test_a_large_export_is_read_in_memory_that_stays_flat(
    tmp_path: Path, database_url: str
) -> None:
    with trio.fail_after(60):
        async with (
            open_pool(database_url, size=4) as pool,
            open_world(tmp_path, PostgresStore(pool)) as world,
        ):
            anna = await world.person("anna")
            await fill(world, anna, LARGE)
            caller = Caller("r", "192.0.2.1", _identity(world, anna))
            answer = await export(world.daemon.services, caller, Nothing())
            total = 0
            tracemalloc.start()
            try:
                async with aclosing(answer.pieces):
                    async for piece in answer.pieces:
                        total += len(piece)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert total > LARGE * 8000  # random digits: deflate halves them
    assert peak < 12_000_000  # of two pages; the whole is twice that, and more in Python


async def fill(world: World, user: UserRow, count: int) -> None:
    """Store messages that do not shrink."""
    session_id = await world.session(user)
    for start in range(0, count, 100):
        batch = [_long(world, session_id, user) for _ in range(min(100, count - start))]
        await world.store.append_messages(batch)


def _long(world: World, session_id: UUID, user: UserRow) -> NewMessage:
    content = os.urandom(8000).hex()
    return NewMessage(uuid7(), session_id, user.id, content, world.daemon.services.now())


def _identity(world: World, user: UserRow) -> Any:
    services = world.daemon.services
    return services.tokens.verify(world.token(user), services.now())
