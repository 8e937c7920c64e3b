"""Replies, as clients see them (protocol.md section 4)."""

from __future__ import annotations

from pathlib import Path

from trio.testing import MockClock

from tests.people import open_world
from tests.test_changes import UNKNOWN, fetched, pair, say


async def test_a_reply_is_heard_and_read_with_what_it_answers(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            question = await say(a, session_id, "x" * 201)
            reply = await say(b, session_id, "yes", replyToId=question["id"])
            assert reply["replyTo"] == {
                "id": question["id"],
                "seq": 1,
                "sender": question["sender"],
                "excerpt": "x" * 200,
            }
            assert question["replyTo"] is None
            assert await b.heard("message:new") == [question, reply]
            await a.ask("message:delete", messageId=question["id"])
            [_, orphan] = await fetched(b, session_id)
            assert orphan == reply | {"replyTo": reply["replyTo"] | {"excerpt": None}}


async def test_what_cannot_be_answered_is_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        other = str(await world.session(anna))
        async with world.connect(anna) as a:
            elsewhere = await say(a, other)
            answer = {"sessionId": session_id, "content": "x"}
            for code, message_id in {
                "not_found": elsewhere["id"],
                "validation_failed": "no id",
            }.items():
                assert await a.refusal("message:send", **answer, replyToId=message_id) == code
            assert await a.refusal("message:send", **answer, replyToId=UNKNOWN) == "not_found"
            assert await fetched(a, session_id) == []


async def test_a_repeat_that_answers_another_message_is_a_conflict(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            one, two = await say(a, session_id), await say(a, session_id)
            said = {"sessionId": session_id, "content": "x", "clientMsgId": "k"}
            reply = await a.ask("message:send", **said, replyToId=one["id"])
            again = await a.ask("message:send", **said, replyToId=one["id"])
            assert again == {"message": reply["message"], "duplicate": True}
            for answered in ({}, {"replyToId": two["id"]}):
                assert await a.refusal("message:send", **said, **answered) == (
                    "idempotency_conflict"
                )
