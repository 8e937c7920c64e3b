"""The end of an account, as those see it who stay (protocol.md section 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.contract import Store
from chatd.errors import CloseCode, StoreAmbiguous, StoreUnavailable
from chatd.nurseries.erasing import BATCH, RETRY_PAUSE
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from tests.http_kit import Answer
from tests.people import Client, World, open_world

PASSWORD = "correct horse battery"


async def begin(world: World, user: UserRow, *, deletes: bool) -> None:
    """End an account as the operation does behind the password, which would take a thread."""
    at = world.daemon.services.now()
    await world.store.begin_erasure(user.id, deletes_messages=deletes, at=at)
    world.daemon.services.erasures.wake()


async def quiet(world: World) -> None:
    """Wait until nothing is left to erase; the store answers on a mock clock."""
    while await world.store.open_erasures(1):  # noqa: ASYNC110 - the daemon tells nobody
        await trio.sleep(1)
    await wait_all_tasks_blocked()


async def say(client: Client, session_id: str, content: str) -> str:
    answer = await client.ask("message:send", sessionId=session_id, content=content)
    message_id: str = answer["message"]["id"]
    return message_id


async def history(client: Client, session_id: str) -> list[dict[str, Any]]:
    page = await client.ask("message:history", sessionId=session_id)
    messages: list[dict[str, Any]] = page["messages"]
    return messages


@pytest.mark.threat("T109")
async def test_those_who_stay_see_a_nameless_user_leave_and_the_words_stay(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=tea)
            await say(a, tea, "tea?")
            message_id = await say(b, tea, "yes")
            await a.ask("message:react", messageId=message_id, emoji="👍", on=True)
            await b.heard()
            await begin(world, anna, deletes=False)
            await quiet(world)
            frames = [
                (frame["event"], frame["data"])
                for frame in await b.heard()
                if frame["event"] != "user:status"
            ]
            assert [name for name, _ in frames] == [
                "user:updated",
                "member:updated",
                "member:left",
                "message:updated",
            ]
            (_, updated), (_, joined), (_, left), (_, message) = frames
            assert updated["user"]["name"] == "Deleted user"
            assert (joined["member"]["user"]["id"], joined["member"]["role"]) == (
                str(bert.id),
                "OWNER",
            )
            assert (left["userId"], left["seq"]) == (str(anna.id), joined["seq"] + 1)
            assert (message["id"], message["seq"]) == (message_id, left["seq"] + 1)
            assert message["message"]["reactions"] == []
            words = await history(b, tea)
            assert [each["content"] for each in words] == ["tea?", "yes"]
            assert words[0]["sender"]["id"] == str(anna.id)
            assert words[0]["sender"]["name"] == "Deleted user"
            assert "anna" not in str(words)


async def test_deleted_words_are_told_one_by_one_in_batches_that_others_pass(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, MemoryStore(latency=0.01)) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = str(await world.session(anna, bert))
        count = 2 * BATCH + 1
        async with world.connect(bert) as b:
            async with world.connect(anna) as a:
                for number in range(count):
                    await say(a, tea, str(number))
            await b.ask("session:join", sessionId=tea)
            await begin(world, anna, deletes=True)
            await b.event("message:deleted")
            await say(b, tea, "in between")
            await quiet(world)
            frames = [frame for frame in await b.heard() if "seq" in frame["data"]]
            seqs = [frame["data"]["seq"] for frame in frames]
            assert seqs == sorted(seqs)
            places = [frame["event"] for frame in frames]
            assert 0 < places.index("message:new") < len(places) - 1
            assert places.count("message:deleted") == count - 1
            page = await b.ask("message:history", sessionId=tea, limit=100)
            assert {each["content"] for each in page["messages"]} == {"", "in between"}


async def test_a_direct_session_stays_for_the_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        both = str(await world.session(anna, bert, kind="DIRECT"))
        async with world.connect(bert) as b:
            async with world.connect(anna) as a:
                await say(a, both, "hello")
            await begin(world, anna, deletes=False)
            await quiet(world)
            [line] = (await b.ask("session:list"))["sessions"]
            assert (line["id"], line["memberCount"]) == (both, 2)
            await say(b, both, "are you there?")
            assert len(await history(b, both)) == 2


async def test_an_erasure_that_a_stop_or_an_outage_cut_short_is_finished_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a:
            for number in range(BATCH + 1):
                await say(a, str(tea), str(number))
        store.fail_next("next_erasable", StoreUnavailable("away"))
        with capture_logs() as logs:
            await begin(world, anna, deletes=True)
            await wait_all_tasks_blocked()
        assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
            "erasure waits"
        ]
        before = await left(store, world, bert)
        assert before == BATCH + 1
        store.fail_next("finish_erasure", StoreUnavailable("away"), times=100)
        await trio.sleep(RETRY_PAUSE + 1)
        await wait_all_tasks_blocked()
        assert await left(store, world, bert) == 0
        heads = await store.heads([tea])
    store._faults.clear()
    assert len(await store.open_erasures(9)) == 1
    async with open_world(tmp_path, store) as world:
        await quiet(world)
        assert await store.heads([tea]) == heads


async def left(store: Store, world: World, reader: UserRow) -> int:
    """Return how many words are left in the reader's one session."""
    [line] = await store.list_sessions(reader.id, before=None, limit=2)
    page = await store.history(line.session.id, reader.id, limit=100)
    assert page is not None
    return sum(row.content != "" for row in page.messages)


# With a password: bcrypt runs in threads, so the clock is the real one


async def leave(world: World, token: str, **body: Any) -> Answer:
    fields = {"password": PASSWORD, "messages": "KEEP_ANONYMOUS"} | body
    return await world.rest("DELETE", "/users/me", fields, token=token)


@pytest.mark.threat("T68", "T109")
async def test_with_the_password_an_account_ends_at_once_and_its_address_is_free(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    account = {"email": "anna@example.com", "password": PASSWORD}
    with trio.fail_after(10):
        async with open_world(tmp_path, store) as world:
            opened = (await world.rest("POST", "/auth/register", account)).json
            token = opened["accessToken"]
            async with world.socket(token) as socket:
                await socket.event("connection:ready")
                refused = await leave(world, token, password="wrong")
                assert (refused.status, refused.code) == (403, "forbidden")
                refused = await leave(world, token, messages="ALL")
                assert (refused.status, refused.code) == (422, "validation_failed")
                store.fail_next("begin_erasure", StoreAmbiguous("lost"))
                assert (await leave(world, token)).status == 202
                assert await socket.closed() == CloseCode.REVOKED.code
            assert (await leave(world, token)).status == 401
            refresh = {"refreshToken": opened["refreshToken"]}
            assert (await world.rest("POST", "/auth/refresh", refresh)).status == 401
            assert (await world.rest("POST", "/auth/login", account)).status == 401
            again = await world.rest("POST", "/auth/register", account)
            assert again.status == 201
            assert again.json["user"]["id"] != opened["user"]["id"]
        async with open_world(tmp_path, store) as world:
            assert (await world.rest("GET", "/auth/me", token=token)).status == 401


@pytest.mark.parametrize("query", ["?password=secret&messages=DELETE", ""])
async def test_a_password_is_not_taken_from_the_url(
    query: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        token = world.token(await world.person("anna"))
        answer = await world.rest("DELETE", f"/users/me{query}", token=token)
        assert (answer.status, answer.code) == (422, "validation_failed")
