"""Encryption at rest as people and operators meet it."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from chatd.config import Settings, SettingsError
from chatd.errors import StoreUnavailable
from chatd.events.messages import HistoryAnswer
from chatd.keyring import MARK, load_keyring
from chatd.nurseries import resealing
from chatd.nurseries.daemon import open_daemon, wall_clock
from chatd.store.contents import Contents
from chatd.store.memory import MemoryStore
from tests.people import World, open_world
from tests.store.kit import gather, say, sign_up
from tests.test_export import ask as ask_export
from tests.test_export import files

KEY1 = "k1:" + base64.b64encode(os.urandom(32)).decode()
KEY2 = "k2:" + base64.b64encode(os.urandom(32)).decode()


def with_keys(store: MemoryStore, *keys: str) -> dict[str, Any]:
    """Give a store the keys that a daemon with the returned settings has."""
    settings = Settings(encryption_keys=keys, environment="development")
    store._contents = Contents(load_keyring(settings))
    return {"store": store, "encryption_keys": keys}


def sealed_of(store: MemoryStore) -> set[str]:
    """Return the key ids that messages are stored with, "" for those in plain text."""
    contents = [message.content for _, message in store._by_id.values()]
    return {text[2:4] if text.startswith(MARK) else "" for text in contents}


async def searchable(world: World) -> bool:
    is_on: bool = (await world.rest("GET", "/config.json")).json["search"]
    return is_on


async def test_people_see_what_was_said_and_the_table_does_not(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, **with_keys(store, KEY1)) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = (await a.ask("message:send", sessionId=session_id, content="tee"))["message"]
            reply = {"sessionId": session_id, "content": "yes", "replyToId": said["id"]}
            await a.ask("message:send", **reply, clientMsgId="1")
            again = await a.ask("message:send", **reply, clientMsgId="1")
            assert again["duplicate"] is True
            assert again["message"]["replyTo"]["excerpt"] == "tee"
            await a.ask("message:edit", messageId=said["id"], content="tea")
            assert (await b.event("message:new"))["content"] == "tee"
            assert (await b.event("message:new"))["replyTo"]["excerpt"] == "tee"
            assert (await b.event("message:updated"))["content"] == "tea"
            page = await b.ask("message:history", sessionId=session_id)
            assert [each["content"] for each in page["messages"]] == ["tea", "yes"]
            assert "unreadable" not in page["messages"][0]
            revisions = await b.ask("message:revisions", messageId=said["id"])
            assert [each["content"] for each in revisions["revisions"]] == ["tee"]
            lines = (await b.ask("session:list"))["sessions"]
            assert lines[0]["lastMessage"]["content"] == "yes"
        export = files(await ask_export(world, anna))
        assert [row["content"] for row in export["messages.json"]] == ["tea", "yes"]
        assert [row["content"] for row in export["revisions.json"]] == ["tee"]
        assert sealed_of(store) == {"k1"}


async def test_search_says_that_it_is_off_and_the_features_say_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, **with_keys(store, KEY1)) as world:
        anna = await world.person("anna")
        answer = await world.rest("GET", "/chat/search?q=tea", token=world.token(anna))
        assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
        assert "encrypted at rest" in answer.json["error"]["message"]
        assert answer.json["error"]["retryable"] is False
        assert not await searchable(world)
    async with open_world(tmp_path) as world:
        assert await searchable(world)


async def test_a_message_that_does_not_decrypt_is_marked_and_takes_nothing_else_down(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, **with_keys(store, KEY1)) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as a:
            texts = ("first", "second", "third")
            first, second, _ = [
                (await a.ask("message:send", sessionId=session_id, content=text))["message"]
                for text in texts
            ]
            rows = [message for _, message in store._by_id.values()]
            rows[1].content = rows[0].content  # copied to another row
            with structlog.testing.capture_logs() as logged:
                page = await a.ask("message:history", sessionId=session_id)
                assert [each["content"] for each in page["messages"]] == ["first", "", "third"]
                assert [each.get("unreadable") for each in page["messages"]] == [None, True, None]
                HistoryAnswer.model_validate(page)
                await a.ask("message:edit", messageId=second["id"], content="new")
                revisions = await a.ask("message:revisions", messageId=second["id"])
                assert [each["unreadable"] for each in revisions["revisions"]] == [True]
                export = files(await ask_export(world, anna))
                assert [row.get("unreadable") for row in export["revisions.json"]] == [True]
            errors = [line for line in logged if line["log_level"] == "error"]
            assert [line["message"] for line in errors] == [second["id"]]
            assert first["content"] == "first"
        metrics = world.server.daemon.services.metrics.render().decode()
        [line] = [x for x in metrics.splitlines() if x.startswith("chatd_unreadable_texts ")]
        assert float(line.split()[1]) >= 3


async def test_stored_messages_are_encrypted_behind_the_start_and_decrypted_when_it_is_turned_off(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store=store) as world:
        alice = await sign_up(store, "Alice")
        tea = await gather(store, alice)
        said = await say(store, tea, alice, *(f"tea {n}" for n in range(500)))
        assert sealed_of(store) == {""}
    for keys, name in (((KEY1,), "k1"), ((KEY2, KEY1), "k2"), (("plain", KEY2), "")):
        async with open_world(tmp_path, **with_keys(store, *keys)) as world:
            assert not await searchable(world)
            await trio.sleep(60)
            assert sealed_of(store) == {name}
            assert await searchable(world) == (name == "")
            page = await store.history(tea, alice, limit=500)
            assert page is not None
            assert page.messages == said
    async with open_world(tmp_path, **with_keys(store)) as world:
        assert await searchable(world)


async def test_a_store_that_is_away_or_full_only_delays_the_walk(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    alice = await sign_up(store, "Alice")
    await say(store, await gather(store, alice), alice, "tea")
    is_writable = False
    store.fail_next("reseal_messages", StoreUnavailable("away"), times=2)
    settings = Settings(
        data_dir=tmp_path,
        environment="development",
        encryption_keys=with_keys(store, KEY1)["encryption_keys"],
    )
    async with open_daemon(settings, store, now=wall_clock, is_writable=lambda: is_writable):
        await trio.sleep(600)
        assert sealed_of(store) == {""}
        assert store.calls["reseal_messages"] == 0
        is_writable = True
        await trio.sleep(6 * resealing.RETRY_PAUSE)  # is it writable, and two failures
        assert sealed_of(store) == {"k1"}


async def test_a_walk_that_was_stopped_goes_on_at_the_next_start(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "BATCH", 1)
    store = MemoryStore(latency=1.0)
    alice = await sign_up(store, "Alice")
    # So many that a stop in their midst is one: that takes some seconds, too.
    await say(store, await gather(store, alice), alice, *(f"text {n}" for n in range(100)))
    async with open_world(tmp_path, **with_keys(store, KEY1)):
        while store.calls["reseal_messages"] < 2:  # noqa: ASYNC110 - the twin tells no event
            await trio.sleep(0.5)
    assert sealed_of(store) == {"", "k1"}
    before = store.calls["reseal_messages"]
    store.latency = 1.0
    async with open_world(tmp_path, **with_keys(store, KEY1)):
        await trio.sleep(1200)
    assert sealed_of(store) == {"k1"}
    assert before >= 1


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ((), "the key 'k1' is missing"),
        ((KEY2,), "the key 'k1' is missing"),
        (("plain", KEY2), "the key 'k1' is missing"),
        (("k1:" + KEY2[3:],), "the key 'k1' is not the one"),
        ((KEY2, "k1:" + base64.b64encode(os.urandom(32)).decode()), "the key 'k1' is not the one"),
    ],
)
async def test_the_daemon_does_not_start_without_a_key_that_messages_need(
    tmp_path: Path, autojump_clock: MockClock, keys: tuple[str, ...], sentence: str
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, **with_keys(store, KEY1)) as world:
        await world.person("anna")
    settings = Settings(data_dir=tmp_path, environment="development", encryption_keys=keys)
    with_keys(store, *keys)
    with pytest.raises(SettingsError, match=sentence) as refusal:
        async with open_daemon(settings, store, now=wall_clock):
            raise AssertionError  # pragma: no cover - it did start
    assert "chatd encryption" in str(refusal.value) or "another name" in str(refusal.value)
    assert KEY2[3:] not in str(refusal.value)


async def test_a_key_that_was_given_up_is_not_asked_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, **with_keys(store, KEY1)):
        pass
    assert await store.give_up_key("k1", wall_clock())
    async with open_world(tmp_path, **with_keys(store, KEY2)) as world:
        assert (await world.rest("GET", "/config.json")).status == 200
