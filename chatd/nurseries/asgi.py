"""The ASGI 3 application behind the HTTP loop (https://asgi.readthedocs.io, HTTP spec 2.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from chatd.errors import ChatError
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http_stream import PeerGone

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# The application types its own events (Hypercorn's TypedDicts with Quart), hence Any.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class LifespanError(Exception):
    """The application could not start or stop; the text is its own."""


class AsgiCycle:
    """One request on its way through the application.

    A body that is refused half-way looks to the application like a client that left, so that it
    stops; the refusal is answered behind it. The scope's `chatd.request_id` is the answer's
    X-Request-Id.
    """

    __slots__ = ("_body", "_exchange", "_is_body_taken", "_is_left", "_refusal")

    def __init__(self, exchange: Exchange, body_bytes: int) -> None:
        self._exchange = exchange
        self._body = exchange.open_body(body_bytes)
        self._is_body_taken = False
        self._is_left = False
        self._refusal: ChatError | None = None

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer.

        Raises:
            ChatError: the body is refused; see `Exchange.read_body`.
            PeerGone: the client left before the answer was out.
            Exception: whatever the application raises, alone or in a group.
        """
        await app(self._scope(), self._receive, self._send)
        if self._is_left and not self._exchange.is_finished:
            raise self._refusal or PeerGone

    def _scope(self) -> Message:
        head = self._exchange.head
        raw_path, _, query = head.target.encode("ascii").partition(b"?")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": head.http_version,
            "method": head.method,
            "scheme": "https" if self._exchange.is_secure else "http",
            "path": head.path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": head.headers,
            "client": (self._exchange.peer, 0),
            "server": None,
            "extensions": {},
            "chatd.request_id": self._exchange.request_id,
        }

    async def _receive(self) -> Message:
        exchange = self._exchange
        if self._is_body_taken or self._is_left:
            await exchange.wait_disconnected()
            self._is_left = self._is_left or not exchange.is_finished
            return {"type": "http.disconnect"}
        try:
            piece = await exchange.read_piece()
        except PeerGone:
            self._is_left = True
            return {"type": "http.disconnect"}
        except ChatError as refusal:
            self._is_left = True
            self._refusal = refusal
            return {"type": "http.disconnect"}
        self._is_body_taken = self._body.is_complete
        return {"type": "http.request", "body": piece, "more_body": not self._is_body_taken}

    async def _send(self, message: Message) -> None:
        exchange = self._exchange
        if self._is_left:
            raise self._refusal or PeerGone  # PeerGone is the OSError that ASGI asks for
        if message["type"] == "http.response.start":
            exchange.start(message["status"], list(message.get("headers", ())))
            await exchange.flush()
        elif message["type"] == "http.response.body":
            await exchange.send(message.get("body", b""), more=message.get("more_body", False))
        else:
            msg = f"no message of an HTTP response: {message['type']}"
            raise ValueError(msg)


@asynccontextmanager
async def run_lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start the application, and stop it at the end of the block.

    When the block is cancelled the application's lifespan is cancelled with it: it gets no
    shutdown message, its own `finally` blocks run.

    Raises:
        LifespanError: the application refuses to start or failed to stop.
    """
    to_app, receive = trio.open_memory_channel[Message](2)
    send, from_app = trio.open_memory_channel[Message](2)

    async def run() -> None:
        async with send, receive:
            await app({"type": "lifespan", "asgi": _ASGI, "state": {}}, receive.receive, send.send)

    async with to_app, from_app, trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await _ask(to_app, from_app, "lifespan.startup")
        yield
        await _ask(to_app, from_app, "lifespan.shutdown")


async def _ask(
    to_app: trio.MemorySendChannel[Message],
    from_app: trio.MemoryReceiveChannel[Message],
    kind: str,
) -> None:
    await to_app.send({"type": kind})
    try:
        answer = await from_app.receive()
    except trio.EndOfChannel:
        answer = {"type": f"{kind}.failed", "message": "the application ended its lifespan"}
    if answer["type"] != f"{kind}.complete":
        raise LifespanError(answer.get("message", ""))
