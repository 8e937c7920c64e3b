"""One connection to Redis that comes back by itself: what several daemons tell each other by.

Nobody waits for Redis on the way of a message: what is sent goes into a bounded buffer and leaves
with the next write, all of it at once. While there is no connection it is dropped, and said so when
there is one again: the database is the truth, and Redis only a hint of it. coredis takes 94 µs a
message for both ends, this 5: it ends subscriptions silently with their connection, and its inbox
has no bound (measured with coredis 6.9).
"""

from __future__ import annotations

import random
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, Protocol

import structlog
import trio

from chatd.nurseries.plain_socket import plain_socket
from chatd.wire.resp import (
    Address,
    ProtocolError,
    Push,
    Reader,
    ReplyError,
    command,
    greeting,
    message_of,
    of_subscription,
    subscribed_to,
)

READ_BYTES = 262_144
CLOSE_TIMEOUT = 1.0  # seconds; nothing is said to the peer
FIRST_PAUSE = 0.1  # seconds before the second try to connect; then twice as long each time
MAX_PAUSE = 2.0  # seconds: a restart of Redis takes less
STEADY = 10.0  # seconds of a connection behind which the first pause is short again
MAX_ASKED = 10_000  # questions under way: then new ones are refused at once
SUBSCRIPTION: Literal["subscription"] = "subscription"  # is answered beside, unless refused

# What a Redis answers that is no primary, or not yet: then this is not the connection to have
ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN")
# What a connection fails by when nobody is there, or not a Redis, or not one that wants us
UNREACHED = (OSError, trio.TooSlowError, trio.BrokenResourceError, ProtocolError, ReplyError)

log = structlog.get_logger("chatd.redis")


class RedisAway(Exception):
    """There is no connection to Redis, or it was lost before the answer came."""


class Hearer(Protocol):
    """Whom a link tells; in the step in which it hears, so none of these may wait."""

    def connected(self) -> None:
        """A connection has begun; nothing is subscribed to on it."""

    def disconnected(self) -> None:
        """It is lost; what is published from now on is not heard."""

    def heard(self, channel: bytes, payload: bytes) -> None:
        """Something was published."""

    def paused(self) -> None:
        """All that had come was told."""

    def subscribed(self, channel: bytes) -> None:
        """From now on what is published there is heard."""


class _Question:
    """Commands whose answers somebody waits for."""

    __slots__ = ("answers", "count", "done", "is_lost")

    def __init__(self, count: int) -> None:
        self.count = count
        self.answers: list[Any] = []
        self.done = trio.Event()
        self.is_lost = False


class RedisLink:
    """The connection; made by `open_redis`.

    Attributes:
        is_up: whether there is a connection now.
    """

    def __init__(
        self,
        address: Address,
        hearer: Hearer,
        *,
        name: str,
        timeout: float,
        buffer_bytes: int,
    ) -> None:
        self._address = address
        self._hearer = hearer
        self._name = name
        self._timeout = timeout
        self._max = buffer_bytes
        self._socket: socket.socket | None = None  # to be written without a task's turn
        self._buffer: list[bytes] = []
        self._size = 0
        self._has_data = trio.Event()
        # What answers are for, in order: a question, None for a command nobody waits for, or a
        # subscription, which is answered for each channel beside the answers, unless it is refused.
        self._expected: deque[tuple[_Question | Literal["subscription"] | None, int]] = deque()
        self._asked = 0
        self._heard_at = 0.0
        self._is_writing = False
        self.is_up = False
        self._came_up = trio.Event()

    # Sending

    def send(self, data: bytes, answers: int = 1) -> bool:
        """Send commands whose answers nobody waits for; never waits. False: they are dropped.

        Args:
            answers: how many answers Redis gives to them.
        """
        if not self.is_up or self._size + len(data) > self._max:
            return False
        self._push(data)
        self._expect(None, answers)
        return True

    def publish(self, channel: bytes, payload: bytes) -> bool:
        """Publish; never waits. False: it is dropped."""
        return self.send(command(b"PUBLISH", channel, payload))

    def subscribe(self, channels: Sequence[bytes]) -> None:
        """Hear these channels; nothing happens without a connection."""
        self._subscribe(b"SUBSCRIBE", channels)

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Hear these channels no more."""
        self._subscribe(b"UNSUBSCRIBE", channels)

    def _subscribe(self, verb: bytes, channels: Sequence[bytes]) -> None:
        # Also when the buffer is full: nobody would ask for the channel again.
        if channels and self.is_up:
            self._push(command(verb, *channels))
            self._expect(SUBSCRIPTION, len(channels))

    async def ask(self, *commands: bytes) -> list[Any]:
        """Send commands and return their answers; one that was refused is a `ReplyError` there.

        Raises:
            RedisAway: there is no connection, or it was lost meanwhile, or is too slow.
        """
        if not self.is_up or self._asked >= MAX_ASKED:
            raise RedisAway
        question = _Question(len(commands))
        self._push(b"".join(commands))
        self._expect(question, len(commands))
        self._asked += 1
        try:
            with trio.move_on_after(self._timeout):
                await question.done.wait()
        finally:
            self._asked -= 1
        if question.is_lost or not question.done.is_set():
            raise RedisAway
        return question.answers

    async def came_up(self) -> None:
        """Wait for the first connection."""
        await self._came_up.wait()

    async def flushed(self) -> None:
        """Wait until Redis has taken what was sent until now, or is away."""
        if self.is_up:
            with suppress(RedisAway):
                await self.ask(command("PING"))

    def _push(self, data: bytes) -> None:
        if self._socket is not None and not self._buffer and not self._is_writing:
            data = self._write_now(self._socket, data)
            if not data:
                return
        self._buffer.append(data)
        self._size += len(data)
        self._has_data.set()

    def _write_now(self, plain: socket.socket, data: bytes) -> bytes:
        """Give the kernel what it takes at once, and return the rest: a task's turn is 30 µs."""
        try:
            return data[plain.send(data) :]
        except OSError:  # full, or broken: whoever writes next, or reads, finds that out
            return data

    def _expect(self, question: _Question | Literal["subscription"] | None, answers: int) -> None:
        if question is None and self._expected and self._expected[-1][0] is None:
            self._expected[-1] = None, self._expected[-1][1] + answers
        else:
            self._expected.append((question, answers))

    # Life

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            begun = trio.current_time()
            await self._connect_once()
            if trio.current_time() - begun >= STEADY:
                pause = FIRST_PAUSE
            await trio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(MAX_PAUSE, pause * 2)

    async def _connect_once(self) -> None:
        """Connect, and serve the connection until it is lost."""
        try:
            stream = await self._connect()
        except UNREACHED as trouble:
            log.warning("no connection to Redis", error=str(trouble) or type(trouble).__name__)
            return
        try:
            await self._talk(stream)
        finally:
            self._lose()
            with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await trio.aclose_forcefully(stream)

    async def _connect(self) -> trio.abc.Stream:
        address = self._address
        with trio.fail_after(self._timeout):
            stream: trio.abc.Stream
            if address.path is not None:
                stream = await trio.open_unix_socket(address.path)
            else:
                stream = await trio.open_tcp_stream(address.host, address.port)
            if address.is_tls:
                context = ssl.create_default_context()
                stream = trio.SSLStream(stream, context, server_hostname=address.host)
            try:
                await self._greet(stream)
            except BaseException:
                with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
                    await trio.aclose_forcefully(stream)
                raise
            return stream

    async def _greet(self, stream: trio.abc.Stream) -> None:
        """Say who we are.

        Raises:
            ReplyError: Redis does not want us, or is older than 6.
            ProtocolError: it is no Redis.
        """
        commands = greeting(self._address, self._name)
        await stream.send_all(b"".join(commands))
        self._reader = Reader()
        for _ in commands:
            while (answer := self._reader.gets()) is False:
                data = await stream.receive_some(READ_BYTES)
                if not data:
                    raise trio.BrokenResourceError
                self._reader.feed(bytes(data))
            if isinstance(answer, ReplyError):
                raise answer

    async def _talk(self, stream: trio.abc.Stream) -> None:
        """Serve a connection until it is lost."""
        self._socket = plain_socket(stream)
        self.is_up = True
        self._came_up.set()
        self._heard_at = trio.current_time()
        log.info("connected to Redis")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream)
                nursery.start_soon(self._watch, nursery.cancel_scope)
                self._hearer.connected()
                await self._read(stream)
                nursery.cancel_scope.cancel(reason="Redis has ended the connection")
        except* (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            ProtocolError,
            ReplyError,
        ) as trouble:
            log.warning("connection to Redis lost", error=str(trouble.exceptions[0]))

    async def _read(self, stream: trio.abc.Stream) -> None:
        reader = self._reader
        while data := await self._receive(stream):
            self._heard_at = trio.current_time()
            reader.feed(data)
            while (answer := reader.gets()) is not False:
                if isinstance(answer, Push):
                    self._hear(answer)
                else:
                    self._answer(answer)
            self._hearer.paused()

    async def _receive(self, stream: trio.abc.Stream) -> bytes:
        if self._socket is None:
            return bytes(await stream.receive_some(READ_BYTES))
        while True:  # without Trio's stream around it: 10 µs less
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(READ_BYTES)
            except BlockingIOError:
                continue  # readable, and then not
            except OSError as trouble:
                raise trio.BrokenResourceError(str(trouble)) from trouble

    def _hear(self, push: Any) -> None:
        message = message_of(push)
        if message is not None:
            self._hearer.heard(*message)
            return
        if of_subscription(push) and self._take_expected() != SUBSCRIPTION:
            msg = "a subscription out of turn"
            raise ProtocolError(msg)
        channel = subscribed_to(push)
        if channel is not None:
            self._hearer.subscribed(channel)

    def _take_expected(self) -> _Question | Literal["subscription"] | None:
        """Return what the next answer is for."""
        if not self._expected:
            msg = "an answer to nothing"
            raise ProtocolError(msg)
        question, left = self._expected[0]
        if left == 1:
            self._expected.popleft()
        else:
            self._expected[0] = question, left - 1
        return question

    def _answer(self, answer: Any) -> None:
        question = self._take_expected()
        if isinstance(answer, ReplyError) and str(answer).startswith(ELSEWHERE):
            raise answer
        if question == SUBSCRIPTION:  # a daemon that hears nothing begins anew, and says so
            raise answer if isinstance(answer, ReplyError) else ProtocolError("no subscription")
        if isinstance(question, _Question):
            question.answers.append(answer)
            if len(question.answers) == question.count:
                question.done.set()
        elif isinstance(answer, ReplyError):
            log.warning("refused by Redis", error=str(answer))

    async def _write(self, stream: trio.abc.Stream) -> None:
        while True:
            await self._has_data.wait()
            self._has_data = trio.Event()
            data, self._buffer, self._size = b"".join(self._buffer), [], 0
            self._is_writing = True
            await stream.send_all(data)
            self._is_writing = False

    async def _watch(self, talk: trio.CancelScope) -> None:
        """Ask Redis for a sign of life; end a connection on which it gives none."""
        while True:
            await trio.sleep(self._timeout / 4)
            if trio.current_time() - self._heard_at > self._timeout:
                log.warning("Redis is silent", seconds=self._timeout)
                talk.cancel(reason="Redis is silent")
            self.send(command(b"PING"))

    def _lose(self) -> None:
        self.is_up = self._is_writing = False
        self._socket = None
        self._buffer, self._size = [], 0
        self._has_data = trio.Event()
        for question, _ in self._expected:
            if isinstance(question, _Question):
                question.is_lost = True
                question.done.set()
        self._expected.clear()
        self._hearer.disconnected()


@asynccontextmanager
async def open_redis(link: RedisLink) -> AsyncIterator[None]:
    """Run a link for the length of the block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield
        nursery.cancel_scope.cancel(reason="the daemon stops")
