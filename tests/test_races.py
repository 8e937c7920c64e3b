"""Interleavings that once broke a promise, found by review."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.context import RoomEvent
from chatd.errors import CloseCode, StoreUnavailable
from chatd.nurseries.room import CHUNK
from chatd.rows import JoinPage
from chatd.store.memory import MemoryStore
from tests.people import Client, open_world
from tests.test_room import Member, Notebook, open_desk


async def test_a_page_from_before_the_head_jumped_is_read_again() -> None:
    async with open_desk() as desk:
        anna, bert, carl = desk.join("anna"), Member("bert"), Member("carl")
        berts, carls = desk.room.enter(bert), desk.room.enter(carl)
        assert anna.seat is not None
        anna.seat.leave()
        desk.commit(3)
        berts.settle(3)  # nobody was live: the head is this page's, the feed below is dropped
        assert not carls.covers(1)
        assert carls.covers(3)


async def test_a_page_that_is_newer_than_a_catch_up_under_way_is_not_followed_by_it_again() -> None:
    async with open_desk() as desk:
        anna, asked, answer = desk.join("anna"), trio.Event(), trio.Event()

        async def slow(session_id: UUID, seq: int) -> tuple[list[RoomEvent], int, bool]:
            asked.set()
            await answer.wait()
            return await desk.catch_up(session_id, seq)

        desk.room._catch_up = slow
        desk.commit(3)
        desk.room.wake()
        await asked.wait()
        assert anna.seat is not None
        bert = Member("bert")
        bert.seat = desk.room.enter(bert)
        anna.seat.leave()
        bert.seat.settle(3)
        desk.commit()
        answer.set()
        await wait_all_tasks_blocked()
        assert bert.seen == [4]


async def test_a_socket_that_joins_again_during_a_long_fan_out_hears_nothing_twice() -> None:
    async with open_desk() as desk:
        crowd = [desk.join(f"member {number}") for number in range(CHUNK + 1)]
        first, last = crowd[0], crowd[-1]

        def push(data: bytes, frames: int = 1) -> None:
            Notebook.push(first.outbox, data, frames)
            assert last.seat is not None
            last.seat.leave()
            last.seat = desk.room.enter(last)
            assert last.seat.covers(1)
            last.seat.settle(1)  # its page holds what is being fanned out

        first.outbox.push = push  # type: ignore[method-assign] # the moment is what is tested
        desk.publish(1)
        await wait_all_tasks_blocked()
        assert last.seen == []
        assert all(member.seen == [1] for member in crowd[:-1])


async def test_a_join_again_in_a_long_fan_out_is_not_followed_by_what_its_answer_holds() -> None:
    async with open_desk() as desk, trio.open_nursery() as nursery:
        crowd = [desk.join(f"member {number}") for number in range(4 * CHUNK + 1)]
        first, last = crowd[0], crowd[-1]
        joins = 0

        async def join_again() -> None:
            nonlocal joins
            joins += 1
            assert last.seat is not None
            assert last.seat.position == 0
            assert not last.seat.covers(0)  # the others have heard what is above that
            assert last.seat.covers(1)
            last.seat.settle(1)
            assert last.seat.position == 1

        def push(data: bytes, frames: int = 1) -> None:
            Notebook.push(first.outbox, data, frames)
            del first.outbox.push
            nursery.start_soon(join_again)

        first.outbox.push = push  # type: ignore[method-assign] # the moment is what is tested
        desk.publish(1)
        await wait_all_tasks_blocked()
        desk.publish(2)
        await wait_all_tasks_blocked()
        assert (joins, last.seen) == (1, [2])
        assert all(member.seen == [1, 2] for member in crowd[:-1])


async def test_a_join_again_that_knows_more_than_the_room_hears_that_no_more() -> None:
    async with open_desk() as desk:
        anna, bert = desk.join("anna"), desk.join("bert")
        assert anna.seat is not None
        desk.commit(3)  # stored, and not told yet
        assert anna.seat.covers(3)
        anna.seat.settle(3)
        anna.seat.settle(2)  # an older one changes nothing
        assert anna.seat.position == 3
        desk.room.wake()
        await wait_all_tasks_blocked()
        assert (anna.seen, bert.seen) == ([], [1, 2, 3])
        desk.publish(4)
        await wait_all_tasks_blocked()
        assert (anna.seen, bert.seen) == ([4], [1, 2, 3, 4])
        anna.seat.leave()
        anna.seat.settle(9)  # its answer came behind its leave
        desk.publish(5)
        await wait_all_tasks_blocked()
        assert anna.seen == [4]


@pytest.mark.parametrize("seed", range(5))
async def test_clients_that_come_and_go_under_traffic_end_nobody_else(
    tmp_path: Path, autojump_clock: MockClock, seed: int
) -> None:
    async with open_world(tmp_path, max_sockets_per_user=100) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))

        async def come_and_go() -> None:
            for _ in range(10):
                async with world.connect(bert) as client:
                    await client.emit("session:join", sessionId=session_id)
                    for _ in range(seed):
                        await trio.lowlevel.checkpoint()

        async with world.connect(anna) as a, trio.open_nursery() as nursery:
            await a.ask("session:join", sessionId=session_id)
            for _ in range(4):
                nursery.start_soon(come_and_go)
            for number in range(100):
                answer = await a.ask("message:send", sessionId=session_id, content="x")
                assert answer["message"]["seq"] == number + 1


async def test_a_client_is_not_silent_while_the_store_makes_it_wait(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            store.latency = 4.9
            asked = [await client.emit("message:history", sessionId=session_id) for _ in range(15)]
            for request_id in asked:  # 73 s in which nobody reads the client's pongs
                assert (await client.answer(request_id))["ok"]


async def test_a_join_again_that_fails_leaves_the_stream_as_it_was(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as client:
            await client.ask("session:join", sessionId=session_id)
            store.fail_next("join_page", StoreUnavailable())
            assert await client.refusal("session:join", sessionId=session_id) == "unavailable"
            await client.ask("message:send", sessionId=session_id, content="still here")
            assert (await client.event("message:new"))["content"] == "still here"


@asynccontextmanager
async def open_pair(
    tmp_path: Path, store: MemoryStore
) -> AsyncIterator[tuple[Client, Client, str]]:
    """Connect Anna, who has joined a session, and Bert, who is a member of it."""
    async with open_world(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=session_id)
            yield a, b, session_id


class OldPages(MemoryStore):
    """While `age` is set, its pages are that many seconds old when they arrive."""

    age = 0.0

    async def join_page(self, *arguments: Any, **options: Any) -> JoinPage | None:
        page = await super().join_page(*arguments, **options)
        await trio.sleep(self.age)
        return page


async def test_the_answer_of_a_join_again_is_not_behind_what_was_sent_ahead_of_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = OldPages()
    async with open_pair(tmp_path, store) as (a, b, session_id):
        store.age = 1.0
        again = await a.emit("session:join", sessionId=session_id)
        await trio.sleep(0.5)
        store.age = 0.0
        await b.ask("message:send", sessionId=session_id, content="tea")
        answer = (await a.answer(again))["data"]
        assert [frame["event"] for frame in a.waiting].count("message:new") == 1
        assert (answer["seq"], len(answer["messages"])) == (1, 1)


async def test_a_join_again_to_a_session_that_is_never_quiet_is_told_to_come_later(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = OldPages()
    async with (
        open_pair(tmp_path, store) as (a, b, session_id),
        trio.open_nursery() as nursery,
    ):
        store.age = 1.0

        async def talk() -> None:
            for _ in range(20):
                await b.ask("message:send", sessionId=session_id, content="tea")
                await trio.sleep(0.4)

        nursery.start_soon(talk)
        await trio.sleep(0.2)
        assert await a.refusal("session:join", sessionId=session_id) == "overloaded"
        await trio.sleep(10)
        told = [frame for frame in await a.heard() if frame["event"] == "message:new"]
        assert [frame["data"]["seq"] for frame in told] == list(range(1, 21))


async def _statuses(client: Client, user_id: object) -> list[str]:
    await client.ask("session:list")  # a barrier: what was told before has come
    told = [f["data"] for f in client.waiting if f.get("event") == "user:status"]
    return [data["status"] for data in told if data["userId"] == str(user_id)]


async def test_a_manual_status_that_ends_within_the_grace_is_no_farewell(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        await world.session(anna, bert)
        async with world.connect(bert) as b:
            async with world.connect(anna) as a:
                until = world.daemon.services.now() + timedelta(seconds=8)
                await a.ask("status:set", status="BUSY", until=until.isoformat())
                await trio.sleep(5)
            await trio.sleep(5)  # the status ends, the grace does not
            async with world.connect(anna):
                await trio.sleep(5)
                assert await _statuses(b, anna.id) == ["ONLINE", "BUSY", "ONLINE"]


async def test_a_status_that_is_set_again_and_again_waits_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.connect(anna) as client:
            until = (world.daemon.services.now() + timedelta(days=1)).isoformat()
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(50):
                await client.ask("status:set", status="BUSY", until=until)
            await wait_all_tasks_blocked()
            # One task waits for the end of the status, one to tell of the last change.
            assert trio.lowlevel.current_statistics().tasks_living <= before + 2


@pytest.mark.parametrize("until", ["9999-12-31T23:59:59-12:00", "2027-06-01T00:00:00Z", "never"])
async def test_an_until_that_no_calendar_needs_is_refused(
    tmp_path: Path, autojump_clock: MockClock, until: str
) -> None:
    async with open_world(tmp_path) as world:
        anna = await world.person("anna")
        async with world.connect(anna) as client:
            code = await client.refusal("status:set", status="BUSY", until=until)
            assert code == "validation_failed"


async def test_an_invisible_user_gives_no_sign_of_life(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            view = (await a.ask("status:set", status="INVISIBLE"))["presence"]
            assert view["status"] == "OFFLINE"
            await trio.sleep(200)
            state = await b.ask("session:join", sessionId=session_id)
            shown = {each["userId"]: each for each in state["presence"]}[str(anna.id)]
            assert (shown["status"], shown["lastSeen"]) == ("OFFLINE", view["lastSeen"])


async def test_who_is_removed_while_joining_is_told_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert = await world.person("anna"), await world.person("bert")
        session_id = str(await world.session(anna, bert))
        async with world.connect(anna) as a, world.connect(bert) as b:
            await a.ask("session:join", sessionId=session_id)
            store.latency = 0.1
            request_id = await b.emit("session:join", sessionId=session_id)
            await a.ask("member:remove", sessionId=session_id, userId=str(bert.id))
            store.latency = 0
            answer = await b.answer(request_id)
            if answer["ok"]:  # the page was read first
                await b.event("session:removed")
            else:
                assert answer["error"]["code"] == "not_a_member"
            await a.ask("message:send", sessionId=session_id, content="gone?")
            await b.ask("session:list")
            assert not [f for f in b.waiting if f.get("event") == "message:new"]


async def test_an_origin_that_is_no_url_is_refused(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        stream = world.stream()
        await stream.send_all(
            b"GET /ws HTTP/1.1\r\nHost: chatd.test\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://[\r\n\r\n"
        )
        with trio.fail_after(10):
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 403 ")
        await trio.aclose_forcefully(stream)


async def test_a_large_message_before_the_login_ends_the_connection(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world, world.socket() as client:
        await client.send_raw('{"event": "auth", "data": {"token": "%s"}}' % ("x" * 20_000))
        assert await client.closed() == CloseCode.TOO_BIG.code
