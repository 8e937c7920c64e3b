"""The outbox: straight to the kernel, then a bounded queue, then the cut."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from chatd.errors import CloseCode
from chatd.nurseries.outbox import Outbox

BIG = 1 << 18  # more than the small socket buffers of these tests take


@dataclass
class Desk:
    """An outbox, its client's end, and what the outbox asked for."""

    nursery: trio.Nursery
    stream: trio.abc.SendStream
    descriptor: int | None
    limits: dict[str, Any]
    writers: int = 0
    cuts: list[CloseCode] = field(default_factory=list)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        defaults: dict[str, Any] = {"max_bytes": 1 << 22, "max_frames": 1000, "write_timeout": 10.0}
        self.outbox = Outbox(
            start_writer=self._start_writer,
            cut=self.cuts.append,
            **(defaults | self.limits),
        )
        self.outbox.attach(self.stream, self.descriptor)

    def _start_writer(self) -> None:
        self.writers += 1
        self.nursery.start_soon(self.outbox.drain)


@dataclass
class SocketDesk(Desk):
    """The same over a pair of sockets with small buffers."""

    client: trio.SocketStream = field(kw_only=True)

    async def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = await self.client.receive_some(65_536)
            assert piece
            data += piece
        return data


@asynccontextmanager
async def open_sockets(**limits: Any) -> AsyncIterator[SocketDesk]:
    ours, theirs = trio.socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with trio.fail_after(10):
        async with (
            trio.SocketStream(ours) as stream,
            trio.SocketStream(theirs) as client,
            trio.open_nursery() as nursery,
        ):
            desk = SocketDesk(nursery, stream, ours.fileno(), limits, client=client)
            yield desk
            desk.outbox.close()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_lockstep(**limits: Any) -> AsyncIterator[tuple[Desk, trio.abc.ReceiveStream]]:
    """Run an outbox over a stream of which every write waits for its reader."""
    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        yield Desk(nursery, ours, None, limits), theirs
        nursery.cancel_scope.cancel()


async def test_a_push_is_in_the_kernel_before_anything_else_runs() -> None:
    async with open_sockets() as desk:
        desk.outbox.push(b"hello")
        assert desk.client.socket.recv is not None
        assert os.read(desk.client.socket.fileno(), 100) == b"hello"
        assert (desk.writers, desk.outbox.waiting_bytes) == (0, 0)


async def test_what_the_kernel_does_not_take_follows_in_order() -> None:
    async with open_sockets() as desk:
        desk.outbox.push(b"a" * BIG)
        desk.outbox.push(b"b" * 10)
        desk.outbox.push(b"c" * BIG)
        assert 0 < desk.outbox.waiting_bytes < 2 * BIG + 10
        assert desk.writers == 1
        assert await desk.read(2 * BIG + 10) == b"a" * BIG + b"b" * 10 + b"c" * BIG
        await wait_all_tasks_blocked()
        assert desk.outbox.waiting_bytes == 0


async def test_a_full_kernel_queues_the_whole_frame() -> None:
    async with open_sockets() as desk:
        desk.client.socket  # noqa: B018 - the client does not read
        filled = 0
        while True:
            try:
                filled += os.write(desk.descriptor or -1, b"x" * 1000)
            except BlockingIOError:
                break
        desk.outbox.push(b"behind")
        assert desk.outbox.waiting_bytes == len(b"behind")
        assert await desk.read(filled + 6) == b"x" * filled + b"behind"


async def test_an_outbox_that_has_caught_up_writes_straight_again() -> None:
    async with open_sockets() as desk:
        desk.outbox.push(b"a" * BIG)
        await desk.read(BIG)
        await wait_all_tasks_blocked()
        desk.outbox.push(b"again")
        assert os.read(desk.client.socket.fileno(), 100) == b"again"
        assert desk.writers == 1


async def test_more_frames_than_one_system_call_takes_arrive_in_order() -> None:
    async with open_sockets() as desk:
        frames = [b"a" * BIG, *(b"%04d" % number for number in range(300))]
        for frame in frames:
            desk.outbox.push(frame)
        whole = b"".join(frames)
        assert await desk.read(len(whole)) == whole
        await wait_all_tasks_blocked()
        assert desk.outbox.waiting_bytes == 0


async def test_a_writer_that_is_woken_for_nothing_waits_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_sockets() as desk:
        real, refusals = os.writev, [True, True]

        def writev(descriptor: int, buffers: Any) -> int:
            if refusals:
                refusals.pop()
                raise BlockingIOError(errno.EAGAIN, "not now")
            return real(descriptor, buffers)

        monkeypatch.setattr(os, "writev", writev)
        desk.outbox.push(b"a" * BIG)
        assert await desk.read(BIG) == b"a" * BIG
        assert refusals == []


async def test_a_client_that_is_gone_is_cut_at_the_push() -> None:
    async with open_sockets() as desk:
        await desk.client.aclose()
        desk.outbox.push(b"into the void")
        assert desk.cuts == [CloseCode.NORMAL]
        assert not desk.outbox.is_open
        desk.outbox.push(b"more")
        assert desk.cuts == [CloseCode.NORMAL]


async def test_a_client_that_goes_while_it_is_written_to_is_cut() -> None:
    async with open_sockets() as desk:
        desk.outbox.push(b"a" * BIG)
        await wait_all_tasks_blocked()
        await desk.client.aclose()
        await wait_all_tasks_blocked()
        assert desk.cuts == [CloseCode.NORMAL]


async def test_a_stream_without_a_descriptor_gets_what_waits_in_one_write() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        desk = Desk(nursery, ours, None, {})
        for frame in (b"one ", b"two ", b"three"):
            desk.outbox.push(frame)
        assert desk.writers == 1
        await wait_all_tasks_blocked()
        assert await theirs.receive_some(100) == b"one two three"
        desk.outbox.push(b"four")
        assert await theirs.receive_some(100) == b"four"
        assert desk.writers == 2


async def test_from_half_full_on_ephemeral_frames_are_dropped_and_durable_ones_kept() -> None:
    async with open_lockstep(max_frames=4) as (desk, _client):
        assert desk.outbox.push_ephemeral(b"a")
        assert desk.outbox.push_ephemeral(b"b")
        assert not desk.outbox.push_ephemeral(b"c")
        assert desk.outbox.dropped == 1
        desk.outbox.push(b"d")
        desk.outbox.push(b"e")
        assert desk.cuts == []
        assert desk.outbox.waiting_bytes == 4


async def test_half_of_the_bytes_is_half_full_as_well() -> None:
    async with open_lockstep(max_bytes=100) as (desk, _client):
        desk.outbox.push(b"x" * 50)
        assert not desk.outbox.push_ephemeral(b"y")
        assert desk.outbox.waiting_bytes == 50


@pytest.mark.parametrize("limits", [{"max_frames": 2}, {"max_bytes": 2}])
async def test_a_durable_frame_that_does_not_fit_cuts_as_slow(limits: dict[str, int]) -> None:
    async with open_lockstep(**limits) as (desk, _client):
        desk.outbox.push(b"a")
        desk.outbox.push(b"b")
        assert desk.cuts == []
        desk.outbox.push(b"c")
        assert desk.cuts == [CloseCode.SLOW]
        assert not desk.outbox.is_open
        desk.outbox.push(b"d")
        assert desk.cuts == [CloseCode.SLOW]
        assert desk.outbox.waiting_bytes == 0


async def test_a_push_of_several_frames_counts_them_all() -> None:
    async with open_lockstep(max_frames=4) as (desk, _client):
        desk.outbox.push(b"abc", 3)
        assert not desk.outbox.push_ephemeral(b"x")
        desk.outbox.push(b"de", 2)
        assert desk.cuts == [CloseCode.SLOW]


async def test_an_answer_may_be_longer_than_the_bound_and_leaves_the_bound_to_the_others() -> None:
    async with open_lockstep(max_bytes=100) as (desk, client):
        desk.outbox.push_answer(b"a" * 1000)
        desk.outbox.push(b"b" * 100)
        assert desk.cuts == []
        assert desk.outbox.waiting_bytes == 1100
        desk.outbox.push(b"c")
        assert desk.cuts == [CloseCode.SLOW]
        await trio.aclose_forcefully(client)


async def test_the_next_answer_waits_until_the_long_one_has_left() -> None:
    async with open_lockstep(max_bytes=100) as (desk, client):
        await desk.outbox.has_less()  # nothing waits: at once
        desk.outbox.push_answer(b"a" * 1000)
        ready = trio.Event()

        async def wait() -> None:
            await desk.outbox.has_less()
            ready.set()

        for _ in range(2):
            desk.nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not ready.is_set()
        assert len(await client.receive_some(10_000)) == 1000
        await wait_all_tasks_blocked()
        assert ready.is_set()


async def test_who_waits_for_a_long_answer_is_let_go_when_the_client_is_cut() -> None:
    async with open_lockstep(max_bytes=100) as (desk, _client):
        desk.outbox.push_answer(b"a" * 1000)
        desk.outbox.close()
        await desk.outbox.has_less()


async def test_a_client_that_reads_nothing_is_cut_at_the_write_timeout_and_not_before(
    mock_clock: MockClock,
) -> None:
    async with open_lockstep(write_timeout=10.0) as (desk, _client):
        desk.outbox.push(b"anybody there?")
        await wait_all_tasks_blocked()
        mock_clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert desk.cuts == []
        mock_clock.jump(0.1)
        await wait_all_tasks_blocked()
        assert desk.cuts == [CloseCode.SLOW]


async def test_a_stream_whose_write_was_cancelled_is_torn_and_takes_no_goodbye() -> None:
    async with open_lockstep() as (desk, _client):
        with trio.CancelScope() as scope:
            desk.outbox._start_writer = lambda: None
            desk.outbox.push(b"half of this may be out")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.outbox.drain)
                await wait_all_tasks_blocked()
                assert not desk.outbox.is_open
                scope.cancel()
        assert not desk.outbox.is_open
        assert desk.cuts == []


async def test_a_writer_that_is_cancelled_before_its_first_byte_has_torn_nothing() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        desk = Desk(nursery, ours, None, {})
        desk.outbox.push(b"an answer, ")
        nursery.cancel_scope.cancel()
    assert desk.outbox.is_open
    desk.outbox.push(b"and a goodbye")
    await desk.outbox.drain()
    assert await theirs.receive_some(100) == b"an answer, and a goodbye"


async def test_a_broken_stream_is_cut_as_gone() -> None:
    async with open_lockstep() as (desk, client):
        await trio.aclose_forcefully(client)
        desk.outbox.push(b"hello?")
        await wait_all_tasks_blocked()
        assert desk.cuts == [CloseCode.NORMAL]


async def test_an_outbox_closed_during_its_write_cuts_nobody() -> None:
    async with open_lockstep() as (desk, client):
        desk.outbox.push(b"last words")
        await wait_all_tasks_blocked()
        desk.outbox.close()
        assert await client.receive_some(100) == b"last words"
        await wait_all_tasks_blocked()
        assert desk.cuts == []
        desk.outbox.push(b"never")
        assert desk.outbox.waiting_bytes == 0


async def test_a_newer_value_takes_the_place_of_the_one_that_waits_and_its_place_in_the_order() -> (
    None
):
    async with open_lockstep() as (desk, client):
        desk.outbox.push(b"1")
        for value in (b"old", b"newer", b"new"):
            assert desk.outbox.push_latest("tea", value)
        desk.outbox.push_latest("cake", b"+")
        desk.outbox.push(b"2")
        assert desk.outbox.waiting_bytes == len(b"1new+2")
        assert await client.receive_some() == b"1new+2"
        desk.outbox.push_latest("tea", b"again")
        assert await client.receive_some() == b"again"


async def test_a_value_that_is_on_its_way_is_followed_by_the_newer_one() -> None:
    async with open_lockstep() as (desk, client):
        desk.outbox.push_latest("tea", b"old")
        await wait_all_tasks_blocked()
        desk.outbox.push_latest("tea", b"newer")
        desk.outbox.push_latest("tea", b"newest")
        assert await client.receive_some() == b"old"
        assert await client.receive_some() == b"newernewest"


async def test_from_half_full_on_a_value_is_dropped_or_replaced_by_one_no_longer() -> None:
    async with open_lockstep(max_bytes=10) as (desk, client):
        assert desk.outbox.push_latest("tea", b"tea")
        desk.outbox.push(b"12")
        assert not desk.outbox.push_latest("cake", b"c")
        assert not desk.outbox.push_latest("tea", b"longer")
        assert desk.outbox.push_latest("tea", b"new")
        assert desk.outbox.dropped == 2
        assert await client.receive_some() == b"new12"


async def test_a_newer_value_goes_to_the_kernel_at_once_when_nothing_waits() -> None:
    async with open_sockets() as desk:
        for value in (b"old", b"new"):
            assert desk.outbox.push_latest("tea", value)
        assert await desk.read(6) == b"oldnew"
