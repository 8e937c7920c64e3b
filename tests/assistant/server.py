"""A scripted server of a language model on a real port: it stalls, breaks, lies, as a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import trio

from chatd.nurseries.listener import bound_port

KEY = "sk-the-secret-of-the-operator"


class Exchange:
    """One request on its connection."""

    def __init__(self, stream: trio.SocketStream, head: str, body: dict[str, Any]) -> None:
        self._stream = stream
        self.head = head
        self.body = body
        self.closed = trio.Event()  # the client has left
        self.closed_at = 0.0

    async def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send_all(data)

    async def answer(self, status: int, body: bytes, *headers: str) -> None:
        """Send a whole answer that is no stream, and close."""
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
        await self.raw("\r\n".join([*lines, *headers, "", ""]).encode() + body)

    async def begin(self) -> None:
        """Send the head of a stream of events, which ends with the connection."""
        await self.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        )

    async def say(self, *texts: str) -> None:
        """Send pieces of text, each an event."""
        for text in texts:
            await self.event({"choices": [{"index": 0, "delta": {"content": text}}]})

    async def event(self, chunk: object) -> None:
        """Send one event."""
        await self.raw(b"data: " + orjson.dumps(chunk) + b"\n\n")

    async def finish(self, *, prompt: int = 20, completion: int = 5) -> None:
        """End the answer as OpenAI does."""
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": prompt, "completion_tokens": completion}
        await self.event({"choices": [], "usage": usage})
        await self.raw(b"data: [DONE]\n\n")

    async def watch(self) -> None:
        """Note when the client leaves."""
        with suppress(trio.BrokenResourceError):
            await self._stream.receive_some()
        self.closed_at = trio.current_time()
        self.closed.set()


Script = Callable[[Exchange], Awaitable[None]]


async def hello(exchange: Exchange) -> None:
    """Answer as an honest server."""
    await exchange.begin()
    await exchange.say("Hello", " there")
    await exchange.finish()


class Server:
    """Made by `open_server`.

    Attributes:
        script: what is done with a request.
        asked: every request, the oldest first.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: Script = hello
        self.asked: list[Exchange] = []
        self._has_asked = trio.Event()

    async def called(self, number: int = 1) -> Exchange:
        """Wait for the n-th request."""
        while len(self.asked) < number:
            await self._has_asked.wait()
        return self.asked[number - 1]

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection, of one request."""
        received = b""
        async with stream:
            while b"\r\n\r\n" not in received:
                piece = await stream.receive_some()
                if not piece:
                    return
                received += piece
            head, _, body = received.partition(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            while len(body) < length:
                body += await stream.receive_some()
            exchange = Exchange(stream, head.decode(), orjson.loads(body))
            self.asked.append(exchange)
            self._has_asked.set()
            self._has_asked = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange.watch)
                with suppress(trio.BrokenResourceError):  # the client has left
                    await self.script(exchange)
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_server() -> AsyncIterator[Server]:
    """Run the server on a free port of this machine for the length of the block."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(f"http://127.0.0.1:{bound_port(listeners[0])}/v1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        yield server
        nursery.cancel_scope.cancel()
