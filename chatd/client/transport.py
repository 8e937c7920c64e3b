"""trio-websocket with a deadline on everything that it would wait for without one.

Its traps, and where they are met: `aclose` waits for the peer's close frame for ever
(`GOODBYE_TIMEOUT`); the handshake waits for ever when the peer hangs up in it (`_Watched`); after
1009 the stream stays open (`aclose_forcefully`); with its queue of one message a busy reader
answers no pings (`MESSAGE_QUEUE`).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from chatd.client.errors import ConnectionLost, JsonObject, refusal
from chatd.errors import CloseCode

GOODBYE_TIMEOUT = 2.0  # seconds for the server's close frame
MESSAGE_QUEUE = 64  # messages between the two readers; our reader never blocks, so a short one
MAX_MESSAGE = 16 * 2**20  # characters: a join may answer 500 missed messages of 16,384 each
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})  # an upgrade may work later

Dial = Callable[[], Awaitable[trio.abc.Stream]]


def dial_url(url: str) -> Dial:
    """Return what opens a TCP stream, or a TLS stream for https and wss, to a URL's host."""
    parts = urlsplit(url)
    host, is_secure = parts.hostname or "", parts.scheme in {"https", "wss"}
    port = parts.port or (443 if is_secure else 80)

    async def dial() -> trio.abc.Stream:
        tcp = await trio.open_tcp_stream(host, port)
        if not is_secure:
            return tcp
        context = ssl.create_default_context()
        return trio.SSLStream(tcp, context, server_hostname=host, https_compatible=True)

    return dial


class _Watched(trio.abc.Stream):
    """A stream that ends the handshake's scope when it ends."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.handshake_scope = trio.CancelScope()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            received = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.handshake_scope.cancel()
            raise
        if not received:
            self.handshake_scope.cancel()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.handshake_scope.cancel()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)  # a TLS goodbye would wait for the peer


@asynccontextmanager
async def open_websocket(dial: Dial, url: str) -> AsyncIterator[WebSocketConnection]:
    """Dial, shake hands and hold a WebSocket for the length of the block, then drop its stream.

    The caller limits how long that takes and says `goodbye`. Raises groups: catch with `except*`.

    Raises:
        ConnectionLost: nobody answered, or the upgrade was refused.
    """
    try:
        stream = await dial()
    except OSError as error:
        raise ConnectionLost(f"cannot connect: {error}", code="unreachable") from error
    try:
        async with trio.open_nursery() as nursery:
            yield await _shake_hands(nursery, _Watched(stream), url)
            nursery.cancel_scope.cancel()
    except* ConnectionRejected as group:
        raise _refused(group) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _shake_hands(nursery: trio.Nursery, stream: _Watched, url: str) -> WebSocketConnection:
    parts = urlsplit(url)
    with stream.handshake_scope:
        return await wrap_client_stream(
            nursery,
            stream,  # type: ignore[arg-type]  # any stream does; only .local wants a socket
            parts.netloc.rpartition("@")[2],
            parts.path,
            message_queue_size=MESSAGE_QUEUE,
            max_message_size=MAX_MESSAGE,
        )
    raise ConnectionLost("the server hung up during the handshake")


async def send_frame(websocket: WebSocketConnection, frame: JsonObject) -> None:
    """Send one JSON text frame. A cancelled call may have cut it: drop the connection then."""
    try:
        await websocket.send_message(orjson.dumps(frame).decode())
    except ConnectionClosed as closed:
        raise _closed(closed) from None


async def receive_frame(websocket: WebSocketConnection) -> JsonObject:
    """Wait for one JSON object."""
    try:
        frame = orjson.loads(await websocket.get_message())
    except ConnectionClosed as closed:
        raise _closed(closed) from None
    except orjson.JSONDecodeError:
        frame = None
    if not isinstance(frame, dict):
        raise ConnectionLost("a frame that is not a JSON object", code="bad_answer", is_final=True)
    return frame


async def ping(websocket: WebSocketConnection) -> None:
    """Wait for the pong to a ping."""
    try:
        await websocket.ping()
    except ConnectionClosed as closed:
        raise _closed(closed) from None


async def goodbye(websocket: WebSocketConnection) -> None:
    """Close politely, waiting for the answer at most `GOODBYE_TIMEOUT`.

    Not shielded: a cancelled client just drops the stream, for then nobody reads the answer.
    """
    with trio.move_on_after(GOODBYE_TIMEOUT):
        await websocket.aclose()


def why(group: BaseExceptionGroup[ConnectionLost]) -> ConnectionLost:
    """Return the first reason in a group."""
    first = group.exceptions[0]
    return why(first) if isinstance(first, BaseExceptionGroup) else first


def _closed(closed: ConnectionClosed) -> ConnectionLost:
    if closed.reason is None:
        return ConnectionLost("closed by the client", close_code=CloseCode.NORMAL.code)
    text = closed.reason.reason or f"closed with {closed.reason.code}"
    return ConnectionLost(text, close_code=int(closed.reason.code))


def _refused(group: BaseExceptionGroup[ConnectionRejected]) -> ConnectionLost:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, ConnectionRejected)  # noqa: S101 - narrows what except* selected
    try:
        answer = orjson.loads(first.body or b"{}")
    except orjson.JSONDecodeError:
        answer = {}  # a proxy's page; the status says enough
    error = refusal(answer.get("error") if isinstance(answer, dict) else None)
    text = f"the server refused the connection with status {first.status_code}"
    return ConnectionLost(
        text if error.code == "bad_answer" else error.message,
        code="connection_lost" if error.code == "bad_answer" else error.code,
        is_final=first.status_code not in RETRYABLE_STATUS,
        retry_after=error.retry_after,
        status=first.status_code,
    )
