"""Clients of Engine.IO and Socket.IO down to the packet, and a desk that serves them.

`Poller` and `WebSocket` speak raw packets on memory streams; `Chatter` is a person of the chat on
either. `open_desk` serves sessions of a test's own on the real engine and the real HTTP loop;
`tests.people.open_world` serves the chat.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.metrics import Metrics
from chatd.nurseries.chat_engine import ENGINE_PATHS
from chatd.nurseries.engine import Engine, open_engine
from chatd.nurseries.engine_session import EngineSession, Opening
from chatd.nurseries.http import HttpServer, Routes, UpgradeRoute
from chatd.peers import Peers
from chatd.rows import UserRow
from chatd.store.memory import MemoryStore
from chatd.wire.engineio import MESSAGE
from chatd.wire.frames import Binary
from tests.http_kit import Answer, no_app
from tests.http_kit import Client as HttpClient
from tests.people import Wire, World, open_world

POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
UPGRADE_LINES = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_quiet = logging.getLogger("tests.websocket")
_quiet.setLevel(logging.CRITICAL)

Connect = Callable[[], trio.abc.Stream]
Part = str | bytes


def request(
    method: str,
    query: str,
    *lines: str,
    path: str = "/socket.io/",
    body: bytes | None = None,
) -> bytes:
    """Return a request of Engine.IO with these header lines."""
    head = [f"{method} {path}?{query} HTTP/1.1", "Host: chat.test", *lines]
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


class Near(trio.abc.Stream):
    """The client's end of a connection.

    On a clock that stands still a read fails when nothing more happens, instead of hanging.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock) or clock.autojump_threshold != math.inf:
            return await self._stream.receive_some(max_bytes)
        received = await self.come(max_bytes)
        assert received is not None, "nothing comes"
        return received

    async def come(self, max_bytes: int | None = None) -> bytes | None:
        """Return the bytes that have come when nothing more happens, None when none have."""
        received: list[bytes] = []

        async def read() -> None:
            received.append(bytes(await self._stream.receive_some(max_bytes)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return received[0] if received else None

    async def aclose(self) -> None:
        await self._stream.aclose()


async def ask(connect: Connect, data: bytes, method: str = "GET") -> Answer:
    """Send a request on a connection of its own and read its answer."""
    stream = Near(connect())
    client = HttpClient(stream)
    await client.send(data)
    answer = await client.read(method)
    await trio.aclose_forcefully(stream)
    return answer


async def come(stream: trio.abc.Stream) -> bytes | None:
    """Return the bytes that have come when nothing more happens, None when none have."""
    return await (stream if isinstance(stream, Near) else Near(stream)).come()


def packets_of(answer: Answer) -> list[str]:
    """Return the packets of a GET's answer, which must be a good one."""
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.body
    return answer.body.decode().split("\x1e")


class Poller:
    """A client that polls; every request has a connection of its own."""

    def __init__(self, connect: Connect, *lines: str) -> None:
        self.connect = connect
        self.sid = ""
        self._lines = lines
        self._waiting: list[str] = []
        self._parked: HttpClient | None = None  # `heard` has left it so

    @property
    def query(self) -> str:
        """What its requests ask."""
        return f"{POLLING}&sid={self.sid}" if self.sid else POLLING

    async def open(self, extra: str = "") -> dict[str, Any]:
        """Shake hands, and return what the server says."""
        packets = packets_of(await ask(self.connect, request("GET", self.query + extra)))
        assert packets[0][0] == "0"
        handshake: dict[str, Any] = json.loads(packets[0][1:])
        self.sid = handshake["sid"]
        self._waiting = packets[1:]
        return handshake

    async def park(self) -> HttpClient:
        """Send a GET and return its connection, when nothing more happens."""
        client = HttpClient(Near(self.connect()))
        await client.send(request("GET", self.query, *self._lines))
        await wait_all_tasks_blocked()
        return client

    async def poll(self) -> list[str]:
        """Return the packets of one GET."""
        parked, self._parked = self._parked or await self.park(), None
        return packets_of(await parked.read())

    async def get(self) -> Answer:
        """Return the answer of one GET, whatever it is."""
        return await (await self.park()).read()

    async def post(self, *packets: str, content_type: str = "text/plain;charset=UTF-8") -> Answer:
        """Bring packets, and return the answer."""
        body = "\x1e".join(packets).encode()
        line = f"Content-Type: {content_type}"
        return await ask(self.connect, request("POST", self.query, line, *self._lines, body=body))

    async def send(self, *packets: Part) -> None:
        """Bring packets, which must be taken."""
        answer = await self.post(*(packet for packet in packets if isinstance(packet, str)))
        assert (answer.status, answer.body) == (200, b"ok"), answer

    async def receive(self) -> str:
        """Return the next packet."""
        if not self._waiting:
            self._waiting = await self.poll()
        return self._waiting.pop(0)

    async def heard(self) -> list[Part]:
        """Return what has come, when nothing more happens."""
        waiting: list[Part] = [*self._waiting]
        self._waiting = []
        self._parked = self._parked or await self.park()
        received = await come(self._parked.stream)
        if received is None:
            return waiting
        self._parked = None
        return [*waiting, *received.partition(b"\r\n\r\n")[2].decode().split("\x1e")]


class WebSocket:
    """A client on a WebSocket: one message is one packet."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None, logger=_quiet)
        self._waiting: list[Part] = []
        self.is_ended = False

    async def send(self, *packets: Part) -> None:
        """Send packets in one write: text as text, bytes as a binary message."""
        for packet in packets:
            if isinstance(packet, str):
                self._protocol.send_text(packet.encode("utf-8", "surrogatepass"))
            else:
                self._protocol.send_binary(packet)
        await self._write()

    async def send_fragments(self, first: bytes, *rest: bytes) -> None:
        """Send one text message in pieces."""
        self._protocol.send_text(first, fin=False)
        for piece in rest:
            self._protocol.send_continuation(piece, fin=piece is rest[-1])
        await self._write()

    async def say_goodbye(self, code: int = 1000) -> None:
        """Send a close frame."""
        self._protocol.send_close(code)
        await self._write()

    async def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if data and not self.is_ended:
                await self.stream.send_all(data)

    async def _read(self) -> None:
        self._feed(bytes(await self.stream.receive_some(1 << 20)))

    def feed(self, data: bytes) -> None:
        """Take bytes that were read elsewhere."""
        if data:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if not data:
            self.is_ended = True
            return
        self._protocol.receive_data(data)
        for frame in cast("list[Frame]", self._protocol.events_received()):
            if frame.opcode is Opcode.TEXT:
                self._waiting.append(bytes(frame.data).decode())
            elif frame.opcode is Opcode.BINARY:
                self._waiting.append(bytes(frame.data))
        assert self._protocol.parser_exc is None
        self._protocol.data_to_send()

    async def receive(self) -> Part:
        """Return the next packet; the connection must not end before it."""
        while not self._waiting:
            assert not self.is_ended, self.close_code
            await self._read()
        return self._waiting.pop(0)

    async def heard(self) -> list[Part]:
        """Return what has come, when nothing more happens."""
        while not self.is_ended and (data := await come(self.stream)) is not None:
            self._feed(data)
        waiting, self._waiting = self._waiting, []
        return waiting

    @property
    def close_code(self) -> int | None:
        """The code of the server's close frame."""
        close = self._protocol.close_rcvd
        return None if close is None else close.code

    @property
    def is_closed(self) -> bool:
        """Whether the server has ended it, as far as was read."""
        return self.is_ended or self.close_code is not None

    async def closed(self) -> int | None:
        """Read until the server ends it and return the close code, None without one."""
        try:
            while not self.is_closed:
                await self._read()
        except trio.BrokenResourceError:
            self.is_ended = True
        return self.close_code


async def shake(connect: Connect, query: str, *lines: str, path: str = "/socket.io/") -> WebSocket:
    """Open a WebSocket, which must be accepted."""
    stream = Near(connect())
    client = HttpClient(stream)
    await client.send(request("GET", query, *UPGRADE_LINES, *lines, path=path))
    head = b""
    while b"\r\n\r\n" not in head:
        piece = await stream.receive_some(65_536)
        assert piece, head
        head += piece
    head, _, leftover = head.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    socket = WebSocket(stream)
    socket.feed(leftover)
    return socket


async def open_socket(connect: Connect, extra: str = "") -> tuple[WebSocket, dict[str, Any]]:
    """Open a session on a WebSocket; return it and what the server says first."""
    socket = await shake(connect, WEBSOCKET + extra)
    first = await socket.receive()
    assert isinstance(first, str)
    assert first[0] == "0"
    return socket, json.loads(first[1:])


async def probe(poller: Poller) -> WebSocket:
    """Open a second transport and probe it, as a stock client does."""
    socket = await shake(poller.connect, f"{WEBSOCKET}&sid={poller.sid}")
    await socket.send("2probe")
    assert await socket.receive() == "3probe"
    return socket


async def upgraded(poller: Poller) -> WebSocket:
    """Take a session over to a WebSocket."""
    socket = await probe(poller)
    await socket.send("5")
    await wait_all_tasks_blocked()
    return socket


# A desk: the engine with sessions of one's own


class Echo(EngineSession):
    """Sends back what it hears, and keeps it."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self.messages: list[bytes] = []
        self.ends: list[CloseCode] = []
        self.gate: trio.Event | None = None  # a message waits for it

    async def _message(self, data: bytes) -> None:
        self.messages.append(data)
        if data == b"bug":
            raise RuntimeError(data)
        if self.gate is not None:
            await self.gate.wait()
        self.send([data if isinstance(data, Binary) else MESSAGE + data])

    def _ended(self, code: CloseCode) -> None:
        self.ends.append(code)


class Desk:
    """An engine that serves, and the sessions it has made."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        nursery: trio.Nursery,
        peers: Peers | None = None,
    ) -> None:
        self.engine = engine
        self.sessions: list[Any] = []
        self._nursery = nursery
        route = UpgradeRoute(engine.screen, engine.upgrade)
        self.server = HttpServer(
            Routes(
                no_app,
                dict.fromkeys(ENGINE_PATHS, engine.serve),
                dict.fromkeys(ENGINE_PATHS, route),
            ),
            settings,
            peers=peers,
        )

    @property
    def session(self) -> Any:
        """The newest session."""
        return self.sessions[-1]

    def stream(self) -> trio.abc.Stream:
        """Return the client's end of a new connection."""
        ours, theirs = memory_stream_pair()
        return self.serve(ours, Wire(theirs))

    def serve(self, ours: trio.abc.Stream, theirs: trio.abc.Stream) -> trio.abc.Stream:
        """Serve the other end of a connection, and return ours."""
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.abc.Stream) -> None:
        try:
            await self.server.serve_connection(stream, "192.0.2.1", "c")
        finally:
            await trio.aclose_forcefully(stream)


@contextmanager
def time_at_the_end() -> Iterator[None]:
    """Let a clock that stands still run behind the block: goodbyes to who polls have a deadline."""
    try:
        yield
    finally:
        clock = trio.lowlevel.current_clock()
        if isinstance(clock, MockClock):
            clock.autojump_threshold = 0


@asynccontextmanager
async def open_chat(
    tmp_path: Path, store: MemoryStore | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Run the chat on memory streams. See `tests.people.open_world`."""
    async with open_world(tmp_path, store, **settings) as world:
        with time_at_the_end():
            yield world


@asynccontextmanager
async def open_desk(
    make_session: Callable[[Opening], EngineSession] = Echo,
    peers: Peers | None = None,
    **settings: Any,
) -> AsyncIterator[Desk]:
    """Run an engine with these sessions for the length of the block.

    Args:
        peers: the other desks, whose sessions are passed on to them.
    """
    chosen = Settings(port=0, **settings)

    def make(opening: Opening) -> EngineSession:
        session = make_session(opening)
        desk.sessions.append(session)
        return session

    async with (
        trio.open_nursery() as nursery,
        open_engine(make, chosen, Metrics(), peers=peers) as engine,
    ):
        desk = Desk(engine, chosen, nursery, peers)
        with time_at_the_end():
            yield desk
        nursery.cancel_scope.cancel()


# The chat


Link = Poller | WebSocket


class Chatter:
    """Somebody in the chat over Socket.IO, as a stock client would be: it remembers its offset."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.offset: str | None = None
        self.pid = ""
        self.id = ""
        self.packets: list[str] = []  # all that came, pings excepted
        self._ids = 0
        self._read = 0

    async def connect(self, token: str, **auth: Any) -> dict[str, Any]:
        """Join the chat and return the answer to CONNECT; what came before it is in `packets`."""
        await self.link.send("40" + json.dumps({"token": token, **auth}))
        packet = await self.packet("40")
        answer: dict[str, Any] = json.loads(packet[2:])
        self.id, self.pid = answer["sid"], answer["pid"]
        return answer

    async def comes_back(self, token: str, before: Chatter) -> dict[str, Any]:
        """Join the chat with the state of an earlier connection."""
        self.offset = before.offset
        offset = {} if before.offset is None else {"offset": before.offset}
        return await self.connect(token, pid=before.pid, **offset)

    async def _next(self) -> str:
        while True:
            if self._read < len(self.packets):
                self._read += 1
                return self.packets[self._read - 1]
            packet = await self.link.receive()
            assert isinstance(packet, str)
            if packet == "2":
                await self.link.send("3")
            else:
                self._note(packet)

    def _note(self, packet: str) -> None:
        self.packets.append(packet)
        if packet.startswith("42"):
            last = json.loads(packet[2:])[-1]
            if isinstance(last, str):
                self.offset = last

    async def packet(self, start: str) -> str:
        """Wait for the next packet that starts so; others are passed over."""
        while not (packet := await self._next()).startswith(start):
            continue
        return packet

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of this name and return its payload."""
        packet = await self.packet(f'42["{name}"')
        payload: dict[str, Any] = json.loads(packet[2:])[1]
        return payload

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Send an event and return its ack."""
        self._ids += 1
        await self.link.send(f"42{self._ids}" + json.dumps([event, data]))
        head = f"43{self._ids}"
        packet = await self.packet(head + "[")
        [answer] = json.loads(packet[len(head) :])
        assert isinstance(answer, dict)
        return answer

    async def done(self, event: str, **data: Any) -> dict[str, Any]:
        """Send an event that must succeed, and return its ack."""
        answer = await self.ask(event, **data)
        assert answer["ok"], answer
        return answer

    async def refused(self, event: str, **data: Any) -> str:
        """Send an event that must be refused, and return the code."""
        answer = await self.ask(event, **data)
        assert not answer["ok"], answer
        code: str = answer["error"]["code"]
        return code

    async def heard(self) -> list[str]:
        """Return what has come since the last look, when nothing more happens."""
        for packet in await self.link.heard():
            assert isinstance(packet, str)
            if packet != "2":
                self._note(packet)
        new = self.packets[self._read :]
        self._read = len(self.packets)
        return new

    def contents(self, packets: Sequence[str] | None = None) -> list[str]:
        """Return the contents of all messages that came."""
        chosen = self.packets if packets is None else packets
        return [
            json.loads(packet[2:])[1]["content"]
            for packet in chosen
            if packet.startswith('42["message:new"')
        ]


async def open_link(world: World, transport: str) -> Link:
    """Open a session on one of the two transports."""
    if transport == "polling":
        poller = Poller(world.stream)
        await poller.open()
        return poller
    socket, _ = await open_socket(world.stream)
    return socket


async def chatter(world: World, user: UserRow, transport: str = "websocket") -> Chatter:
    """Return somebody who is ready to talk."""
    somebody = Chatter(await open_link(world, transport))
    await somebody.connect(world.token(user))
    await somebody.event("connection:ready")
    return somebody


async def leave(somebody: Chatter | WebSocket) -> None:
    """Cut the connection under a client, without a word."""
    socket = somebody.link if isinstance(somebody, Chatter) else somebody
    assert isinstance(socket, WebSocket)
    await trio.aclose_forcefully(socket.stream)
    await wait_all_tasks_blocked()
