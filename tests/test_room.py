"""The room's rule: each seat sees rising `seq`, each event at most once, and all of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID, uuid4

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from chatd.config import Settings
from chatd.context import RoomEvent, Socket
from chatd.errors import StoreUnavailable
from chatd.metrics import Metrics
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.room import ASIDE, CATCHUP_RETRY, CHUNK, Room
from chatd.nurseries.rooms import AT_ONCE, open_rooms
from chatd.nurseries.seat import Run, Seat, Trail
from chatd.nurseries.volley import Volley
from chatd.store.memory import MemoryStore

SESSION = uuid4()


class ReadableWire:
    """A wire that people can read."""

    def event(self, name: str, data: bytes) -> bytes:
        return b"%b %b\n" % (name.encode(), data)

    def durable(self, event: RoomEvent) -> bytes:
        return self.event(event.name, event.data)


WIRE = ReadableWire()


class Notebook(Outbox):
    """An outbox that writes down what it is given."""

    def __init__(self) -> None:
        super().__init__(
            start_writer=lambda: None,
            cut=lambda _code: None,
            max_bytes=1 << 20,
            max_frames=1 << 20,
            write_timeout=1.0,
        )
        self.lines: list[str] = []
        self.is_slow = False
        self.pushes = 0

    def push(self, data: bytes, frames: int = 1) -> None:
        assert data.count(b"\n") == frames
        self.lines += data.decode().splitlines()
        self.pushes += 1

    def push_ephemeral(self, data: bytes) -> bool:
        if not self.is_slow:
            self.push(data)
        return not self.is_slow


class Member:
    """A receiver who has a name."""

    def __init__(self, name: str, user_id: UUID | None = None) -> None:
        self.id = name
        self.user_id = user_id or uuid4()
        self.outbox: Notebook = Notebook()
        self.wire = WIRE
        self.trail: Trail | None = Trail()
        self.seat: Seat | None = None
        self.dropped: list[UUID] = []

    def drop_place(self, session_id: UUID) -> None:
        self.dropped.append(session_id)
        if self.seat is not None:
            self.seat.leave()

    @property
    def seen(self) -> list[int]:
        """The `seq` of every message that came."""
        return [int(line.split()[1]) for line in self.outbox.lines if line.startswith("message:")]


def event(seq: int, removed: UUID | None = None) -> RoomEvent:
    return RoomEvent(SESSION, seq, "message:new", str(seq).encode(), removed)


class Desk:
    """A room, and the log that a store would have."""

    def __init__(self) -> None:
        self.seq = 0
        self.page = 100  # events of one page of a catch-up
        self.reads = 0
        self.failures = 0  # reads that fail from now on
        self.is_closed = False
        self.removed: dict[int, UUID] = {}
        self.room = Room(
            SESSION,
            backlog=8,
            catch_up=self.catch_up,
            metrics=Metrics(),
            on_empty=self.close,
        )

    async def catch_up(self, session_id: UUID, seq: int) -> tuple[list[RoomEvent], int, bool]:
        assert session_id == SESSION
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if self.failures:
            self.failures -= 1
            msg = "away"
            raise StoreUnavailable(msg)
        reached = min(self.seq, seq + self.page)
        events = [event(each, self.removed.get(each)) for each in range(seq + 1, reached + 1)]
        return events, reached, reached == self.seq

    def close(self, session_id: UUID) -> None:
        assert session_id == SESSION
        self.is_closed = True

    def commit(self, count: int = 1) -> None:
        """Something happens in the store; the room has not heard of it."""
        self.seq += count

    def publish(self, *seqs: int) -> None:
        for seq in seqs:
            self.seq = max(self.seq, seq)
            self.room.publish(event(seq, self.removed.get(seq)))

    def deliver(self, *seqs: int, limit: int = AT_ONCE) -> int:
        """What one transaction has committed, with its senders answered."""
        self.seq = max(self.seq, *seqs)
        volley = Volley(None)
        return self.room.deliver([event(seq, self.removed.get(seq)) for seq in seqs], limit, volley)

    def join(self, name: str, at: int | None = None, user_id: UUID | None = None) -> Member:
        """Let somebody in whose page was read at once."""
        member = Member(name, user_id)
        member.seat = self.room.enter(member)
        seq = self.seq if at is None else at
        assert member.seat.covers(seq)
        member.seat.settle(seq)
        return member


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.room.run)
        yield desk
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "arrivals",
    [
        (1, 2, 3),
        (1, 1, 2, 2, 3, 3),
        (2, 1, 3),
        (3, 2, 1),
        (3, 1, 2),
        (1, 3),
        (3,),
        (1, 2, 3, 1, 2, 3),
    ],
)
@pytest.mark.parametrize("is_burst", [True, False])
async def test_doubled_reordered_and_lost_events_are_seen_once_and_in_order(
    arrivals: Sequence[int], is_burst: bool
) -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        for seq in arrivals:
            desk.publish(seq)
            if not is_burst:
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2, 3]


async def test_an_event_in_its_order_costs_no_read_of_the_store() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.publish(1, 2)
        await wait_all_tasks_blocked()
        assert (anna.seen, desk.reads) == ([1, 2], 0)


async def test_a_late_event_is_not_seen_again() -> None:
    async with open_desk() as desk:
        desk.commit(5)
        anna = desk.join("anna")
        desk.publish(3, 5)
        await wait_all_tasks_blocked()
        assert anna.seen == []
        desk.publish(6)
        await wait_all_tasks_blocked()
        assert anna.seen == [6]


async def test_a_lost_last_event_is_found_when_the_room_is_woken() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.commit(2)
        await wait_all_tasks_blocked()
        assert anna.seen == []
        desk.room.wake()
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2]


async def test_a_room_that_is_woken_for_nothing_says_nothing() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.publish(1)
        desk.room.wake()
        await wait_all_tasks_blocked()
        desk.room.wake()
        await wait_all_tasks_blocked()
        assert anna.seen == [1]


async def test_a_feed_that_overflows_loses_nothing() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.publish(*range(1, 31))  # the feed holds 8
        await wait_all_tasks_blocked()
        assert anna.seen == list(range(1, 31))


async def test_a_catch_up_reads_page_after_page() -> None:
    async with open_desk() as desk:
        desk.page = 2
        anna = desk.join("anna")
        desk.publish(7)
        await wait_all_tasks_blocked()
        assert anna.seen == list(range(1, 8))
        assert desk.reads == 4


async def test_a_store_that_is_away_is_asked_again_after_the_pause_and_not_before(
    mock_clock: MockClock,
) -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.failures = 1
        desk.publish(2)
        await wait_all_tasks_blocked()
        mock_clock.jump(CATCHUP_RETRY - 0.01)
        await wait_all_tasks_blocked()
        assert (anna.seen, desk.reads) == ([], 1)
        mock_clock.jump(0.01)
        await wait_all_tasks_blocked()
        assert (anna.seen, desk.reads) == ([1, 2], 2)


# Joins


async def test_events_during_the_read_of_a_page_follow_behind_it() -> None:
    async with open_desk() as desk:
        desk.join("anna")
        bert = Member("bert")
        seat = desk.room.enter(bert)
        desk.publish(1, 2, 3)
        await wait_all_tasks_blocked()
        assert bert.seen == []
        assert seat.covers(2)  # the page was read between 2 and 3
        seat.settle(2)
        desk.publish(4)
        await wait_all_tasks_blocked()
        assert bert.seen == [3, 4]


async def test_a_page_older_than_the_room_must_be_read_again() -> None:
    async with open_desk() as desk:
        desk.commit(5)
        desk.join("anna")
        bert = Member("bert")
        seat = desk.room.enter(bert)
        assert not seat.covers(3)  # 4 and 5 were fanned out before the seat was taken
        assert seat.covers(5)


async def test_a_page_newer_than_the_room_is_followed_without_a_repeat() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.commit(2)
        bert = desk.join("bert")  # its page has 1 and 2, of which the room has not heard
        desk.publish(1)
        await wait_all_tasks_blocked()
        desk.publish(2, 3)
        await wait_all_tasks_blocked()
        desk.publish(4)
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2, 3, 4]
        assert bert.seen == [3, 4]


async def test_too_much_during_the_read_of_a_page_makes_it_be_read_again() -> None:
    async with open_desk() as desk:
        desk.page = 2 * ASIDE
        anna = desk.join("anna")
        bert = Member("bert")
        seat = desk.room.enter(bert)
        desk.publish(ASIDE + 1)
        await wait_all_tasks_blocked()
        assert len(anna.seen) == ASIDE + 1
        assert not seat.covers(0)
        desk.publish(ASIDE + 2)
        await wait_all_tasks_blocked()
        assert seat.covers(ASIDE + 1)
        seat.settle(ASIDE + 1)
        assert bert.seen == [ASIDE + 2]


async def test_a_seat_that_was_left_during_the_read_gets_nothing() -> None:
    async with open_desk() as desk:
        desk.join("anna")
        bert = Member("bert")
        seat = desk.room.enter(bert)
        seat.leave()
        seat.settle(0)
        desk.publish(1)
        await wait_all_tasks_blocked()
        assert bert.seen == []


async def test_a_second_seat_of_one_receiver_takes_the_place_of_the_first() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        old = anna.seat
        assert old is not None
        anna.seat = desk.room.enter(anna)
        old.leave()  # of a seat that is held no more: nothing happens
        desk.publish(1)
        await wait_all_tasks_blocked()
        assert anna.seen == []
        anna.seat.settle(0)
        desk.publish(2)
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2]


async def test_the_first_seat_of_an_empty_room_moves_its_head_forward() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        bert = Member("bert")
        seat = desk.room.enter(bert)
        assert anna.seat is not None
        anna.seat.leave()
        desk.publish(1, 2)  # still in the feed when the seat settles
        seat.settle(2)
        desk.publish(3)
        await wait_all_tasks_blocked()
        assert bert.seen == [3]
        assert desk.reads == 0


async def test_of_two_who_enter_an_empty_room_the_older_page_must_be_read_again() -> None:
    async with open_desk() as desk:
        desk.commit(5)
        anna, bert = Member("anna"), Member("bert")
        first, second = desk.room.enter(anna), desk.room.enter(bert)
        assert first.covers(5)
        first.settle(5)
        assert not second.covers(3)  # 4 and 5 were never fanned out here
        assert second.covers(5)
        second.settle(5)
        desk.publish(4, 5, 6)
        await wait_all_tasks_blocked()
        assert anna.seen == bert.seen == [6]


async def test_the_last_to_leave_closes_the_room() -> None:
    async with open_desk() as desk:
        anna, bert = desk.join("anna"), desk.join("bert")
        assert anna.seat is not None
        assert bert.seat is not None
        anna.seat.leave()
        assert not desk.is_closed
        bert.seat.leave()
        assert desk.is_closed


# Removal


async def test_who_is_removed_hears_it_and_nothing_after_it() -> None:
    async with open_desk() as desk:
        anna, bert = desk.join("anna"), desk.join("bert")
        bert_at_home = desk.join("bert at home", user_id=bert.user_id)
        desk.removed[2] = bert.user_id
        desk.publish(1, 2, 3)
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2, 3]
        for gone in (bert, bert_at_home):
            assert gone.seen == [1, 2]
            assert gone.outbox.lines[-1].startswith("session:removed")
            assert gone.dropped == [SESSION]


async def test_a_removal_reaches_those_who_are_ahead() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.commit(1)
        ahead = desk.join("ahead")
        desk.removed[2] = ahead.user_id
        desk.publish(1, 2, 3)
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2, 3]
        assert ahead.seen == [2]
        assert ahead.outbox.lines[-1].startswith("session:removed")
        desk.publish(4)
        await wait_all_tasks_blocked()
        assert ahead.seen == [2]


async def test_who_is_removed_while_their_page_is_read_must_read_it_again() -> None:
    async with open_desk() as desk:
        desk.join("anna")
        bert = Member("bert")
        bert.seat = desk.room.enter(bert)
        desk.removed[2] = bert.user_id
        desk.publish(1, 2)
        await wait_all_tasks_blocked()
        assert not bert.seat.covers(1)
        assert bert.seat.covers(2)  # if there is a page at all, they have been taken in again


async def test_who_was_taken_in_again_before_the_room_hears_of_the_removal_stays() -> None:
    async with open_desk() as desk:
        desk.join("anna")
        desk.commit(3)
        bert = desk.join("bert")  # removed at 2, taken in at 3: the page knows it
        desk.removed[2] = bert.user_id
        desk.publish(1, 2, 3, 4)
        await wait_all_tasks_blocked()
        assert bert.seen == [4]
        assert bert.dropped == []


async def test_a_removal_that_was_lost_on_the_way_is_read_from_the_store() -> None:
    async with open_desk() as desk:
        bert = desk.join("bert")
        desk.join("anna")
        desk.removed[1] = bert.user_id
        desk.publish(3)
        await wait_all_tasks_blocked()
        assert bert.seen == [1]
        assert bert.dropped == [SESSION]


# Many


async def test_who_leaves_during_a_long_fan_out_is_not_written_to() -> None:
    async with open_desk() as desk:
        members = [desk.join(f"member {number}") for number in range(CHUNK + 10)]
        first, last = members[0], members[-1]

        def push(data: bytes, frames: int = 1) -> None:
            Notebook.push(first.outbox, data, frames)
            assert last.seat is not None
            last.seat.leave()

        first.outbox.push = push  # type: ignore[method-assign] # the moment is what is tested
        desk.publish(1)
        await wait_all_tasks_blocked()
        assert last.seen == []
        assert all(member.seen == [1] for member in members[:-1])


async def test_an_ephemeral_event_goes_to_all_but_one_user_and_counts_who_missed_it() -> None:
    async with open_desk() as desk:
        anna, bert, slow = desk.join("anna"), desk.join("bert"), desk.join("slow")
        slow.outbox.is_slow = True
        assert desk.room.broadcast("user:typing", b"{}", but=anna.user_id) == 1
        assert (anna.outbox.lines, bert.outbox.lines, slow.outbox.lines) == (
            [],
            ["user:typing {}"],
            [],
        )


# In the step that publishes


async def test_a_small_room_that_has_nothing_to_do_is_written_to_in_the_step_that_publishes() -> (
    None
):
    async with open_desk() as desk:
        anna, bert = desk.join("anna"), desk.join("bert", at=0)
        await wait_all_tasks_blocked()
        assert desk.deliver(1, 2) == 2
        assert (anna.seen, bert.seen, anna.outbox.pushes) == ([1, 2], [1, 2], 1)
        desk.publish(3)
        await wait_all_tasks_blocked()
        assert desk.deliver(4) == 2
        assert anna.seen == bert.seen == [1, 2, 3, 4]
        assert anna.trail == [Run(SESSION, 1, 2), Run(SESSION, 3, 3), Run(SESSION, 4, 4)]


async def test_a_larger_room_is_left_to_its_task() -> None:
    async with open_desk() as desk:
        members = [desk.join(str(number)) for number in range(11)]
        await wait_all_tasks_blocked()
        assert desk.deliver(1, limit=10) == 0
        assert not any(member.seen for member in members)
        await wait_all_tasks_blocked()
        assert all(member.seen == [1] for member in members)


@pytest.mark.parametrize("earlier", ["an event", "a wake-up"])
async def test_what_waits_in_the_feed_is_not_overtaken(earlier: str) -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        await wait_all_tasks_blocked()
        if earlier == "an event":
            desk.publish(1)
        else:
            desk.commit()
            desk.room.wake()
        assert desk.deliver(2) == 0
        assert anna.seen == []
        await wait_all_tasks_blocked()
        assert anna.seen == [1, 2]


async def test_what_does_not_follow_is_left_to_the_task() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        desk.removed[5] = uuid4()
        await wait_all_tasks_blocked()
        for seqs in ((2,), (2,), (3, 4, 5)):  # behind a hole, doubled, and the end of a member
            assert desk.deliver(*seqs) == 0
            await wait_all_tasks_blocked()
        assert anna.seen == [1, 2, 3, 4, 5]


async def test_who_enters_or_stands_ahead_gets_what_is_sent_at_once_like_the_others() -> None:
    async with open_desk() as desk:
        anna = desk.join("anna")
        await wait_all_tasks_blocked()
        desk.commit(2)
        bert = desk.join("bert")  # ahead: its page has the two that are on their way
        cora = Member("cora")
        cora.seat = desk.room.enter(cora)
        for seq in (1, 2, 3):
            assert desk.deliver(seq) == (2 if seq == 3 else 1)
        assert cora.seat.covers(2)
        cora.seat.settle(2)
        assert (anna.seen, bert.seen, cora.seen) == ([1, 2, 3], [3], [3])


async def test_rooms_write_at_once_only_when_who_asked_has_the_ack_and_to_some_hundred() -> None:
    async with open_rooms(MemoryStore(), Settings(), Metrics()) as rooms:
        everybody: list[Member] = []
        sessions = [uuid4() for _ in range(AT_ONCE // 50 + 1)]
        for session_id in sessions:
            for _ in range(50):
                everybody.append(member := Member("somebody"))
                rooms.enter(session_id, cast("Socket", member)).settle(0)
        await wait_all_tasks_blocked()

        def publish(seq: int, *, is_answered: bool) -> list[int]:
            data = str(seq).encode()
            events = [RoomEvent(each, seq, "message:new", data) for each in sessions]
            rooms.publish(events, is_answered=is_answered)
            return [member.seen.count(seq) for member in everybody]

        assert sum(publish(1, is_answered=False)) == 0
        await wait_all_tasks_blocked()
        assert sum(publish(2, is_answered=True)) == AT_ONCE
        await wait_all_tasks_blocked()
        assert all(member.seen == [1, 2] for member in everybody)


# Whatever happens


def _publish(chance: random.Random, desk: Desk, seqs: list[int]) -> None:
    is_answered = chance.choice([False, True])
    while seqs:
        count = chance.randint(1, 3)
        if is_answered:
            desk.deliver(*seqs[:count])
        else:
            desk.publish(*seqs[:count])
        seqs = seqs[count:]


async def _live_through(chance: random.Random) -> None:
    """Commit events that the feed loses, doubles and shuffles, while people come and go."""
    async with open_desk() as desk:
        desk.page = chance.choice([1, 3, 100])
        joined: list[tuple[Member, int]] = [(desk.join("anna"), 0)]
        entering: list[Member] = []
        on_the_way: list[int] = []
        for _ in range(chance.randrange(1, 40)):
            what = chance.random()
            if what < 0.5:
                desk.commit()
                on_the_way += [desk.seq] * chance.choice([0, 1, 1, 1, 2])
            elif what < 0.7:
                chance.shuffle(on_the_way)
                _publish(chance, desk, on_the_way)
                on_the_way.clear()
            elif what < 0.8:
                member = Member("somebody")
                member.seat = desk.room.enter(member)
                entering.append(member)
            elif what < 0.9 and entering:
                member = entering.pop()
                page = chance.randrange(max(0, desk.seq - 2), desk.seq + 1)  # a replica lags
                assert member.seat is not None
                if not member.seat.covers(page):
                    page = desk.seq
                    assert member.seat.covers(page)
                member.seat.settle(page)
                joined.append((member, page))
            elif len(joined) > 1:
                member, page = joined.pop()
                assert member.seat is not None
                member.seat.leave()
                assert member.seen == list(range(page + 1, page + 1 + len(member.seen)))
            desk.failures = chance.choice([0, 0, 0, 1])
            for _ in range(chance.randrange(3)):
                await trio.lowlevel.checkpoint()
        desk.room.wake()  # as the position check does
        await trio.sleep(60)
        for member, page in joined:
            assert member.seen == list(range(page + 1, desk.seq + 1))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_the_feed_does_everybody_sees_everything_once_in_order(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    trio.run(_live_through, chance, clock=MockClock(autojump_threshold=0))
