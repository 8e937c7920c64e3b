"""`deadlineMs`: what cannot be stored in time is not sent, and its sender is told in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.context import RoomEvent
from chatd.errors import DeadlineExceeded, Overloaded, StoreAmbiguous
from chatd.nurseries.deadlines import Deadline, Deadlines
from chatd.rows import Append, AppendRow
from chatd.store.memory import MemoryStore
from tests.people import open_world
from tests.test_changes import fetched, pair, say
from tests.test_journal import Desk, open_desk


async def jump(clock: MockClock, seconds: float) -> None:
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def stalled(desk: Desk, seconds: float) -> None:
    """Let the journal be busy with a message for some time."""
    desk.store.latency = seconds
    desk.say("under way")
    await wait_all_tasks_blocked()
    desk.store.latency = 0


def is_late(desk: Desk, content: str) -> bool:
    return isinstance(desk.outcomes.get(content), DeadlineExceeded)


async def test_a_message_behind_a_stuck_transaction_is_answered_at_its_deadline(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        await stalled(desk, 4)
        desk.say("late", lifetime=2)
        desk.say("patient")
        await jump(mock_clock, 1.999)
        assert desk.outcomes == {}
        await jump(mock_clock, 0.001)
        assert is_late(desk, "late")
        assert set(desk.outcomes) == {"late"}
        await jump(mock_clock, 2)
        assert desk.store.batches == [["under way"], ["patient"]]
        assert desk.stored() == ["under way", "patient"]


async def test_a_deadline_in_the_moment_in_which_the_transaction_would_begin_has_passed(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        await stalled(desk, 2)
        desk.say("at the moment", lifetime=2)
        desk.say("behind it", lifetime=2.001)
        await jump(mock_clock, 2)
        assert is_late(desk, "at the moment")
        assert desk.stored() == ["under way", "behind it"]
        assert desk.story.count("ack at the moment") == 1


async def test_from_the_beginning_of_its_transaction_a_message_gets_the_true_answer(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        desk.store.latency = 3
        desk.say("slow", lifetime=1)
        await wait_all_tasks_blocked()
        await jump(mock_clock, 2)
        assert desk.outcomes == {}
        await jump(mock_clock, 1)
        assert desk.seq("slow") == 1
        assert desk.stored() == ["slow"]


async def test_a_message_whose_commit_was_lost_gets_the_true_answer(
    autojump_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        desk.store.fail_next("append_messages", StoreAmbiguous("lost"))
        desk.store.latency = 1
        desk.say("lost", lifetime=0.5)
        await desk.quiet()
        assert desk.seq("lost") == 1
        assert desk.stored() == ["lost"]


async def test_many_deadlines_behind_a_stalled_store_are_each_answered_once_and_in_time(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        await stalled(desk, 4)
        for number in range(300):
            desk.say(f"late {number}", lifetime=1 + number % 3)
            desk.say(f"in time {number}", lifetime=4 + 1 + number % 7)
            desk.say(f"patient {number}")
        for seconds, count in ((1, 100), (1, 200), (1, 300)):
            await jump(mock_clock, seconds)
            assert len(desk.outcomes) == count
        await jump(mock_clock, 1)
        assert len(desk.outcomes) == 901
        late = [content for content in desk.outcomes if is_late(desk, content)]
        assert sorted(late) == sorted(f"late {number}" for number in range(300))
        expected = [f"{word} {number}" for number in range(300) for word in ("in time", "patient")]
        assert desk.stored() == ["under way", *expected]
        await jump(mock_clock, 60)
        assert len(desk.story) == 901 + 601


async def test_a_queue_of_late_messages_is_empty_and_holds_up_neither_changes_nor_the_end(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    async with open_desk(journal_queue=4) as desk:
        results: list[str] = []

        async def work() -> tuple[str, list[RoomEvent]]:
            await trio.lowlevel.checkpoint()
            return "done", []

        async def change() -> None:
            results.append(await desk.journal.change(work))

        await stalled(desk, 4)
        desk.say("one", "two", "three", lifetime=1)
        nursery.start_soon(change)
        await wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            desk.say("too many")
        await jump(mock_clock, 1)
        desk.say("four", "five", "six", lifetime=1)  # the late ones take no place
        await jump(mock_clock, 1)
        assert is_late(desk, "six")
        await jump(mock_clock, 2)
        assert results == ["done"]
        assert desk.stored() == ["under way"]
        await desk.journal.flush()


async def test_a_late_message_is_not_in_the_way_of_its_repeat(mock_clock: MockClock) -> None:
    async with open_desk() as desk:
        await stalled(desk, 2)
        desk.say("late", key="k", lifetime=1)
        desk.say("again", key="k")
        await jump(mock_clock, 1)
        await jump(mock_clock, 1)
        assert is_late(desk, "late")
        outcome = desk.outcomes["again"]
        assert isinstance(outcome, AppendRow)
        assert outcome.outcome is Append.STORED


async def test_deadlines_that_are_forgotten_leave_nothing_behind(
    mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    deadlines, expired = Deadlines(), list[int]()
    nursery.start_soon(deadlines.run)

    def note(number: int) -> Callable[[], None]:
        return lambda: expired.append(number)

    watched = [Deadline(1 + number % 5, note(number)) for number in range(100)]
    for deadline in watched:
        deadlines.watch(deadline)
    for deadline in [*watched[:90], *watched[:90]]:
        deadlines.forget(deadline)
    assert len(deadlines._heap) <= 20
    for second in range(1, 6):
        await jump(mock_clock, 1)
        assert len(expired) == second * 2
    assert sorted(expired) == list(range(90, 100))
    deadlines.forget(watched[99])
    assert deadlines._heap == []


# On the wire


async def test_a_client_is_told_and_nobody_hears(tmp_path: Path, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with open_world(tmp_path, store) as world:
        anna, bert, session_id = await pair(world)
        async with world.connect(anna) as a, world.connect(bert) as b:
            await b.ask("session:join", sessionId=session_id)
            store.latency = 3
            first = await a.emit("message:send", sessionId=session_id, content="first")
            await wait_all_tasks_blocked()  # else both may be one batch, and neither is late
            late = await a.emit(
                "message:send", sessionId=session_id, content="late", deadlineMs=500
            )
            started = trio.current_time()
            error = (await a.answer(late))["error"]
            assert trio.current_time() - started == pytest.approx(0.5)
            assert (error["code"], error["retryable"]) == ("deadline_exceeded", True)
            await a.answer(first)
            store.latency = 0
            said = await say(a, session_id, "in time", deadlineMs=60_000)
            assert [event["content"] for event in await b.heard("message:new")] == [
                "first",
                "in time",
            ]
            assert (await fetched(a, session_id))[-1] == said


@pytest.mark.parametrize("deadline", [0, -1, 60_001, "5", 1.5, True])
async def test_what_is_no_deadline_is_refused(
    tmp_path: Path, autojump_clock: MockClock, deadline: object
) -> None:
    async with open_world(tmp_path) as world:
        anna, _, session_id = await pair(world)
        async with world.connect(anna) as a:
            said = {"sessionId": session_id, "content": "x", "deadlineMs": deadline}
            assert await a.refusal("message:send", **said) == "validation_failed"
