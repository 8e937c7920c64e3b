"""Search over the wires: shapes, pages, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.errors import Overloaded, StoreUnavailable
from chatd.events.search import SearchPage
from chatd.nurseries import indexer
from chatd.store.memory import MemoryStore
from chatd.store.pool import open_pool
from chatd.store.postgres import PostgresStore
from chatd.turns import Turns
from tests.people import Client, World, open_world
from tests.store.kit import gather, say, sign_up


async def said_in(world: World, *texts: str) -> tuple[Any, str, list[dict[str, Any]]]:
    """Return a person, their session, and what they said in it."""
    anna = await world.person("anna")
    session_id = str(await world.session(anna))
    async with world.connect(anna) as a:
        messages = [
            (await a.ask("message:send", sessionId=session_id, content=text))["message"]
            for text in texts
        ]
    return anna, session_id, messages


async def found(client: Client, q: str, **data: Any) -> list[str]:
    page = await client.ask("message:search", q=q, **data)
    return [result["message"]["content"] for result in page["results"]]


async def test_a_search_answers_messages_and_snippets_by_event_and_by_rest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, session_id, [_, said] = await said_in(world, "coffee", "Thé at five, 茶 later")
        result = {"message": said, "snippet": {"text": said["content"], "hits": [[0, 3], [13, 14]]}}
        async with world.connect(anna) as a:
            page = await a.ask("message:search", q="the 茶")
            assert page == {"results": [result], "nextCursor": None}
        query = f"?q={quote('THE 茶')}&sessionId={session_id}&from={anna.id}&limit=5"
        answer = await world.rest("GET", f"/chat/search{query}", token=world.token(anna))
        assert (answer.status, answer.json) == (200, page)
        SearchPage.model_validate(answer.json)


async def test_pages_of_a_search_follow_each_other_without_gap_and_repeat(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, said = await said_in(world, *(f"tea {n}" for n in range(5)))
        async with world.connect(anna) as a:
            pages: list[list[dict[str, Any]]] = []
            cursor = None
            while len(pages) < 3:
                page = await a.ask("message:search", q="tea", limit=2, cursor=cursor)
                pages.append([result["message"] for result in page["results"]])
                cursor = page["nextCursor"]
            assert cursor is None
            assert [message for page in pages for message in page] == said[::-1]


async def test_times_and_cursors_bound_a_search_together(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, rate_limits="off") as world:
        anna = await world.person("anna")
        session_id = str(await world.session(anna))
        async with world.connect(anna) as a:
            times = []
            for number in range(3):
                sent = await a.ask("message:send", sessionId=session_id, content=f"tea {number}")
                times.append(sent["message"]["createdAt"])
                await trio.sleep(1)
            assert await found(a, "tea", before=times[2], after=times[1]) == ["tea 1"]
            page = await a.ask("message:search", q="tea", limit=1)
            cursor = page["nextCursor"]
            assert await found(a, "tea", cursor=cursor) == ["tea 1", "tea 0"]
            assert await found(a, "tea", cursor=cursor, before=times[1]) == ["tea 0"]
            assert await found(a, "tea", cursor=cursor, after=times[2]) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"q": ""},
        {"q": "  "},
        {"q": "a\x00b"},
        {"q": "x" * 201},
        {"q": "a b c d e f g h i"},
        {"q": "tea", "limit": 51},
        {"q": "tea", "before": "2026-01-01T00:00:00"},
        {"q": "tea", "after": "soon"},
        {"q": "tea", "cursor": "nonsense"},
        {"q": "tea", "from": "anna"},
    ],
)
async def test_what_is_no_search_is_refused(
    tmp_path: Path, autojump_clock: MockClock, data: dict[str, Any]
) -> None:
    async with open_world(tmp_path) as world, world.connect(await world.person("anna")) as a:
        assert await a.refusal("message:search", **data) == "validation_failed"


async def test_two_searches_a_second_are_allowed_in_the_long_run(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with (
        open_world(tmp_path, rate_limits="on") as world,
        world.connect(await world.person("anna")) as a,
    ):
        for _ in range(4):
            await a.ask("message:search", q="tea")
        assert await a.refusal("message:search", q="tea") == "rate_limited"
        mock_clock.jump(0.5)
        await a.ask("message:search", q="tea")
        assert await a.refusal("message:search", q="tea") == "rate_limited"


@pytest.mark.threat("T88")
async def test_a_search_that_takes_too_long_is_told_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, search_timeout=0.5) as world:
        anna, _, _ = await said_in(world, "tea")
        async with world.connect(anna) as a:
            store.latency = 0.6
            frame = await a.answer(await a.emit("message:search", q="tea"))
            assert frame["error"]["code"] == "deadline_exceeded"
            assert "more than 0.5 s" in frame["error"]["message"]
            store.latency = 0.4
            assert await found(a, "tea") == ["tea"]


async def test_a_store_that_is_away_is_unavailable_for_searches(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world, world.connect(await world.person("a")) as a:
        store.fail_next("search", StoreUnavailable("away"))
        assert await a.refusal("message:search", q="tea") == "unavailable"


async def test_two_search_at_once_and_the_third_waits_while_messages_go_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store, search_timeout=5, rate_limits="off") as world:
        anna, session_id, _ = await said_in(world, "tea")
        searching, most = 0, 0
        search = store.search

        async def slow(*args: Any, **kwargs: Any) -> Any:
            nonlocal searching, most
            searching += 1
            most = max(most, searching)
            await trio.sleep(1)
            searching -= 1
            return await search(*args, **kwargs)

        store.search = slow  # type: ignore[method-assign]
        clients = [world.connect(anna) for _ in range(5)]
        async with trio.open_nursery() as nursery:

            async def ask(client: Any) -> None:
                async with client as c:
                    assert await found(c, "tea") == ["tea"]

            for client in clients:
                nursery.start_soon(ask, client)
            await trio.sleep(0.5)
            async with world.connect(anna) as a:
                began = trio.current_time()
                await a.ask("message:send", sessionId=session_id, content="now")
                assert trio.current_time() - began < 0.5
        assert most == 2


async def test_turns_beyond_the_queue_are_refused(autojump_clock: MockClock) -> None:
    turns = Turns(at_once=1, queue=1)

    async def take() -> None:
        async with turns.turn():
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await take()
    assert trio.current_time() == pytest.approx(2, abs=0.01)
    await take()


class Index(MemoryStore):
    """A store with something to index, which takes a second a batch, or less."""

    def __init__(self, *done: int | Exception, seconds: float = 1.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.done = list(done)
        self.began: list[float] = []
        self.batches: list[int] = []

    async def index_messages(self, batch: int) -> int:
        self.batches.append(batch)
        self.began.append(trio.current_time())
        await trio.sleep(self.seconds)
        outcome = self.done.pop(0) if self.done else 0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_the_indexer_works_a_twentieth_of_the_time_and_survives_an_outage(
    autojump_clock: MockClock,
) -> None:
    store = Index(indexer.BATCH, StoreUnavailable("away"), 5)
    start = trio.current_time()
    async with indexer.open_indexer(store, lambda: True):
        await trio.sleep(70)
    assert [began - start for began in store.began] == pytest.approx([0, 20, 40, 60])


async def test_the_indexer_leaves_a_few_changes_until_there_are_more_of_them(
    autojump_clock: MockClock,
) -> None:
    store = Index(indexer.BATCH, indexer.BATCH - 1, 1, seconds=0.01)
    start = trio.current_time()
    async with indexer.open_indexer(store, lambda: True):
        await trio.sleep(3 * indexer.PAUSE)
    pause = indexer.PAUSE + store.seconds
    assert [began - start for began in store.began] == pytest.approx(
        [0, 0.2, 0.2 + pause, 0.2 + 2 * pause]
    )


async def test_what_a_pass_does_not_come_through_with_is_tried_in_smaller_ones(
    autojump_clock: MockClock,
) -> None:
    late = StoreUnavailable("no answer within 5 s")
    store = Index(late, late, 31, 62, 0, 3, 248)
    async with indexer.open_indexer(store, lambda: True):
        await trio.sleep(150)
    assert store.batches == [2000, 250, 31, 62, 124, 124, 248, 496]


async def test_the_indexer_writes_nothing_while_the_store_is_read_only(
    autojump_clock: MockClock,
) -> None:
    store, is_writable = Index(1), False
    async with indexer.open_indexer(store, lambda: is_writable):
        await trio.sleep(indexer.PAUSE * 1.5)
        assert store.began == []
        is_writable = True
        await trio.sleep(indexer.PAUSE)
        assert len(store.began) == 1


async def test_the_indexer_fills_the_index_of_postgresql(database_url: str) -> None:
    with trio.fail_after(10):
        async with open_pool(database_url, size=2) as pool:
            store = PostgresStore(pool)
            alice = await sign_up(store, "Alice")
            await say(store, await gather(store, alice), alice, "Tea")
            async with indexer.open_indexer(store, lambda: True):
                while not await pool.fetch("SELECT FROM search_entries WHERE body = 'tea'"):  # noqa: ASYNC110
                    await trio.sleep(0.01)
