"""What becomes of conversations with their user's account, and of slow sockets."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.ai_rows import Usage
from chatd.contract.assistant import Ending
from chatd.errors import CloseCode, StoreUnavailable
from chatd.ids import bot_id, uuid7
from chatd.nurseries.generation import Generation
from chatd.rows import UserRow
from chatd.units import slice_units, units_in
from tests.assistant.model import ask, converse, open_ai_world, open_talk
from tests.http_kit import Answer
from tests.people import World


async def leave(world: World, user: UserRow) -> Answer:
    """End an account as its owner does, who has signed in elsewhere just now: no bcrypt thread."""
    family_id = uuid7()
    await world.store.open_family(
        family_id=family_id,
        user_id=user.id,
        device_id=uuid7(),
        device_name="a phone",
        address="192.0.2.1",
        token_hash=family_id.bytes,
        at=world.server.now,
        expires_at=world.server.now + timedelta(days=1),
    )
    token = world.token(user, family_id)
    return await world.rest("DELETE", "/users/me", {"messages": "KEEP_ANONYMOUS"}, token=token)


async def test_an_account_that_ends_ends_its_answers_at_once_and_nothing_is_kept(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_titles="on") as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        tea = await world.session(anna, bert)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=str(tea))
            _, call = await ask(a, model, await converse(a))
            await call.say("So ")
            await a.ask("message:send", sessionId=str(tea), content="@ai?")
            other = await model.called()
            await other.say("Oh ")
            assert (await leave(world, anna)).status == 202
            assert await a.closed() == CloseCode.REVOKED.code
            names = {frame.get("event") for frame in a.waiting}
            assert names.isdisjoint({"ai:done", "ai:error"})
            assert [each["partial"] for each in await b.heard("ai:error")] == [""]  # an end
        assert call.closed_at == other.closed_at == 0.0
        assert await world.store.ai_sessions(anna.id, before=None, limit=9) == []
        page = await world.store.history(tea, bert.id)
        assert page is not None
        assert [row.content for row in page.messages] == ["@ai?"]
        assert await world.store.ai_tokens(anna.id, world.server.now.date()) == 0


@pytest.mark.parametrize("way", ["removed", "with its owner"])
async def test_a_bot_that_ends_ends_its_answers(
    tmp_path: Path, mock_clock: MockClock, way: str
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna = await world.person("anna")
        bot = await world.store.insert_bot(
            user_id=bot_id(), owner_id=anna.id, name="bot", created_at=world.server.now, limit=1
        )
        assert bot is not None
        async with world.connect(bot) as b:
            _, call = await ask(b, model, await converse(b))
            if way == "removed":
                path = f"/users/me/bots/{bot.id}"
                answer = await world.rest("DELETE", path, token=world.token(anna))
            else:
                answer = await leave(world, anna)
            assert answer.status == 202
            assert call.closed_at == 0.0


async def test_a_title_under_way_ends_with_its_conversation_and_its_account(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path, ai_titles="on") as (world, model):
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            talks = [await converse(a) for _ in range(3)]
            titles = []
            for talk in talks:
                _, call = await ask(a, model, talk)
                await call.finish("So.")
                titles.append(await model.called())
            assert not any(each.is_closed for each in titles)
            await a.ask("ai:delete", aiSessionId=talks[0])
            await wait_all_tasks_blocked()
            assert [each.is_closed for each in titles] == [True, False, False]
            mock_clock.jump(10)
            await wait_all_tasks_blocked()
            assert all(each.is_closed for each in titles)


async def test_an_export_holds_conversations_in_their_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_ai_world(tmp_path) as (world, model):
        anna, bert = await world.person("anna"), await world.person("bert")
        async with world.connect(anna) as a, world.connect(bert) as b:
            talk = await converse(a, title="Tea", systemPrompt="Be brief.")
            for number in range(3):
                _, call = await ask(a, model, talk, f"{number}?")
                await call.finish(f"{number}.")
            await converse(b, title="Of bert")
        answer = await world.rest("GET", "/users/me/export", token=world.token(anna))
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            conversations = json.loads(archive.read("ai_sessions.json"))
            messages = json.loads(archive.read("ai_messages.json"))
        assert [(each["id"], each["title"]) for each in conversations] == [(talk, "Tea")]
        assert conversations[0]["systemPrompt"] == "Be brief."
        said = [each["content"] for each in messages]
        assert said == ["0?", "0.", "1?", "1.", "2?", "2."]


class SlowSocket:
    """A listener that takes what is ephemeral only when it has room."""

    def __init__(self) -> None:
        self.has_room = True
        self.frames: list[tuple[str, dict[str, Any]]] = []

    def push(self, name: str, data: bytes) -> None:
        self.frames.append((name, json.loads(data)))

    def push_ephemeral(self, name: str, data: bytes) -> bool:
        if self.has_room:
            self.push(name, data)
        return self.has_room


def generation() -> Generation:
    return Generation(uuid7(), uuid7(), "m", max_chars=1000, ai_session_id=uuid7())


async def test_what_a_slow_socket_does_not_take_comes_with_the_next_piece() -> None:
    answer, slow, quick = generation(), SlowSocket(), SlowSocket()
    answer.watch(slow, 0)
    answer.watch(quick, 0)
    for text, has_room in (("a🐈", True), ("b", False), ("c", False), ("d", True)):
        slow.has_room = has_room
        answer.add(text)
        answer.flush()
    told = [(data["index"], data["text"]) for _, data in slow.frames]
    assert told == [(0, "a🐈"), (3, "bcd")]
    assert [data["text"] for _, data in quick.frames] == ["a🐈", "b", "c", "d"]
    answer.add("e")
    slow.has_room = False
    answer.finish(Ending("COMPLETE", "stop", None, Usage(1, 1)))
    assert slow.frames[-1][0] == "ai:done"
    assert slow.frames[-1][1]["content"] == "a🐈bcde"


async def test_who_watches_an_answer_that_has_ended_hears_its_end() -> None:
    answer, late = generation(), SlowSocket()
    answer.add("So.")
    answer.finish(Ending("COMPLETE", "stop", None, Usage(1, 1)))
    answer.watch(late, 0)
    assert [name for name, _ in late.frames] == ["ai:done"]
    answer.stop()
    assert answer.reason is None


@pytest.mark.parametrize(
    ("text", "index", "rest", "start"),
    [
        ("abc", 1, "bc", 1),
        ("abc", 9, "", 3),
        ("a🐈b", 1, "🐈b", 1),
        ("a🐈b", 2, "🐈b", 1),
        ("a🐈b", 3, "b", 3),
        ("a🐈b", 9, "", 4),
        ("äö", 1, "ö", 1),
        ("", 0, "", 0),
    ],
)
def test_an_index_counts_as_javascript_does_and_never_stands_in_a_pair(
    text: str, index: int, rest: str, start: int
) -> None:
    assert slice_units(text, index) == (rest, start)
    assert units_in(text) == len(text.encode("utf-16-le")) // 2


async def test_the_budget_is_refused_while_the_store_is_away(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_talk(tmp_path) as (world, model, a, talk):
        store: Any = world.server.store
        store.fail_next("ai_tokens", StoreUnavailable("away"))
        assert await a.refusal("ai:send", aiSessionId=talk, content="Why?") == "unavailable"
        assert not model.calls
        await ask(a, model, talk)
