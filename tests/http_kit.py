"""What tests of the HTTP loop share: a server on memory streams, a client that reads answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import orjson
import trio
from quart import Response, request
from quart_trio import QuartTrio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from chatd import testing
from chatd.config import Settings
from chatd.nurseries.asgi import ASGIApp
from chatd.nurseries.http import (
    DirectHandler,
    Exchange,
    HttpServer,
    Routes,
    Upgrade,
    UpgradeRoute,
)
from chatd.wire.http import RequestHead

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: chat.test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade"
    b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def get(path: str = "/hello", *headers: str) -> bytes:
    """Return a GET with a Host and these header lines."""
    lines = [f"GET {path} HTTP/1.1", "Host: chat.test", *headers, "", ""]
    return "\r\n".join(lines).encode()


class Answer(testing.Answer):
    """One response, whose errors must have the whole envelope."""

    @property
    def code(self) -> str:
        """The error code of the envelope, whose requestId must be the header's."""
        error = orjson.loads(self.body)["error"]
        assert error["requestId"] == self.headers["x-request-id"]
        assert set(error) >= {"code", "message", "retryable", "requestId"}
        code: str = error["code"]
        return code


class Client:
    """A client's end of a connection: raw bytes out, answers in."""

    def __init__(self, stream: trio.abc.Stream, ended: Container[str] = (), name: str = "") -> None:
        self.stream = stream
        self._ended = ended
        self._name = name
        self._received = b""

    async def is_closed(self) -> bool:
        """Whether the server is done with this connection, once nothing can happen any more."""
        await wait_all_tasks_blocked()
        return self._name in self._ended

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(request)
        return await self.read()

    async def read(self, method: str = "GET") -> Answer:
        """Read one answer; informational ones are skipped."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(self._received) if self._received else None
        answer: Answer | None = None
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await self.stream.receive_some(65_536)))
            elif isinstance(event, h11.Response):
                headers = {name.decode(): value.decode() for name, value in event.headers}
                answer = Answer(event.status_code, headers, b"")
            elif isinstance(event, h11.Data) and answer is not None:
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                self._received = bytes(parser.trailing_data[0])
                return answer
            elif not isinstance(event, h11.InformationalResponse):
                raise AssertionError(event)

    async def read_bytes(self, count: int) -> bytes:
        """Read exactly so many raw bytes."""
        while len(self._received) < count:
            piece = await self.stream.receive_some(65_536)
            assert piece, self._received
            self._received += piece
        data, self._received = self._received[:count], self._received[count:]
        return data

    async def read_until_closed(self) -> bytes:
        """Read raw bytes to the server's end of the connection."""
        data, self._received = self._received, b""
        try:
            while piece := await self.stream.receive_some(65_536):
                data += piece
        except trio.BrokenResourceError:  # a reset is an end as well
            return data
        return data


async def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait for something that the kernel does, and that sends no event."""
    with trio.fail_after(10):
        while not is_true():  # noqa: ASYNC110 - see above
            await trio.sleep(0.005)


@dataclass
class Wires:
    """The HTTP server under test, on memory streams."""

    server: HttpServer
    nursery: trio.Nursery
    upgrades: list[Upgrade] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def connect(self, name: str = "anna") -> Client:
        """Open a connection; its name joins `ended` when the server is done with it."""
        near, far = memory_stream_pair()
        self.nursery.start_soon(self._serve, far, name)
        return Client(near, self.ended, name)

    async def _serve(self, stream: trio.abc.Stream, name: str) -> None:
        try:
            await self.server.serve_connection(stream, "192.0.2.1", name)
        finally:
            self.ended.append(name)
            await trio.aclose_forcefully(stream)


async def hello(exchange: Exchange) -> None:
    """Answer, and leave a body unread."""
    await exchange.respond(200, [(b"content-type", b"text/plain")], b"hello")


async def echo(exchange: Exchange) -> None:
    """Answer with the body."""
    await exchange.respond(200, [], await exchange.read_body(100_000))


async def into(exchange: Exchange) -> None:
    """Answer with the body, read into a space of its length, 700 bytes at most in one go."""
    space = memoryview(bytearray(exchange.open_body(100_000).declared_left))
    filled = 0
    while count := await exchange.read_into(space[filled : filled + 700]):
        filled += count
    await exchange.respond(200, [], bytes(space[:filled]))


async def peer(exchange: Exchange) -> None:
    """Answer with the address that the server believes the client has."""
    await exchange.respond(200, [], exchange.peer.encode())


async def no_app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer 404, as a bare ASGI application."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"nothing here"})


def screen_none(_head: RequestHead, _address: str) -> None:
    """Let every handshake in."""


@asynccontextmanager
async def open_wires(
    app: ASGIApp = no_app,
    direct: Mapping[str, DirectHandler] | None = None,
    upgrades: Mapping[str, UpgradeRoute] | None = None,
) -> AsyncIterator[Wires]:
    """Run a server with /hello, /echo, /into, /peer, /ws and an application for the rest."""

    async def keep(upgrade: Upgrade) -> None:
        await upgrade.stream.send_all(upgrade.answer)
        wires.upgrades.append(upgrade)
        await trio.sleep_forever()

    routes = Routes(
        app,
        {"/hello": hello, "/echo": echo, "/into": into, "/peer": peer, **(direct or {})},
        {"/ws": UpgradeRoute(screen_none, keep)} if upgrades is None else upgrades,
    )
    async with trio.open_nursery() as nursery:
        wires = Wires(HttpServer(routes, Settings(port=0)), nursery)
        yield wires
        nursery.cancel_scope.cancel()


def quart_app() -> QuartTrio:
    """Return an application with /json, /stuck and /big."""
    app = QuartTrio(__name__)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/json")
    async def read() -> dict[str, Any]:
        return {"args": request.args.to_dict(), "peer": request.remote_addr}

    @app.post("/json")
    async def write() -> dict[str, Any]:
        return {"got": await request.get_json()}

    @app.get("/stuck")
    async def stuck() -> str:
        await trio.Event().wait()
        return ""

    @app.get("/big")
    async def big() -> Response:
        async def pieces() -> AsyncGenerator[bytes, None]:
            for _ in range(20):
                yield b"x" * 1_048_576

        return Response(pieces(), headers={"Content-Length": str(20 * 1_048_576)})

    return app
