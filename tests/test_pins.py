"""Pins and earlier texts, as clients see them (protocol.md section 4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from trio.testing import MockClock

from chatd.rows import Role
from chatd.store.memory import MemoryStore
from tests.people import open_world
from tests.test_changes import UNKNOWN, fetched, pair, say, with_role


async def test_a_pin_is_heard_read_and_taken_off(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = await say(b, session_id)
            await b.ask("session:join", sessionId=session_id)
            answer = await a.ask("message:pin", messageId=said["id"], on=True)
            pinned = answer["message"]
            assert pinned["pinnedBy"] == str(anna.id)
            assert await b.heard("message:pinned") == [
                {
                    "id": said["id"],
                    "sessionId": session_id,
                    "seq": 2,
                    "pinnedAt": pinned["pinnedAt"],
                    "pinnedBy": str(anna.id),
                    "on": True,
                }
            ]
            assert await fetched(b, session_id) == [pinned]
            assert await b.ask("message:pins", sessionId=session_id) == {"messages": [pinned]}
            since = {"epoch": (await a.ask("session:join", sessionId=session_id))["epoch"]}
            back = await b.ask("session:join", sessionId=session_id, since={"seq": 1} | since)
            assert (back["recovered"], back["messages"]) == (True, [pinned])

            assert await a.ask("message:pin", messageId=said["id"], on=True) == answer
            await a.ask("message:pin", messageId=said["id"], on=False)
            [off] = await b.heard("message:pinned")
            assert (off["seq"], off["on"], off["pinnedAt"], off["pinnedBy"]) == (
                3, False, None, None,
            )  # fmt: skip
            assert await b.ask("message:pins", sessionId=session_id) == {"messages": []}


async def test_a_pin_by_rest(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        token = world.token(anna)
        async with world.connect(anna) as a:
            said = await say(a, session_id)
            path = f"/chat/messages/{said['id']}"
            answer = await world.rest("POST", path + "/pin", {"on": True}, token=token)
            assert (answer.status, answer.json["message"]["pinnedBy"]) == (200, str(anna.id))
            pins = await world.rest("GET", f"/chat/sessions/{session_id}/pins", token=token)
            assert pins.json == {"messages": [answer.json["message"]]}
            page = await world.rest("GET", path + "/revisions?limit=1", token=token)
            assert page.json == {"messageId": said["id"], "revisions": [], "hasMore": False}


@pytest.mark.parametrize(
    ("role", "code"),
    [("OWNER", None), ("ADMIN", None), ("MEMBER", "forbidden"), ("READ_ONLY", "forbidden")],
)
async def test_in_a_group_who_leads_it_pins(
    tmp_path: Path, autojump_clock: MockClock, role: Role, code: str | None
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        someone = await with_role(world, session_id, role)
        async with world.connect(anna) as a, world.connect(someone) as s:
            said = {"messageId": (await say(a, session_id))["id"]}
            if code is None:
                await s.ask("message:pin", **said, on=True)
            else:
                assert await s.refusal("message:pin", **said, on=True) == code


async def test_in_a_direct_session_both_pin(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert, kind="DIRECT"))
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = await say(a, session_id)
            for client in (a, b):
                for is_on in (True, False):
                    await client.ask("message:pin", messageId=said["id"], on=is_on)


async def test_what_cannot_be_pinned_is_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, rate_limits="off") as world:
        anna, bert, session_id = await pair(world)
        other = str(await world.session(bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            hidden = await say(b, other)
            gone = await say(a, session_id)
            await a.ask("message:delete", messageId=gone["id"])
            said = [await say(a, session_id) for _ in range(51)]
            for message in said[:50]:
                await a.ask("message:pin", messageId=message["id"], on=True)
            for message_id, code in (
                (UNKNOWN, "not_found"),
                (hidden["id"], "not_found"),
                (gone["id"], "conflict"),
                (said[50]["id"], "conflict"),
                ("no id", "validation_failed"),
            ):
                assert await a.refusal("message:pin", messageId=message_id, on=True) == code
            assert await a.refusal("message:pin", messageId=UNKNOWN, on="yes") == (
                "validation_failed"
            )
            assert await a.refusal("message:pins", sessionId=other) == "not_a_member"
            assert await a.refusal("message:revisions", messageId=hidden["id"]) == "not_found"


async def test_earlier_texts_are_paged_by_version(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = {"messageId": (await say(a, session_id, "one"))["id"]}
            for text in ("two", "three"):
                await a.ask("message:edit", **said, content=text)
            page = await b.ask("message:revisions", **said, limit=1)
            assert [(row["version"], row["content"]) for row in page["revisions"]] == [(2, "two")]
            assert page["hasMore"]
            page = await b.ask("message:revisions", **said, beforeVersion=2)
            assert [(row["version"], row["content"]) for row in page["revisions"]] == [(1, "one")]
            assert not page["hasMore"]
            await a.ask("message:delete", **said)
            assert (await b.ask("message:revisions", **said))["revisions"] == []
