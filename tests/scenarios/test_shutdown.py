"""SIGTERM amid everything: every client that reads is told, nothing acknowledged is lost."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest
import trio

from chatd.client import ClientError
from tests.scenarios.checker import Entry, check_history
from tests.scenarios.daemon import Daemon, running_daemon, seconds_since
from tests.scenarios.talker import (
    Json,
    Lost,
    Person,
    Talker,
    create_session,
    register,
    talking,
)
from tests.scenarios.wire import Wire, frame, open_wire

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO
DRAIN = 3.0  # seconds
SLACK = 2.0  # seconds for the process and its PostgreSQL to end, on a shared machine
AT_ONCE = 2.0 + SLACK  # seconds after a second signal: the goodbyes of those that do not read
SENDERS = 50
IDLE = 10
DEAF = 10  # clients that never read
PAGES = 4  # of 1.6 MB each, that wait for a deaf client
DRAINING = 4005
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Ledger:
    """What the senders were told."""

    def __init__(self) -> None:
        self.sent: dict[str, str] = {}
        self.acked: list[Entry] = []
        self.refusals: set[tuple[str, bool]] = set()
        self._told = trio.Event()

    async def reaches(self, acks: int) -> None:
        while len(self.acked) < acks:
            self._told = trio.Event()
            await self._told.wait()

    async def write(self, talker: Talker, session: str, name: str) -> None:
        """Send until refused or closed."""
        number = 0
        while True:
            key = f"{name}.{(number := number + 1)}"
            self.sent[key] = f"message {key}"
            try:
                answer = await talker.ask(
                    "message:send", sessionId=session, content=self.sent[key], clientMsgId=key
                )
            except Lost:
                return
            except ClientError as refusal:
                self.refusals.add((refusal.code, refusal.retryable))
                return
            self.acked.append(Entry(key, answer["message"]["seq"], self.sent[key]))
            self._told.set()


@asynccontextmanager
async def crowd(daemon: Daemon, person: Person, count: int) -> AsyncIterator[list[Talker]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(talking(daemon, person)) for _ in range(count)]


@asynccontextmanager
async def deaf(daemon: Daemon, person: Person, session: str) -> AsyncIterator[Wire]:
    """Join, ask for more pages than the kernel takes, and read none of them."""
    async with open_wire(daemon.port, receive_buffer=4096) as wire:
        await wire.upgrade(person.token)
        for event in ("session:join", *["message:history"] * PAGES):
            asked = {"event": event, "id": 1, "data": {"sessionId": session, "limit": 100}}
            await wire.send(frame(orjson.dumps(asked)))
        yield wire


@asynccontextmanager
async def deaf_crowd(daemon: Daemon, person: Person, session: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(DEAF):
            await stack.enter_async_context(deaf(daemon, person, session))
        yield


async def fill(daemon: Daemon, person: Person, session: str, ledger: Ledger) -> None:
    """Store a long page."""
    async with talking(daemon, person) as talker:
        for number in range(100):
            key, content = f"long{number}", "x" * 16_000
            answer = await talker.send(session, content, key)
            ledger.sent[key] = content
            ledger.acked.append(Entry(key, answer["message"]["seq"], content))


def names_of(talker: Talker) -> list[str]:
    return [push.name for push in talker.pushes]


def is_lost(talker: Talker) -> bool:
    return talker.is_lost


def has_heard_of_it(talker: Talker) -> bool:
    return "server:draining" in names_of(talker)


def was_told(talker: Talker) -> bool:
    """Return whether a client heard of the drain, then of its own end, then was closed for it."""
    names = names_of(talker)
    closing: Json = talker.pushes[-1].data
    return (
        names.count("server:draining") == 1
        and names[-1] == "connection:closing"
        and (closing["code"], closing["reconnect"]) == (DRAINING, True)
        and talker.close_code == DRAINING
    )


async def test_a_drain_tells_every_client_loses_no_ack_and_ends_in_time(tmp_path: Path) -> None:
    with trio.fail_after(90), running_daemon(tmp_path / "data", drain_seconds=DRAIN) as daemon:
        ann, bob = await register(daemon, "ann"), await register(daemon, "bob")
        session = await create_session(daemon, ann, bob)
        ledger = Ledger()
        await fill(daemon, ann, session, ledger)
        async with (
            crowd(daemon, ann, SENDERS) as senders,
            crowd(daemon, bob, IDLE) as idle,
            deaf_crowd(daemon, bob, session),
            trio.open_nursery() as nursery,
        ):
            for talker in idle:
                await talker.join(session)
            for number, talker in enumerate(senders):
                nursery.start_soon(ledger.write, talker, session, f"ann{number}")
            await ledger.reaches(len(ledger.acked) + 500)
            answered = await end_with_http_under_way(daemon, ann, session)
            for talker in (*senders, *idle):
                await talker.until(partial(is_lost, talker))
            assert [names_of(talker) for talker in (*senders, *idle) if not was_told(talker)] == []
        assert ledger.refusals <= {("draining", True)}
        await trio.to_thread.run_sync(daemon.start)
        async with talking(daemon, bob) as talker:
            stored = [
                Entry(message["clientMsgId"], message["seq"], message["content"])
                for message in await talker.history(session, 0)
            ]
        ledger.sent["under-way"] = "hello"
        assert check_history(stored, ledger.acked, ledger.sent) == []
        assert ("under-way" in {entry.key for entry in stored}) == (answered == 201)
        log.info("acknowledged %d, lost 0", len(ledger.acked))


async def end_with_http_under_way(daemon: Daemon, person: Person, session: str) -> int | None:
    """SIGTERM with an idle keep-alive and half a request; return the other half's answer."""
    async with open_wire(daemon.port) as idle, open_wire(daemon.port) as half:
        await idle.send(GET)
        assert await idle.status() == 200
        head, body = request_under_way(person, session)
        await begin(half, head + body[:5])
        started = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert await idle.head() is None  # nothing was asked: closed at once
        closed_idle = seconds_since(started)
        await half.send(body[5:])
        answered = await half.status()
        assert answered in {201, 503}
        assert await half.head() is None
        assert await daemon.exited() == 0
        took = seconds_since(started)
    log.info("exit after %.2f s, idle HTTP closed after %.2f s", took, closed_idle)
    assert closed_idle < DRAIN
    assert took < DRAIN + SLACK
    return answered


async def begin(wire: Wire, part: bytes) -> None:
    """Send part of a request; the answer to one in front of it tells that it has been read."""
    await wire.send(GET + part)
    assert await wire.status() == 200


def request_under_way(person: Person, session: str) -> tuple[bytes, bytes]:
    """Return head and body of a POST."""
    body = json.dumps({"content": "hello"}).encode()
    head = (
        f"POST /chat/sessions/{session}/messages HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {person.token}\r\nIdempotency-Key: under-way\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


async def test_a_draining_daemon_takes_nobody_in_and_a_second_sigterm_ends_it_at_once(
    tmp_path: Path,
) -> None:
    with trio.fail_after(60), running_daemon(tmp_path / "data", drain_seconds=60) as daemon:
        ann = await register(daemon, "ann")
        session = await create_session(daemon, ann)
        ledger = Ledger()
        await fill(daemon, ann, session, ledger)
        async with (
            crowd(daemon, ann, IDLE) as idle,
            deaf_crowd(daemon, ann, session),
            open_wire(daemon.port) as half,
        ):
            await begin(half, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
            daemon.signal(signal.SIGTERM)
            for talker in idle:
                await talker.until(partial(has_heard_of_it, talker))
            await half.send(b"\r\n")
            assert await half.status() == 503
            with pytest.raises(OSError, match="refused"):
                await open_wire(daemon.port).__aenter__()
            started = time.monotonic()
            daemon.signal(signal.SIGTERM)
            assert await daemon.exited() == 0
            took = seconds_since(started)
            log.info("exit %.2f s after the second signal", took)
            assert took < AT_ONCE
        await trio.to_thread.run_sync(daemon.start)
        async with talking(daemon, ann) as talker:
            assert len(await talker.history(session, 0)) == len(ledger.acked)
            await talker.send(session, "hello again")
