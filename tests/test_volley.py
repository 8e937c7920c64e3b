"""What is written to many members together comes to each as if it were written alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import cast
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chatd.config import Settings
from chatd.context import RoomEvent, Socket
from chatd.errors import CloseCode
from chatd.metrics import Metrics
from chatd.nurseries.outbox import Outbox
from chatd.nurseries.piece import Piece, grouped
from chatd.nurseries.ring import DATA_BYTES, ENTRIES, FEW, Ring
from chatd.nurseries.rooms import Rooms
from chatd.nurseries.seat import Run, Trail
from chatd.nurseries.volley import Volley
from chatd.store.memory import MemoryStore
from tests.ring_kit import Line, ring_or_like

SESSION = uuid4()


class Wire:
    """Says which wire it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def event(self, name: str, data: bytes) -> bytes:
        raise NotImplementedError

    def durable(self, event: RoomEvent) -> bytes:
        return f"{self.name}{event.seq};".encode() * 40


class Member:
    """A receiver over a line of its own."""

    def __init__(self, line: Line, wire: Wire, nursery: trio.Nursery) -> None:
        self.line = line
        self.wire = wire
        self.trail: Trail | None = Trail()
        self.user_id = UUID(int=0)
        self.cuts: list[CloseCode] = []
        self.outbox = Outbox(
            start_writer=lambda: nursery.start_soon(self.outbox.drain),
            cut=self.cuts.append,
            max_bytes=2000,
            max_frames=10_000,
            write_timeout=10.0,
        )
        stream = cast("trio.SocketStream", None)  # the descriptor is what is written to
        self.outbox.attach(stream, line.descriptor)

    def drop_place(self, session_id: UUID) -> None:
        raise NotImplementedError


@asynccontextmanager
async def open_crowd(names: str) -> AsyncIterator[list[Member]]:
    """Have one member a letter, which is its wire."""
    wires = {name: Wire(name) for name in names}
    with ExitStack() as stack, trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            members = [Member(Line(stack), wires[name], nursery) for name in names]
            yield members
            for member in members:
                member.outbox.close()
            nursery.cancel_scope.cancel()


def piece(*seqs: int) -> Piece:
    return Piece(SESSION, [RoomEvent(SESSION, seq, "message:new", b"") for seq in seqs])


def give(means: Ring | None, members: Sequence[Member], *seqs: int) -> None:
    volley = Volley(means)
    piece(*seqs).give(grouped(members), volley)
    volley.fire()


def told(name: str, *seqs: int) -> bytes:
    return b"".join(f"{name}{seq};".encode() * 40 for seq in seqs)


async def heard(member: Member, length: int) -> bytes:
    """Read what a member is sent until so much has come."""
    data = b""
    while len(data) < length:
        data += member.line.read()
        await trio.lowlevel.checkpoint()
    return data


@pytest.fixture(params=["in one call", "one by one"])
def means(request: pytest.FixtureRequest) -> Iterator[Ring | None]:
    with ring_or_like() as ring:
        yield cast("Ring", ring) if request.param == "in one call" else None


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 30])
async def test_members_of_several_wires_get_each_their_own(means: Ring | None, count: int) -> None:
    async with open_crowd("ab" * count + "b" * count) as members:
        give(means, members, 1, 2)
        give(means, members, 3)
        for member in members:
            assert member.line.read() == told(member.wire.name, 1, 2, 3)
            assert member.trail == [Run(SESSION, 1, 2), Run(SESSION, 3, 3)]
            assert not member.cuts


async def test_who_is_slow_gone_or_closed_changes_nothing_for_the_others(
    means: Ring | None,
) -> None:
    async with open_crowd("a" * 20) as members:
        slow, gone, closed, *others = members
        slow.line.fill()
        gone.line.far.close()
        closed.outbox.close()
        for seq in range(1, 4):
            give(means, members, seq)
        assert gone.cuts == [CloseCode.NORMAL]
        assert closed.line.read() == b""
        assert all(member.line.read() == told("a", 1, 2, 3) for member in others)
        assert slow.outbox.waiting_bytes
        data = b""
        while not data.endswith(told("a", 3)):
            data += slow.line.read()
            await trio.lowlevel.checkpoint()
        assert data.lstrip(b".") == told("a", 1, 2, 3)
        give(means, members, 4)  # at once again
        assert slow.line.read() == told("a", 4)
        slow.line.fill()
        for seq in range(5, 25):
            give(means, members, seq)
            for member in others:
                member.line.read()
        assert slow.cuts == [CloseCode.SLOW]
        assert not any(member.cuts for member in others)


@pytest.mark.parametrize("size", [DATA_BYTES // 2, DATA_BYTES + 1])
async def test_a_piece_that_the_kernel_takes_in_part_goes_on_where_it_stopped(
    means: Ring | None, size: int
) -> None:
    async with open_crowd("a" * 20) as members:
        seqs = range(1, size // 190)
        whole = told("a", *seqs)
        for member in members:
            member.outbox._max_bytes = 2 * size
        give(means, members, *seqs)
        assert all(member.outbox.waiting_bytes for member in members)
        for member in members:
            assert await heard(member, len(whole)) == whole


async def test_who_is_in_several_rooms_is_told_in_the_order_of_the_trail(
    means: Ring | None,
) -> None:
    """Also when the kernel takes only a part of the first: what follows stands behind the rest."""
    async with open_crowd("a" * 40) as members:
        members[0].line.fill()
        for member in members:
            member.outbox._max_bytes = 1 << 20
        volley = Volley(means)
        long = range(1, 200)
        piece(*long).give(grouped(members[:20]), volley)
        piece(200).give(grouped(members[10:]), volley)
        piece(201).give(grouped(members), volley)
        volley.fire()
        for number, member in enumerate(members):
            seqs = [*(long if number < 20 else ()), *([200] if number >= 10 else ()), 201]
            data = b""
            while not data.endswith(told("a", 201)):
                data += member.line.read()
                await trio.lowlevel.checkpoint()
            assert data.lstrip(b".") == told("a", *seqs)
            assert member.trail is not None
            runs = [*([199] if number < 20 else ()), *([200] if number >= 10 else ()), 201]
            assert [run.last for run in member.trail] == runs


async def test_more_members_and_bytes_than_one_call_takes(means: Ring | None) -> None:
    async with open_crowd("a" * (ENTRIES + 20)) as members:
        volley = Volley(means)
        for seq in range(1, 30):
            piece(seq).give(grouped(members[seq * 10 : seq * 10 + 10]), volley)
        piece(30).give(grouped(members), volley)
        volley.fire()
        for number, member in enumerate(members):
            first = [number // 10] if 10 <= number < 300 else []
            assert member.line.read() == told("a", *first, 30)


class BrokenWire(Wire):
    """Cannot write events any more."""

    def durable(self, event: RoomEvent) -> bytes:
        raise RuntimeError(event.seq)


async def test_a_room_that_cannot_be_told_takes_nothing_from_the_others(
    means: Ring | None,
) -> None:
    """It is behind afterwards, which the position check sees, and so are those it kept off."""
    async with open_crowd("a" * 60) as members, trio.open_nursery() as nursery:
        metrics = Metrics()
        rooms = Rooms(nursery, MemoryStore(), Settings(), metrics, means)
        sessions = [uuid4() for _ in range(3)]
        places = [
            rooms.enter(sessions[number // 20], cast("Socket", member))
            for number, member in enumerate(members)
        ]
        for place in places:
            place.settle(0)
        await wait_all_tasks_blocked()
        events = [RoomEvent(each, 1, "message:new", b"") for each in sessions]
        members[30].wire = BrokenWire("b")
        with pytest.raises(RuntimeError):
            rooms.publish(events, is_answered=True)
        told_now = [member.line.read() for member in members]
        assert told_now == [told("a", 1)] * 20 + [b""] * 40
        assert [len(member.trail or ()) for member in members] == [1] * 20 + [0] * 40
        members[30].wire = members[0].wire
        places[30].rewired()
        rooms.publish(events[1:], is_answered=True)
        assert [member.line.read() for member in members] == [b""] * 20 + [told("a", 1)] * 40
        assert metrics.registry.get_sample_value("chatd_deliveries_total") == len(members)
        nursery.cancel_scope.cancel()


async def test_who_changes_the_wire_is_written_to_on_the_new_one_and_others_as_before(
    means: Ring | None,
) -> None:
    async with open_crowd("a" * 20) as members, trio.open_nursery() as nursery:
        rooms = Rooms(nursery, MemoryStore(), Settings(), Metrics(), means)
        places = [rooms.enter(SESSION, cast("Socket", member)) for member in members]
        for place in places:
            place.settle(0)
        await wait_all_tasks_blocked()
        rooms.publish([RoomEvent(SESSION, 1, "message:new", b"")], is_answered=True)
        members[3].wire = Wire("b")
        places[3].rewired()
        places[4].leave()
        rooms.publish([RoomEvent(SESSION, 2, "message:new", b"")], is_answered=True)
        for number, member in enumerate(members):
            second = {3: told("b", 2), 4: b""}.get(number, told("a", 2))
            assert member.line.read() == told("a", 1) + second
        nursery.cancel_scope.cancel()


async def test_a_ring_that_is_lost_is_done_without(means: Ring | None) -> None:
    async with open_crowd("a" * 20) as members:
        if isinstance(means, Ring):
            means.close()
        give(means, members, 1)
        assert all(member.line.read() == told("a", 1) for member in members)
