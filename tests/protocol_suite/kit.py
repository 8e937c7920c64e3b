"""The echo as a process, and a client that knows bytes, HTTP and WebSocket but neither protocol."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.http_kit import Answer, Client

START_TIMEOUT = 60.0  # seconds; the machine is shared
PATIENCE = 10.0  # seconds for one answer; most take milliseconds
PINGING = ("--ping-interval=300", "--ping-timeout=200")  # ms, as the suites ask for
HOST = "127.0.0.1"

Message = str | bytes


@contextmanager
def running_echo(kind: str, *flags: str) -> Iterator[int]:
    """Run an echo for the length of the block and yield its port; it must stop when asked to."""
    command = [sys.executable, "-m", "chatd.testing.echo", kind, "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
            line = process.stdout.readline().decode() if ready else ""
            assert line.startswith(f"{kind} echo on http://"), line
            yield int(line.rpartition(":")[2])
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_TIMEOUT) == 0
        finally:
            process.kill()


def packets(payload: bytes | str) -> list[str]:
    """Return the packets of a polling body."""
    text = payload if isinstance(payload, str) else payload.decode()
    return text.split("\x1e")


class Peer:
    """Where a protocol is served, and what one asks there.

    Args:
        path: with the slash at its end.
    """

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path

    def target(self, query: str) -> str:
        return f"{self._path}?{query}"

    @asynccontextmanager
    async def request(
        self, query: str, method: str = "GET", body: bytes | None = None, *headers: str
    ) -> AsyncIterator[Client]:
        """Send a request on a connection of its own, which closes behind the block."""
        lines = [f"{method} {self.target(query)} HTTP/1.1", f"Host: {HOST}:{self._port}", *headers]
        if body is not None:
            lines += [f"Content-Length: {len(body)}"]
            if not any(line.lower().startswith("content-type") for line in headers):
                lines += ["Content-Type: text/plain;charset=UTF-8"]
        stream = await trio.open_tcp_stream(HOST, self._port)
        async with stream:
            client = Client(stream)
            await client.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
            yield client

    async def ask(
        self, query: str, method: str = "GET", body: bytes | None = None, *headers: str
    ) -> Answer:
        """Return the answer of one request."""
        with trio.fail_after(PATIENCE):
            async with self.request(query, method, body, *headers) as client:
                return await client.read(method)

    async def open_polling(self) -> Session:
        """Return a new session, its handshake fetched."""
        answer = await self.ask("EIO=4&transport=polling")
        assert answer.status == 200, answer
        [handshake] = packets(answer.body)
        return Session(self, orjson.loads(handshake[1:])["sid"])

    @asynccontextmanager
    async def websocket(self, query: str = "EIO=4&transport=websocket") -> AsyncIterator[Socket]:
        """Open a WebSocket; nothing is read. Leaving the block cuts it."""
        stream = await trio.open_tcp_stream(HOST, self._port)
        async with stream, trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                socket = await wrap_client_stream(
                    nursery, stream, HOST, self.target(query), message_queue_size=1000
                )
            yield Socket(socket)
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Socket]:
        """Open a session on a WebSocket, its handshake read."""
        async with self.websocket() as socket:
            assert str(await socket.read()).startswith("0{")
            yield socket


class Session:
    """A session that polls."""

    def __init__(self, peer: Peer, sid: str) -> None:
        self.peer = peer
        self.sid = sid
        self.query = f"EIO=4&transport=polling&sid={sid}"
        self._waiting: list[str] = []

    async def get(self) -> Answer:
        return await self.peer.ask(self.query)

    async def post(self, body: str | bytes, *headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else body.encode()
        return await self.peer.ask(self.query, "POST", raw, *headers)

    async def say(self, body: str) -> None:
        """Send a payload that is taken."""
        answer = await self.post(body)
        assert (answer.status, answer.body) == (200, b"ok")

    async def read(self) -> str:
        """Return the next packet; pings are answered."""
        while True:
            while self._waiting:
                packet = self._waiting.pop(0)
                if packet != "2":
                    return packet
                await self.say("3")
            answer = await self.get()
            assert answer.status == 200, answer
            self._waiting = packets(answer.body)

    async def is_over(self) -> bool:
        """Whether the server knows the session no more, behind what it had to say."""
        answer = await self.get()
        while answer.status == 200:
            answer = await self.get()
        return answer.status == 400


class Socket:
    """A client's WebSocket."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self._socket.send_message(message)

    async def next(self) -> Message:
        """Return the next message, whatever it is."""
        with trio.fail_after(PATIENCE):
            message: Message = await self._socket.get_message()
        return message

    async def read(self) -> Message:
        """Return the next message that is no ping; those are answered."""
        while (message := await self.next()) == "2":
            await self.send("3")
        return message

    async def event(self) -> Any:
        """Return the next text message behind its first digits, as JSON."""
        message = await self.read()
        assert isinstance(message, str)
        return orjson.loads(message.lstrip("0123456789"))

    async def closed(self) -> tuple[list[Message], int | None]:
        """Read until the server closes; return what it said, and the code of its close."""
        said: list[Message] = []
        while True:
            try:
                said.append(await self.next())
            except ConnectionClosed as end:
                return said, None if end.reason is None else end.reason.code
