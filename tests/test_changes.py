"""Messages that change: edits, tombstones, reactions (protocol.md section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock

from chatd.errors import StoreAmbiguous
from chatd.events.messages import MessageAnswer
from chatd.rows import Role, UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world

UNKNOWN = "0190a000-0000-7000-8000-000000000000"
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("message:edit", {"content": "tea"}),
    ("message:delete", {}),
    ("message:react", {"emoji": "👍", "on": True}),
]


async def pair(world: World) -> tuple[UserRow, UserRow, str]:
    anna, bert = await world.person("anna"), await world.person("bert")
    return anna, bert, str(await world.session(anna, bert))


async def say(client: Client, session_id: str, content: str = "tee", **more: Any) -> dict[str, Any]:
    """Send a message and return it."""
    answer = await client.ask("message:send", sessionId=session_id, content=content, **more)
    message: dict[str, Any] = answer["message"]
    return message


async def fetched(client: Client, session_id: str) -> list[dict[str, Any]]:
    """Return the newest page of history."""
    page = await client.ask("message:history", sessionId=session_id)
    messages: list[dict[str, Any]] = page["messages"]
    return messages


async def with_role(world: World, session_id: str, role: Role) -> UserRow:
    """Return a new person who has this role in a session."""
    user = await world.person(f"the {role.lower()}")
    now = world.daemon.services.now()
    await world.store.add_member(UUID(session_id), user.id, role=role, at=now)
    return user


# Edit


async def test_an_edit_is_heard_by_all_who_joined_and_read_by_who_comes_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(a, session_id)
            answer = await a.ask("message:edit", messageId=said["id"], content=" tea ")
            [heard] = await b.heard("message:updated")
            edited_at = answer["message"]["editedAt"]
            assert heard == {
                "id": said["id"],
                "sessionId": session_id,
                "seq": 2,
                "version": 2,
                "content": "tea",
                "mentions": [],
                "editedAt": edited_at,
            }
            changed = {"content": "tea", "version": 2, "changedSeq": 2, "editedAt": edited_at}
            edited = answer["message"]
            assert {name: edited[name] for name in said | changed} == said | changed
            assert await fetched(b, session_id) == [edited]
            joined = await a.ask("session:join", sessionId=session_id)
            assert (joined["messages"], joined["seq"]) == ([edited], 2)
            [line] = (await b.ask("session:list"))["sessions"]
            assert (line["lastMessage"], line["unreadCount"]) == (edited, 1)


async def test_an_edit_by_rest_is_answered_and_heard(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(b, session_id)
            path, token = f"/chat/messages/{said['id']}", world.token(bert)
            answer = await world.rest("PATCH", path, {"content": "tea"}, token=token)
            assert answer.status == 200
            assert MessageAnswer.model_validate(answer.json).message.content == "tea"
            [heard] = await b.heard("message:updated")
            assert (heard["seq"], heard["content"]) == (2, "tea")
            refused = await world.rest("PATCH", path, {"content": "no"}, token=world.token(anna))
            assert (refused.status, refused.json["error"]["code"]) == (403, "forbidden")


async def test_the_same_text_changes_nothing_whatever_version_was_expected(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            joined = await a.ask("session:join", sessionId=session_id)
            said = await say(a, session_id)
            for version in ({}, {"expectedVersion": 1}, {"expectedVersion": 7}):
                same = {"messageId": said["id"], "content": "tee"} | version
                assert (await a.ask("message:edit", **same))["message"] == said
            assert await a.heard("message:updated") == []
            assert (await a.ask("session:join", sessionId=session_id))["seq"] == joined["seq"] + 1


async def test_an_edit_of_a_text_that_was_edited_meanwhile_is_a_conflict(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(anna) as other:
            said = await say(a, session_id)
            edit = {"messageId": said["id"], "expectedVersion": 1}
            await a.ask("message:edit", **edit, content="tea")
            frame = await other.answer(await other.emit("message:edit", **edit, content="coffee"))
            error = frame["error"]
            assert (error["code"], error["details"]) == ("conflict", {"version": 2})
            [message] = await fetched(a, session_id)
            assert message["content"] == "tea"
            edit["expectedVersion"] = 2
            answer = await other.ask("message:edit", **edit, content="coffee")
            assert answer["message"]["version"] == 3


@pytest.mark.parametrize(
    "data",
    [
        {"content": " "},
        {"content": "x" * 16_385},
        {"content": "\ufb2c" * 16_384},  # NFC makes three characters of it
        {"content": "tea", "expectedVersion": 0},
        {"content": "tea", "expectedVersion": "1"},
        {"content": "tea", "messageId": "not an id"},
        {},
    ],
)
async def test_what_is_no_edit_is_refused(
    tmp_path: Path, autojump_clock: MockClock, data: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            said = await say(a, session_id)
            edit = {"messageId": said["id"]} | data
            assert await a.refusal("message:edit", **edit) == "validation_failed"
            assert await fetched(a, session_id) == [said]


async def test_a_repeated_send_answers_the_edited_message_and_not_a_conflict(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        elsewhere = str(await world.session(anna, bert))
        async with world.connect(anna) as a:
            said = await say(a, session_id, clientMsgId="k")
            edited = await a.ask("message:edit", messageId=said["id"], content="tea")
            repeat = {"content": "tee", "clientMsgId": "k"}
            answer = await a.ask("message:send", sessionId=session_id, **repeat)
            assert answer == {"message": edited["message"], "duplicate": True}
            code = await a.refusal("message:send", sessionId=elsewhere, **repeat)
            assert code == "idempotency_conflict"


async def test_an_edit_whose_commit_was_lost_is_answered_and_read_by_the_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(a, session_id)
            store.fail_next("edit_message", StoreAmbiguous("lost"))
            edit = {"messageId": said["id"], "content": "tea", "expectedVersion": 1}
            answer = await a.ask("message:edit", **edit)
            assert answer["message"]["version"] == 2
            await say(a, session_id, "next")  # its seq shows the room what it has not heard
            heard = await b.event("message:updated")
            assert (heard["seq"], heard["content"]) == (2, "tea")
            assert heard["message"] == answer["message"]
            assert (await b.event("message:new"))["seq"] == 3


# Delete


async def test_a_deleted_message_is_heard_and_stays_as_a_tombstone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(a, session_id, "secret")
            await a.ask("message:edit", messageId=said["id"], content="more secret")
            await b.heard()
            answer = await a.ask("message:delete", messageId=said["id"])
            [heard] = await b.heard("message:deleted")
            tombstone = answer["message"]
            assert heard == {
                "id": said["id"],
                "sessionId": session_id,
                "seq": 3,
                "deletedAt": tombstone["deletedAt"],
                "deletedBy": str(anna.id),
            }
            assert (tombstone["content"], tombstone["seq"], tombstone["changedSeq"]) == ("", 1, 3)
            assert await fetched(b, session_id) == [tombstone]
            joined = await a.ask("session:join", sessionId=session_id)
            assert joined["messages"] == [tombstone]
            [line] = (await b.ask("session:list"))["sessions"]
            assert (line["lastMessage"], line["unreadCount"]) == (tombstone, 0)


async def test_a_message_is_deleted_once_by_rest_or_socket(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(b, session_id)
            path = f"/chat/messages/{said['id']}"
            first = await world.rest("DELETE", path, token=world.token(anna))
            assert first.status == 200
            assert first.json["message"]["deletedBy"] == str(anna.id)
            assert await b.ask("message:delete", messageId=said["id"]) == first.json
            assert len(await b.heard("message:deleted")) == 1
            edit = {"messageId": said["id"], "content": "tea"}
            assert await b.refusal("message:edit", **edit) == "conflict"


async def test_who_comes_back_is_told_of_edits_and_deletions_as_they_are_now(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a:
            old = [await say(a, session_id, text) for text in ("one", "two", "three")]
            async with world.connect(bert) as b:
                joined = await b.ask("session:join", sessionId=session_id)
            await a.ask("message:delete", messageId=old[0]["id"])
            await a.ask("message:edit", messageId=old[1]["id"], content="2")
            new = await say(a, session_id, "four")
            await a.ask("message:edit", messageId=new["id"], content="4")
            gone = await say(a, session_id, "five")
            await a.ask("message:delete", messageId=gone["id"])
            async with world.connect(bert) as b:
                since = {"epoch": joined["epoch"], "seq": joined["seq"]}
                back = await b.ask("session:join", sessionId=session_id, since=since)
                assert back["recovered"]
                missed = [(m["seq"], m["changedSeq"], m["content"]) for m in back["messages"]]
                assert missed == [(1, 4, ""), (2, 5, "2"), (6, 7, "4"), (8, 9, "")]
                page = await fetched(b, session_id)
                assert [m["content"] for m in page] == ["", "2", "three", "4", ""]


# React


async def test_a_reaction_is_heard_with_its_count_and_read_with_the_message(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=session_id)
            said = await say(a, session_id)
            react = {"messageId": said["id"], "emoji": "👍", "on": True}
            await a.ask("message:react", **react)
            answer = await b.ask("message:react", **react)
            both = [str(anna.id), str(bert.id)]
            _, heard = await a.heard("message:reaction")
            assert heard == {
                "messageId": said["id"],
                "sessionId": session_id,
                "seq": 3,
                "emoji": "👍",
                "count": 2,
                "userIds": both,
                "userId": str(bert.id),
                "on": True,
            }
            message = answer["message"]
            assert message["reactions"] == [{"emoji": "👍", "count": 2, "userIds": both}]
            assert (message["changedSeq"], message["version"], message["editedAt"]) == (3, 1, None)
            assert await fetched(b, session_id) == [message]
            await a.ask("message:react", **react | {"on": False})
            [heard] = await a.heard("message:reaction")
            assert (heard["count"], heard["userIds"], heard["on"]) == (1, [str(bert.id)], False)
            await b.ask("message:react", **react | {"on": False})
            [heard] = await a.heard("message:reaction")
            assert (heard["count"], heard["userIds"]) == (0, [])


async def test_a_reaction_is_given_once_by_rest_or_socket(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        _, bert, session_id = await pair(world)
        async with world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            said = await say(b, session_id)
            react = {"emoji": "👍", "on": True}
            path = f"/chat/messages/{said['id']}/reactions"
            first = await world.rest("POST", path, react, token=world.token(bert))
            assert first.status == 200
            assert await b.ask("message:react", messageId=said["id"], **react) == first.json
            assert len(await b.heard("message:reaction")) == 1


async def test_a_21st_emoji_and_a_reaction_to_a_tombstone_are_conflicts(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            said = await say(a, session_id)
            react = {"messageId": said["id"], "on": True}
            for number in range(20):
                await a.ask("message:react", **react, emoji=f"e{number}")
            assert await a.refusal("message:react", **react, emoji="one-more") == "conflict"
            taken_back = {"messageId": said["id"], "on": False}
            await a.ask("message:react", **taken_back, emoji="never-given")
            await a.ask("message:delete", messageId=said["id"])
            assert await a.refusal("message:react", **react, emoji="e0") == "conflict"
            assert (await fetched(a, session_id))[0]["reactions"] == []


# Who may


@pytest.mark.parametrize(("event", "data"), CHANGES)
async def test_messages_of_sessions_one_is_not_in_cannot_be_told_from_none(
    tmp_path: Path, autojump_clock: MockClock, event: str, data: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, session_id = await pair(world)
        public = str(await world.session(anna, kind="PUBLIC"))
        async with world.connect(anna) as a, world.connect(bert) as b:
            carol = await world.person("carol")
            mine = await say(b, session_id)
            hers = await say(a, session_id)
            in_public = await say(a, public)
            await b.ask("member:remove", sessionId=session_id)
            async with world.connect(carol) as c:
                answers = []
                for client, message_id in (
                    (c, UNKNOWN), (c, mine["id"]), (c, in_public["id"]), (b, hers["id"]),
                    (b, mine["id"]),
                ):  # fmt: skip
                    request = await client.emit(event, messageId=message_id, **data)
                    error = (await client.answer(request))["error"]
                    answers.append((error["code"], error["message"], error["retryable"]))
                assert set(answers) == {("not_found", "There is no such thing.", False)}
            assert [each["content"] for each in await fetched(a, session_id)] == ["tee", "tee"]


@pytest.mark.parametrize(
    ("event", "data", "role", "whose", "code"),
    [
        ("message:edit", {"content": "tea"}, "OWNER", "another's", "forbidden"),
        ("message:edit", {"content": "tea"}, "ADMIN", "another's", "forbidden"),
        ("message:edit", {"content": "tea"}, "MEMBER", "another's", "forbidden"),
        ("message:edit", {"content": "tea"}, "READ_ONLY", "another's", "forbidden"),
        ("message:edit", {"content": "tea"}, "OWNER", "own", None),
        ("message:edit", {"content": "tea"}, "MEMBER", "own", None),
        ("message:edit", {"content": "tea"}, "READ_ONLY", "own", "session_read_only"),
        ("message:delete", {}, "OWNER", "another's", None),
        ("message:delete", {}, "ADMIN", "another's", None),
        ("message:delete", {}, "MEMBER", "another's", "forbidden"),
        ("message:delete", {}, "READ_ONLY", "another's", "forbidden"),
        ("message:delete", {}, "MEMBER", "own", None),
        ("message:delete", {}, "READ_ONLY", "own", None),
        ("message:react", {"emoji": "👍", "on": True}, "OWNER", "another's", None),
        ("message:react", {"emoji": "👍", "on": True}, "MEMBER", "another's", None),
        ("message:react", {"emoji": "👍", "on": True}, "MEMBER", "own", None),
        ("message:react", {"emoji": "👍", "on": True}, "READ_ONLY", "another's", "forbidden"),
    ],
)
async def test_a_role_may_change_these_messages_and_no_others(
    tmp_path: Path,
    autojump_clock: MockClock,
    event: str,
    data: dict[str, Any],
    role: Role,
    whose: str,
    code: str | None,
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, _, session_id = await pair(world)
        someone = await with_role(world, session_id, "MEMBER")
        async with world.connect(anna) as a, world.connect(someone) as s:
            said = await say(s if whose == "own" else a, session_id)
            store._sessions[UUID(session_id)].members[someone.id].role = role
            if code is None:
                await s.ask(event, messageId=said["id"], **data)
                assert await fetched(a, session_id) != [said]
            else:
                assert await s.refusal(event, messageId=said["id"], **data) == code
                assert await fetched(a, session_id) == [said]


@pytest.mark.parametrize(("event", "data"), CHANGES)
async def test_nobody_changes_a_message_after_the_commit_that_removed_them(
    tmp_path: Path, autojump_clock: MockClock, event: str, data: dict[str, Any]
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            said = await say(b, session_id)
            store.latency = 0.1
            removal = await a.emit("member:remove", sessionId=session_id, userId=str(bert.id))
            await trio.sleep(0.05)  # judged before the removal commits, written behind it
            change = await b.emit(event, messageId=said["id"], **data)
            assert (await a.answer(removal))["ok"]
            assert (await b.answer(change))["error"]["code"] == "not_found"
            assert await fetched(a, session_id) == [said]


@pytest.mark.parametrize(
    ("before", "after", "event", "data", "code"),
    [
        *[("MEMBER", "ADMIN", *change, None) for change in CHANGES],
        ("MEMBER", "READ_ONLY", *CHANGES[0], "session_read_only"),
        ("ADMIN", "MEMBER", "message:pin", {"on": True}, "forbidden"),
    ],
)
async def test_a_change_is_judged_by_the_role_that_its_author_has_when_it_is_made(
    tmp_path: Path,
    autojump_clock: MockClock,
    before: Role,
    after: Role,
    event: str,
    data: dict[str, Any],
    code: str | None,
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, _, session_id = await pair(world)
        someone = await with_role(world, session_id, before)
        async with world.connect(anna) as a, world.connect(someone) as s:
            said = await say(s, session_id)
            store.latency = 0.1
            update = {"sessionId": session_id, "userId": str(someone.id), "role": after}
            promotion = await a.emit("member:update", **update)
            await trio.sleep(0.05)  # judged before the promotion commits, written behind it
            change = await s.emit(event, messageId=said["id"], **data)
            assert (await a.answer(promotion))["ok"]
            answer = await s.answer(change)
            assert answer.get("error", {}).get("code") == code
            assert (await fetched(a, session_id) == [said]) == (code is not None)
