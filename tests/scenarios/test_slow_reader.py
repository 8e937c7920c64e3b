"""A client that stops reading is cut and recovers; nobody else notices that it was there."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from statistics import quantiles

import orjson
import pytest
import trio

from tests.scenarios.checker import check_stream
from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import (
    Json,
    Person,
    Push,
    Talker,
    create_session,
    register,
    talking,
    talking_as,
)
from tests.scenarios.wire import Frame, frame, open_wire

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO
READERS = 49
SIZE = 12_000  # characters of a message: the kernel's buffers and the outbox fill in 400 of them
MOST = 500  # messages after which the stalled reader must have been cut
BEFORE = 100  # messages without a stalled reader, to compare with
CHUNK = 20  # messages between two looks whether it has been cut
WINDOW = 4  # messages under way at once
WRITE_TIMEOUT = 10.0  # seconds; the daemon's default, for which nobody else may wait
MEMORY = 24 * 2**20  # bytes: an outbox of 1 MiB and what the allocator keeps, not every message
SLOW_CLOSES = 'chatd_closes_total{code="4008"}'


class Reader(Talker):
    """A talker that remembers when which `seq` came, and forgets the content."""

    def _take(self, message: Json, now: float) -> None:
        super()._take(message, now)
        if "ok" not in message and message["event"] == "message:new":
            push = self.pushes.pop()
            slim = {name: push.data[name] for name in ("sessionId", "seq")}
            self.pushes.append(Push(push.name, slim, now))


class Stream:
    """Messages of one sender, with the time at which each was sent."""

    def __init__(self, talker: Talker, session: str) -> None:
        self.sent_at: dict[int, float] = {}  # seq -> on Trio's clock
        self._talker = talker
        self._session = session

    @property
    def head(self) -> int:
        return max(self.sent_at, default=0)

    async def send(self, count: int) -> None:
        """Send messages, `WINDOW` of them under way at once."""
        async with trio.open_nursery() as nursery:
            for share in range(WINDOW):
                nursery.start_soon(self._send_some, len(range(share, count, WINDOW)))

    async def _send_some(self, count: int) -> None:
        for _ in range(count):
            now = trio.current_time()
            answer = await self._talker.send(self._session, "x" * SIZE)
            self.sent_at[answer["message"]["seq"]] = now


@asynccontextmanager
async def readers(daemon: Daemon, person: Person, session: str) -> AsyncIterator[list[Reader]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(READERS):
            reader = await stack.enter_async_context(talking_as(Reader, daemon, person))
            await reader.join(session)
            found.append(reader)
        yield found


@asynccontextmanager
async def stalled(daemon: Daemon, person: Person, session: str) -> AsyncIterator[Json]:
    """Join, and never read again; yields the state at the join."""
    async with open_wire(daemon.port, receive_buffer=4096) as wire:
        await wire.upgrade(person.token)
        join = {"event": "session:join", "id": 1, "data": {"sessionId": session}}
        await wire.send(frame(orjson.dumps(join)))
        answer: Json = {}
        while not answer.get("ok"):
            found = await wire.frames()
            assert found is not None
            answer = next((m for m in map(_decode, found) if "ok" in m), {})
        yield answer["data"]


def _decode(one: Frame) -> Json:
    message: Json = orjson.loads(one.payload)
    return message


def delivery(found: list[Reader], stream: Stream, after: int) -> tuple[float, float]:
    """Return the 99th percentile and the maximum of the delivery times above a `seq`."""
    times = [
        push.at - stream.sent_at[push.data["seq"]]
        for reader in found
        for push in reader.pushes
        if push.name == "message:new" and push.data["seq"] > after
    ]
    return quantiles(times, n=100)[-1], max(times)


@pytest.mark.threat("T19")
async def test_a_stalled_reader_is_cut_and_recovers_while_nobody_waits_for_it(
    daemon: Daemon,
) -> None:
    with trio.fail_after(90):
        ann, bob, cleo = [await register(daemon, name) for name in ("ann", "bob", "cleo")]
        session = await create_session(daemon, ann, bob, cleo)
        async with talking(daemon, ann) as sender, readers(daemon, bob, session) as others:
            stream = Stream(sender, session)
            await stream.send(BEFORE)
            await all_have(others, session, stream.head)
            quiet, _ = delivery(others, stream, 0)
            with daemon.grows_at_most(MEMORY):
                async with stalled(daemon, cleo, session) as joined:
                    assert joined["seq"] == BEFORE
                    await stream_until_cut(daemon, stream, others, session)
            for reader in others:
                assert check_stream(reader.seqs(session), after=0) == []
            busy, worst = delivery(others, stream, BEFORE)
        log.info("p99 %.3f s without, %.3f s with, worst %.3f s", quiet, busy, worst)
        assert worst < WRITE_TIMEOUT / 2
        assert busy < max(10 * quiet, 1.0)
        async with talking(daemon, cleo) as back:
            since = {"epoch": joined["epoch"], "seq": joined["seq"]}
            state = await back.join(session, since=since)
            assert state["recovered"]
            missed = [message["seq"] for message in state["messages"]]
            assert missed == list(range(BEFORE + 1, stream.head + 1))


async def stream_until_cut(
    daemon: Daemon, stream: Stream, others: list[Reader], session: str
) -> None:
    """Send until the stalled reader has been cut, and a little more; all others get it all."""
    closes, finished = await daemon.metric(SLOW_CLOSES), 0
    while await daemon.metric(SLOW_CLOSES) == closes:
        finished = stream.head - BEFORE
        assert finished < MOST, "the stalled reader was not cut"
        await stream.send(CHUNK)
        await all_have(others, session, stream.head)
    log.info("all others had %d messages of %d bytes while it was connected", finished, SIZE)
    assert finished > CHUNK
    await stream.send(CHUNK)
    await all_have(others, session, stream.head)
    assert await daemon.metric(SLOW_CLOSES) == closes + 1


async def all_have(found: list[Reader], session: str, head: int) -> None:
    """Wait until everybody has everything up to `head`."""
    for reader in found:
        await reader.until(partial(has, reader, session, head))


def has(reader: Reader, session: str, head: int) -> bool:
    return reader.seqs(session)[-1:] == [head]
