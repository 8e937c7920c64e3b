"""Mentions, as clients see them (protocol.md section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from trio.testing import MockClock

from tests.people import open_world
from tests.test_changes import UNKNOWN, fetched, pair, say


async def test_who_is_mentioned_is_told_on_every_socket_and_nobody_else(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        carol = await world.person("carol")
        await world.store.add_member(
            UUID(session_id), carol.id, role="MEMBER", at=world.daemon.services.now()
        )
        async with (
            world.connect(anna) as a,
            world.connect(bert) as b,
            world.connect(bert) as joined,
            world.connect(carol) as c,
        ):
            await joined.ask("session:join", sessionId=session_id)
            text = "Bert! " + "x" * 200
            said = await say(a, session_id, text, mentions=[str(bert.id), str(anna.id)])
            assert said["mentions"] == [str(bert.id), str(anna.id)]
            expected = {
                "type": "MENTION",
                "sessionId": session_id,
                "messageId": said["id"],
                "seq": said["seq"],
                "from": said["sender"],
                "excerpt": text[:200],
            }
            assert await b.heard("notification:new") == [expected]
            heard = await joined.heard()
            told = sorted(frame["event"] for frame in heard if frame["event"] != "user:status")
            assert told == ["message:new", "notification:new"]
            for client in (a, c):
                assert await client.heard("notification:new") == []
            assert await fetched(b, session_id) == [said]
            [line] = (await b.ask("session:list"))["sessions"]
            assert (line["mentionCount"], line["lastMessage"]) == (1, said)
            page = await b.ask("session:join", sessionId=session_id)
            assert (page["mentionCount"], page["messages"]) == (1, [said])


async def test_a_repeat_tells_nobody_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = {"mentions": "ALL", "clientMsgId": "k"}
            first = await say(a, session_id, **said)
            assert await say(a, session_id, **said) == first
            assert first["mentions"] == "ALL"
            assert len(await b.heard("notification:new")) == 1


async def test_who_is_no_member_comes_back_as_ignored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        carol = await world.person("carol")
        everyone = [str(bert.id), UNKNOWN, str(carol.id), str(bert.id)]
        said = {"sessionId": session_id, "content": "x", "mentions": everyone, "clientMsgId": "k"}
        async with world.connect(anna) as a, world.connect(carol) as c:
            for _ in range(2):
                answer = await a.ask("message:send", **said)
                assert answer["message"]["mentions"] == [str(bert.id)]
                assert answer["ignoredMentions"] == [UNKNOWN, str(carol.id)]
            plain = await a.ask("message:send", **(said | {"mentions": [], "clientMsgId": "l"}))
            assert "ignoredMentions" not in plain
            edit = {"messageId": plain["message"]["id"], "content": "y", "mentions": everyone}
            answer = await a.ask("message:edit", **edit)
            assert answer["ignoredMentions"] == [UNKNOWN, str(carol.id)]
            assert await c.heard("notification:new") == []


async def test_an_edit_tells_those_who_are_new(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = await say(a, session_id)
            await b.ask("session:join", sessionId=session_id)
            edit = {"messageId": said["id"], "content": "tee"}
            for _ in range(2):
                answer = await a.ask("message:edit", **edit, mentions=[str(bert.id)])
                assert answer["message"]["mentions"] == [str(bert.id)]
            [heard] = await b.heard("notification:new")
            assert (heard["messageId"], heard["seq"]) == (said["id"], 1)
            stale = {"messageId": said["id"], "expectedVersion": 1}
            assert await a.refusal("message:edit", **stale, content="tee", mentions="ALL") == (
                "conflict"
            )
            await a.ask("message:edit", messageId=said["id"], content="tea")
            [updated] = await b.heard("message:updated")
            assert (updated["content"], updated["mentions"]) == ("tea", [str(bert.id)])
            deleted = await a.ask("message:delete", messageId=said["id"])
            assert deleted["message"]["mentions"] == []


@pytest.mark.parametrize(
    "mentions", ["all", "SOME", [7], ["x"], 7, [UNKNOWN] * 51, {"id": UNKNOWN}, None]
)
async def test_what_names_nobody_is_refused(
    tmp_path: Path, autojump_clock: MockClock, mentions: Any
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            said = {"sessionId": session_id, "content": "x", "mentions": mentions}
            assert await a.refusal("message:send", **said) == "validation_failed"
