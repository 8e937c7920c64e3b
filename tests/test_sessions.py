"""Sessions: open, list, join, leave, members, removal (protocol.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import StoreUnavailable
from chatd.events.members import MemberAnswer, MemberPage
from chatd.events.sessions import Joined, SessionAnswer, SessionPage
from chatd.handlers.permissions import NOT_DIRECT, Action, may
from chatd.rows import JoinPage, Role, SessionKind, UserRow
from chatd.store.memory import MemoryStore
from tests.people import Client, World, open_world


async def people(world: World) -> tuple[UserRow, UserRow, UserRow]:
    return await world.person("anna"), await world.person("bert"), await world.person("carol")


async def create(client: Client, kind: str = "GROUP", *members: UserRow) -> str:
    name = None if kind == "DIRECT" else "tea"
    ids = [str(member.id) for member in members]
    answer = await client.ask("session:create", kind=kind, name=name, memberIds=ids)
    return str(SessionAnswer.model_validate(answer).session.id)


def names(frames: list[dict[str, Any]]) -> list[str]:
    """Return which events came, presence aside."""
    return [frame["event"] for frame in frames if frame["event"] != "user:status"]


# Opening


async def test_a_direct_session_of_two_people_is_unique(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            first = await create(a, "DIRECT", bert)
            assert await create(a, "DIRECT", bert) == first
            assert await create(b, "DIRECT", anna) == first
            assert await create(a, "DIRECT", carol) != first
            assert names(await b.heard()) == ["session:updated"]


async def test_everybody_in_a_new_session_is_told_on_every_socket(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with (
            world.connect(anna) as a,
            world.connect(bert) as b,
            world.connect(bert) as b2,
            world.connect(carol) as c,
        ):
            session_id = await create(a, "GROUP", bert, bert, anna)
            for client in (a, b, b2):
                [told] = await client.heard("session:updated")
                assert (told["sessionId"], told["session"]["memberCount"]) == (session_id, 2)
            assert await c.heard("session:updated") == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"kind": "DIRECT", "memberIds": []}, "validation_failed"),
        ({"kind": "DIRECT", "memberIds": ["SELF"]}, "validation_failed"),
        ({"kind": "DIRECT", "memberIds": [str(uuid4()), str(uuid4())]}, "validation_failed"),
        ({"kind": "DIRECT", "memberIds": [str(uuid4())], "name": "x"}, "validation_failed"),
        ({"kind": "DIRECT", "memberIds": [str(uuid4())]}, "not_found"),
        ({"kind": "GROUP", "name": "x", "memberIds": [str(uuid4())]}, "not_found"),
        ({"kind": "GROUP"}, "validation_failed"),
        ({"kind": "CLUB", "name": "x"}, "validation_failed"),
        ({"kind": "GROUP", "name": "x" * 81}, "validation_failed"),
        ({"kind": "GROUP", "name": "x", "memberIds": [str(uuid4())] * 101}, "validation_failed"),
    ],
)
async def test_a_session_that_may_not_be_is_refused(
    tmp_path: Path, autojump_clock: MockClock, data: dict[str, Any], code: str
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.connect(anna) as a:
            if data.get("memberIds") == ["SELF"]:
                data = data | {"memberIds": [str(anna.id)]}
            assert await a.refusal("session:create", **data) == code


# Lists


async def test_sessions_are_listed_latest_first_page_by_page(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            ids = []
            for _ in range(5):
                ids.append(await create(a, "GROUP", bert))
                await trio.sleep(1)
            await b.ask("message:send", sessionId=ids[0], content="newest")
            expected = [ids[0], *reversed(ids[1:])]
            seen: list[str] = []
            cursor = None
            pages = 0
            while pages == 0 or cursor:
                answer = await a.ask("session:list", limit=2, cursor=cursor)
                page = SessionPage.model_validate(answer)
                seen += [str(row.id) for row in page.sessions]
                cursor, pages = page.next_cursor, pages + 1
            assert (seen, pages) == (expected, 3)
            first = (await a.ask("session:list", limit=1))["sessions"][0]
            assert (first["unreadCount"], first["lastMessage"]["content"]) == (1, "newest")
            assert (first["role"], first["memberCount"]) == ("OWNER", 2)


@pytest.mark.parametrize("cursor", ["x", "eA==", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTo=", "é"])
async def test_a_foreign_cursor_is_refused(
    tmp_path: Path, autojump_clock: MockClock, cursor: str
) -> None:
    async with open_world(tmp_path) as world, world.connect(await world.person("anna")) as a:
        assert await a.refusal("session:list", cursor=cursor) == "validation_failed"


async def test_members_are_listed_page_by_page(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        everybody = [await world.person(f"person{number}") for number in range(5)]
        session_id = str(await world.session(*everybody))
        async with world.connect(everybody[0]) as a:
            seen, after, pages = [], None, 0
            while pages == 0 or after:
                data = await a.ask("member:list", sessionId=session_id, limit=2, after=after)
                page = MemberPage.model_validate(data)
                seen += [row.user.id for row in page.members]
                after, pages = data["nextAfter"], pages + 1
            assert (seen, pages) == (sorted(each.id for each in everybody), 3)


# Renaming and permissions


async def test_a_new_name_is_heard_by_those_who_joined(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:join", sessionId=session_id)
            await b.heard()
            answer = await a.ask("session:update", sessionId=session_id, name="  coffee ")
            assert (answer["session"]["name"], answer["session"]["seq"]) == ("coffee", 1)
            [told] = await b.heard("session:updated")
            assert (told["seq"], told["session"]["name"]) == (1, "coffee")
            assert await b.refusal("session:update", sessionId=session_id, name="x") == "forbidden"
            shown = await b.ask("session:get", sessionId=session_id)
            assert shown["session"]["name"] == "coffee"


async def test_a_session_that_vanishes_before_its_rename_is_not_renamed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        session_id = await world.session(anna)

        async with world.connect(anna) as a:
            update = store.update_session

            async def vanish(*args: Any, **options: Any) -> Any:
                store._sessions.clear()
                return await update(*args, **options)

            store.update_session = vanish  # type: ignore[method-assign] # between check and change
            code = await a.refusal("session:update", sessionId=str(session_id), name="x")
            assert code == "not_a_member"


@pytest.mark.parametrize(
    ("role", "kind", "allowed"),
    [
        ("OWNER", "GROUP", set(Action)),
        ("ADMIN", "GROUP", set(Action) - {Action.DELETE_SESSION}),
        (
            "MEMBER",
            "GROUP",
            {
                Action.READ,
                Action.SEND,
                Action.EDIT,
                Action.REACT,
                Action.DELETE,
                Action.ADD_SELF,
                Action.ADD_MEMBER,
                Action.LEAVE,
            },
        ),
        ("READ_ONLY", "PUBLIC", {Action.READ, Action.DELETE, Action.ADD_SELF, Action.LEAVE}),
        ("OWNER", "DIRECT", set(Action) - NOT_DIRECT),
        (None, "PUBLIC", {Action.ADD_SELF}),
        (None, "GROUP", set()),
        (None, "DIRECT", set()),
    ],
)
def test_a_role_allows_this_and_no_more(
    role: Role | None, kind: SessionKind, allowed: set[Action]
) -> None:
    assert {action for action in Action if may(role, action, kind)} == allowed


# Members


async def test_a_new_member_is_told_and_the_others_hear_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a)
            await a.ask("session:join", sessionId=session_id)
            await a.heard()
            data = await a.ask("member:add", sessionId=session_id, userId=str(bert.id))
            added = MemberAnswer.model_validate(data)
            assert (added.member.user.id, added.member.role, added.seq) == (bert.id, "MEMBER", 1)
            [joined] = await a.heard("member:joined")
            assert (joined["seq"], joined["member"]["user"]["id"]) == (1, str(bert.id))
            assert [told["sessionId"] for told in await b.heard("session:updated")] == [session_id]
            again = await a.ask("member:add", sessionId=session_id, userId=str(bert.id))
            assert again["seq"] == 1
            assert await a.heard("member:joined") == []
            await b.ask("session:join", sessionId=session_id)


async def test_only_a_public_session_lets_a_user_add_themself(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            public = await create(a, "PUBLIC")
            group = await create(a, "GROUP")
            assert (await b.ask("session:get", sessionId=public))["session"]["memberCount"] == 1
            assert await b.refusal("session:join", sessionId=public) == "not_a_member"
            assert await b.refusal("member:list", sessionId=public) == "not_a_member"
            code = await b.refusal("member:add", sessionId=public, userId=str(carol.id))
            assert code == "not_a_member"
            await b.ask("member:add", sessionId=public)
            await b.ask("session:join", sessionId=public)
            assert await b.refusal("member:add", sessionId=group) == "not_a_member"


async def test_a_direct_session_keeps_its_two_members(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a:
            direct = await create(a, "DIRECT", bert)
            code = await a.refusal("member:add", sessionId=direct, userId=str(carol.id))
            assert code == "conflict"
            assert await a.refusal("member:remove", sessionId=direct) == "conflict"


async def test_members_that_there_are_not_are_not_found(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            nobody = str(uuid4())
            for event in ("member:add", "member:remove"):
                assert await a.refusal(event, sessionId=session_id, userId=nobody) == "not_found"
            code = await b.refusal("member:remove", sessionId=session_id, userId=str(anna.id))
            assert code == "forbidden"


async def test_a_removed_member_hears_of_it_and_nothing_after_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b, world.connect(bert) as b2:
            session_id = await create(a, "GROUP", bert)
            for client in (a, b, b2):
                await client.ask("session:join", sessionId=session_id)
                await client.heard()
            await a.emit("message:send", sessionId=session_id, content="before")
            await a.ask("member:remove", sessionId=session_id, userId=str(bert.id))
            await a.ask("message:send", sessionId=session_id, content="after")
            assert names(await a.heard()) == ["message:new", "member:left", "message:new"]
            for client in (b, b2):
                told = await client.heard()
                assert names(told) == ["message:new", "member:left", "session:removed"]
                assert told[-1]["data"] == {"sessionId": session_id, "reason": "removed"}
            for event, data in (("session:join", {}), ("message:send", {"content": "x"})):
                assert await b.refusal(event, sessionId=session_id, **data) == "not_a_member"
            assert await b.refusal("typing:start", sessionId=session_id) == "not_a_member"
            assert (await b.ask("session:list"))["sessions"] == []


async def test_a_message_that_waits_behind_the_senders_removal_is_not_stored(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            store.latency = 0.1
            removal = await a.emit("member:remove", sessionId=session_id, userId=str(bert.id))
            await trio.sleep(0.15)  # its permission is read, its change is under way
            late = await b.emit("message:send", sessionId=session_id, content="too late")
            assert (await a.answer(removal))["ok"]
            assert (await b.answer(late))["error"]["code"] == "not_a_member"


# Joining and leaving


async def test_a_join_tells_the_whole_state(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            for number in range(3):
                await a.ask("message:send", sessionId=session_id, content=str(number))
            joined = Joined.model_validate(
                await b.ask("session:join", sessionId=session_id, limit=2)
            )
            assert (joined.seq, joined.recovered, joined.has_more) == (3, False, True)
            assert [message.content for message in joined.messages] == ["1", "2"]
            assert joined.unread_count == 3
            assert {member.user.id for member in joined.members} == {anna.id, bert.id}
            assert {view.user_id: view.status for view in joined.presence} == {
                anna.id: "ONLINE",
                bert.id: "ONLINE",
            }


@pytest.mark.parametrize(
    ("seq", "is_same_epoch", "is_recovered"),
    [(2, True, True), (5, True, True), (0, True, False), (6, True, False), (2, False, False)],
)
async def test_who_comes_back_gets_all_that_was_missed_or_is_told_that_it_is_not_all(
    tmp_path: Path,
    autojump_clock: MockClock,
    seq: int,
    is_same_epoch: bool,
    is_recovered: bool,
) -> None:
    async with open_world(tmp_path, replay_events=3) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            for number in range(1, 6):
                await a.ask("message:send", sessionId=session_id, content=str(number))
            epoch = str(world.daemon.services.epoch if is_same_epoch else uuid4())
            since = {"epoch": epoch, "seq": seq}
            data = await b.ask("session:join", sessionId=session_id, since=since)
            joined = Joined.model_validate(data)
            assert joined.recovered is is_recovered
            first = seq + 1 if is_recovered else 1
            assert [message.seq for message in joined.messages] == list(range(first, 6))


async def test_messages_during_a_join_are_neither_lost_nor_doubled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await a.ask("session:join", sessionId=session_id)
            store.latency = 0.01
            for number in range(1, 30):
                await a.emit("message:send", sessionId=session_id, content=str(number))
                if number == 10:
                    request = await b.emit("session:join", sessionId=session_id)
                await trio.sleep(0.004)
            joined = (await b.answer(request))["data"]
            await trio.sleep(1)
            store.latency = 0
            seen = [message["seq"] for message in joined["messages"]]
            seen += [event["seq"] for event in await b.heard("message:new")]
            assert seen == list(range(1, 30))


async def test_a_left_session_is_silent_and_can_be_joined_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await b.ask("session:leave", sessionId=session_id)  # never joined: nothing happens
            await b.ask("session:join", sessionId=session_id)
            await b.ask("session:leave", sessionId=session_id)
            await a.ask("message:send", sessionId=session_id, content="unheard")
            assert await b.heard("message:new") == []
            assert (await b.ask("session:join", sessionId=session_id))["seq"] == 1
            await b.ask("session:join", sessionId=session_id)  # twice is once
            await a.ask("message:send", sessionId=session_id, content="heard")
            assert [each["content"] for each in await b.heard("message:new")] == ["heard"]


async def test_a_socket_joins_no_more_sessions_than_the_setting_says(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path, max_joined_sessions=2) as world,
        world.connect(await world.person("anna")) as a,
    ):
        first, second, third = [await create(a) for _ in range(3)]
        for session_id in (first, second, first):
            await a.ask("session:join", sessionId=session_id)
        assert await a.refusal("session:join", sessionId=third) == "conflict"
        await a.ask("session:leave", sessionId=first)
        await a.ask("session:join", sessionId=third)


async def test_a_join_that_fails_leaves_no_place_behind(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with (
        open_world(tmp_path, store) as world,
        world.connect(await world.person("anna")) as a,
    ):
        session_id = await create(a)
        store.fail_next("join_page", StoreUnavailable("away"))
        assert await a.refusal("session:join", sessionId=session_id) == "unavailable"
        assert await a.refusal("typing:start", sessionId=session_id) == "not_a_member"
        assert "chatd_joins 0.0\n" in world.daemon.services.metrics.render().decode()
        await a.ask("session:join", sessionId=session_id)


async def test_joining_again_leaves_the_stream_as_it_is_when_the_page_cannot_be_read(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with (
        open_world(tmp_path, store) as world,
        world.connect(await world.person("anna")) as a,
    ):
        session_id = await create(a)
        await a.ask("session:join", sessionId=session_id)
        store.fail_next("join_page", StoreUnavailable("away"))
        assert await a.refusal("session:join", sessionId=session_id) == "unavailable"
        await a.ask("message:send", sessionId=session_id, content="still here")
        assert [each["content"] for each in await a.heard("message:new")] == ["still here"]


async def test_a_recovery_that_is_too_large_becomes_the_newest_page(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path, replay_bytes=100_000) as world,
        world.connect(await world.person("anna")) as a,
    ):
        session_id = await create(a)
        for number in range(10):
            await a.ask("message:send", sessionId=session_id, content=f"{number}" * 15_000)
        epoch = str(world.daemon.services.epoch)
        for seq, is_recovered in ((6, True), (1, False)):
            joined = Joined.model_validate(
                await a.ask(
                    "session:join",
                    sessionId=session_id,
                    since={"epoch": epoch, "seq": seq},
                    limit=2,
                )
            )
            assert joined.recovered is is_recovered
            assert len(joined.messages) == (4 if is_recovered else 2)


async def test_who_is_removed_while_they_join_is_not_let_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await a.ask("session:join", sessionId=session_id)
            read = store.join_page

            async def slow(*args: Any, **options: Any) -> JoinPage | None:
                page = await read(*args, **options)
                await trio.sleep(1)  # the page is out of date when it arrives
                return page

            store.join_page = slow  # type: ignore[method-assign] # the moment is what is tested
            request = await b.emit("session:join", sessionId=session_id)
            await trio.sleep(0.5)
            await a.ask("member:remove", sessionId=session_id, userId=str(bert.id))
            await a.ask("message:send", sessionId=session_id, content="secret")
            assert (await b.answer(request))["error"]["code"] == "not_a_member"
            assert await b.heard("message:new") == []


@pytest.mark.parametrize(("lags", "is_joined"), [(1, True), (1000, False)])
async def test_a_page_that_lags_behind_the_room_is_read_again_a_few_times(
    tmp_path: Path, autojump_clock: MockClock, lags: int, is_joined: bool
) -> None:
    class Lagging(MemoryStore):
        """Its pages come from a replica that has not seen everything."""

        stale: JoinPage | None = None
        left = lags

        async def join_page(self, *args: Any, **options: Any) -> JoinPage | None:
            page = await super().join_page(*args, **options)
            if self.stale is None or self.left == 0:
                return page
            self.left -= 1
            return self.stale

    store = Lagging()
    async with open_world(tmp_path, store) as world:
        anna, bert, _ = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            await a.ask("session:join", sessionId=session_id)
            stale = await store.join_page(UUID(session_id), bert.id, since=None, replay=0, limit=1)
            await a.ask("message:send", sessionId=session_id, content="news")
            await wait_all_tasks_blocked()
            store.stale = stale
            if is_joined:
                assert (await b.ask("session:join", sessionId=session_id))["seq"] == 1
            else:
                assert await b.refusal("session:join", sessionId=session_id) == "overloaded"


async def test_a_lost_change_of_members_or_name_is_read_from_the_store(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, carol = await people(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            session_id = await create(a, "GROUP", bert)
            for client in (a, b):
                await client.ask("session:join", sessionId=session_id)
                await client.heard()
            with monkeypatch.context() as lost:
                lost.setattr(world.daemon.services.journal, "_publish", lambda _events, **_: None)
                await a.ask("session:update", sessionId=session_id, name="coffee")
                await a.ask("member:add", sessionId=session_id, userId=str(carol.id))
                await a.ask("member:remove", sessionId=session_id, userId=str(bert.id))
            store.fail_next("heads", StoreUnavailable("away"))
            with structlog.testing.capture_logs() as logs:
                await trio.sleep(5.5)
            assert "position check failed" in [log["event"] for log in logs]
            assert names(await a.heard()) == []
            await trio.sleep(10)
            heard = await a.heard()
            assert {"member:joined", "member:left", "session:updated"} <= set(names(heard))
            seqs = [frame["data"]["seq"] for frame in heard if "seq" in frame["data"]]
            assert seqs == sorted(seqs)
            assert names(await b.heard())[-1] == "session:removed"
