"""A live connection of a virtual person: requests with answers, and what is heard meanwhile.

A task of its own reads, so that pings are answered and events have the time of their arrival,
whatever the test does.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import orjson
import trio
from trio.testing import wait_all_tasks_blocked
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from chatd.client.nursery import open_private_nursery
from chatd.testing.wires import Echo, PersonWire, PlainWire, Push, Reply, SocketIoWire

Wire = Literal["ws", "socketio"]

CONNECT_TIMEOUT = 60.0  # seconds on Trio's clock, from the handshake to `connection:ready`
ANSWER_TIMEOUT = 60.0  # seconds on Trio's clock: the server's own deadlines add up to less
EVENT_TIMEOUT = (
    86_400.0  # a day on Trio's clock: a mock clock would jump from ping to ping for ever
)
GREETING_ID = 0  # requests count from 1

_WIRES: dict[Wire, PersonWire] = {"ws": PlainWire(), "socketio": SocketIoWire()}
_quiet = logging.getLogger("chatd.testing.websocket")  # the library logs every close
_quiet.setLevel(logging.CRITICAL)


class Refused(Exception):
    """The server refused a request, or the connection itself.

    Attributes:
        code: of the error, as `docs/protocol.md` lists them.
        error: the whole error object.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        self.code: str = error["code"]
        self.error = error
        super().__init__(f"{self.code}: {error.get('message', '')}")


class SocketClosed(Exception):
    """The connection is over, and what was waited for has not come.

    Attributes:
        code: of the server's close frame, None without one.
    """

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__(f"the server closed with {code}")


@dataclass(frozen=True, slots=True)
class Heard:
    """An event of the server's; `at` is when it came, on Trio's clock."""

    name: str
    data: dict[str, Any]
    at: float


class PersonSocket:
    """One device of a person, connected; made by `Person.connect`.

    Attributes:
        token: the access token of this device's login.
        ready: the data of `connection:ready`.
    """

    def __init__(self, stream: trio.abc.Stream, token: str, wire: Wire) -> None:
        self.token = token
        self.ready: dict[str, Any] = {}
        self._stream = stream
        self._wire = _WIRES[wire]
        self._protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None, logger=_quiet)
        self._ids = GREETING_ID
        self._replies: dict[int, Reply] = {}
        self._pushes: list[Heard] = []  # unread; a test asks for them, or ends
        self._news = trio.Event()
        self._is_over = False

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Send a request and return the data of its answer; UUIDs in `data` become strings.

        Raises:
            Refused: the server refused it.
            SocketClosed: the connection is over; the server may have acted.
            trio.TooSlowError: no answer within `ANSWER_TIMEOUT`.
        """
        self._ids += 1
        request_id = self._ids
        with trio.fail_after(ANSWER_TIMEOUT):
            await self._send(self._wire.request(event, request_id, data))
            return await self._reply(request_id)

    async def refusal(self, event: str, **data: Any) -> str:
        """Send a request and return the code with which it is refused.

        Raises:
            AssertionError: it was not refused.
            SocketClosed, trio.TooSlowError: see `ask`.
        """
        try:
            answer = await self.ask(event, **data)
        except Refused as refusal:
            return refusal.code
        msg = f"{event} was answered, not refused: {answer}"
        raise AssertionError(msg)

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of this name and return its data; those before it are dropped.

        Raises:
            SocketClosed: the connection is over.
            trio.TooSlowError: nothing within `EVENT_TIMEOUT`.
        """
        with trio.fail_after(EVENT_TIMEOUT):
            while True:
                while self._pushes:
                    heard = self._pushes.pop(0)
                    if heard.name == name:
                        return heard.data
                await self._wait_for_news()

    async def heard(self, name: str | None = None) -> list[Heard]:
        """Return what has come since the last look, when nothing more happens at this moment.

        Args:
            name: return the events of this name only; others are dropped.
        """
        await wait_all_tasks_blocked()
        pushes, self._pushes = self._pushes, []
        return [heard for heard in pushes if name in {None, heard.name}]

    async def closed(self) -> int | None:
        """Wait for the end of the connection and return the close code, None without one.

        What was heard until then is kept.

        Raises:
            trio.TooSlowError: it lives on for `EVENT_TIMEOUT`.
        """
        with trio.fail_after(EVENT_TIMEOUT):
            while not self._is_over:
                await self._news.wait()
        return self._close_code

    # Sending

    async def _send(self, text: str) -> None:
        if self._is_over or self._protocol.state is not State.OPEN:
            raise SocketClosed(self._close_code)
        self._protocol.send_text(text.encode())
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return  # reading tells the rest

    async def _say_goodbye(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            await self._flush()

    # Receiving

    async def _reply(self, request_id: int) -> dict[str, Any]:
        while request_id not in self._replies:
            await self._wait_for_news()
        reply = self._replies.pop(request_id)
        if not reply.ok:
            raise Refused(reply.content)
        return reply.content

    async def _wait_for_news(self) -> None:
        if self._is_over:
            raise SocketClosed(self._close_code)
        await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    @property
    def _close_code(self) -> int | None:
        close = self._protocol.close_rcvd
        return None if close is None else close.code

    async def _shake_hands(self) -> None:
        """Become a WebSocket and show the token; what the server refuses here is `Refused`."""
        head = (
            f"GET {self._wire.path} HTTP/1.1\r\nHost: chatd.test\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await self._stream.send_all(head.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = await self._stream.receive_some()
            if not piece:
                raise SocketClosed(None)
            received += piece
        answer, _, leftover = received.partition(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Refused(orjson.loads(leftover)["error"])
        if leftover:
            self._feed(leftover)
        await self._send(self._wire.greeting(self.token))

    async def _read(self) -> None:
        """Sort what arrives, until the connection ends."""
        try:
            while data := await self._stream.receive_some():
                self._feed(bytes(data))
                await self._flush()
                self._tell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a reset is an end as well
        finally:
            self._is_over = True
            self._tell()

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for frame in cast("list[Frame]", self._protocol.events_received()):
            if frame.opcode is Opcode.TEXT:
                self._take(self._wire.read(bytes(frame.data).decode()))

    def _take(self, said: Reply | Push | Echo | None) -> None:
        if isinstance(said, Reply):
            self._replies[said.id] = said
        elif isinstance(said, Push):
            self._pushes.append(Heard(said.name, said.data, trio.current_time()))
        elif isinstance(said, Echo):
            self._protocol.send_text(said.text.encode())

    async def _wait_until_ready(self) -> None:
        while not self.ready:
            for heard in self._pushes:
                if heard.name == "connection:ready":
                    self.ready = heard.data
            if GREETING_ID in self._replies:
                await self._reply(GREETING_ID)
            if not self.ready:
                await self._wait_for_news()
        self._pushes = [heard for heard in self._pushes if heard.name != "connection:ready"]


@asynccontextmanager
async def open_person_socket(
    stream: trio.abc.Stream, token: str, wire: Wire
) -> AsyncIterator[PersonSocket]:
    """Connect over a stream for the length of the block. See `Person.connect`."""
    socket = PersonSocket(stream, token, wire)
    async with open_private_nursery() as nursery:
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                await socket._shake_hands()  # noqa: SLF001 - made for this function
                nursery.start_soon(socket._read)  # noqa: SLF001 - as above
                await socket._wait_until_ready()  # noqa: SLF001 - as above
            yield socket
            await socket._say_goodbye()  # noqa: SLF001 - as above
        finally:
            await trio.aclose_forcefully(stream)
        await wait_all_tasks_blocked()  # the server has heard it, or the link is in between
