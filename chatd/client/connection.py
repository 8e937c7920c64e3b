"""One live connection to `/ws`: requests with answers, and the events that the server pushes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from uuid import uuid4

import trio
from trio_websocket import WebSocketConnection

from chatd.client.errors import ClientError, ConnectionLost, JsonObject, refusal
from chatd.client.events import Event, Position
from chatd.client.nursery import open_private_nursery
from chatd.client.transport import (
    Dial,
    goodbye,
    open_websocket,
    ping,
    receive_frame,
    send_frame,
    why,
)
from chatd.errors import CloseCode

CONNECT_TIMEOUT = 10.0  # seconds from the first SYN to `connection:ready`
ANSWER_TIMEOUT = 15.0  # seconds for an answer: the server's own deadlines add up to 12
WRITE_TIMEOUT = 5.0  # seconds for one frame to leave
PING_INTERVAL = 25.0  # seconds, as the server's: below the 60 s after which proxies cut
PING_TIMEOUT = 20.0  # seconds without a pong after which the server is gone
EVENT_BUFFER = 4096  # unread events of 300 bytes: 1.2 MiB, as much as the server would keep

Renew = Callable[[str], Awaitable[str]]  # the access token that expires -> its successor


@dataclass
class _Answer:
    arrived: trio.Event = field(default_factory=trio.Event)
    frame: JsonObject | None = None


class Connection:
    """A live connection. Iterate over `events()` or let at most `EVENT_BUFFER` of them wait.

    `ready` is the data of `connection:ready`; `error` is None for as long as it lives.
    """

    def __init__(self, token: str, renew: Renew) -> None:
        self.ready: JsonObject = {}
        self.error: ConnectionLost | None = None
        self._token = token
        self._renew = renew
        self._settled = trio.Event()  # ready, or lost before that
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self._reading_scope = trio.CancelScope()  # inside the other: its end leaves the goodbye
        self._ids = itertools.count(1)
        self._answers: dict[int, _Answer] = {}
        self._into, self._inbox = trio.open_memory_channel[Event](EVENT_BUFFER)
        self._closing: JsonObject = {}
        self._is_expiring = trio.Event()
        self._websocket: WebSocketConnection | None = None

    def events(self) -> Self:
        """Iterate over the events, oldest first.

        The iteration ends by raising `ConnectionLost` after the last event that arrived.
        """
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._inbox.receive()
        except trio.EndOfChannel:
            raise self.error or ConnectionLost("closed by the client", close_code=1000) from None

    async def request(self, event: str, data: JsonObject) -> JsonObject:
        """Send an event and return the data of its answer.

        A cancelled caller waits for a frame that is on its way out, at most `WRITE_TIMEOUT`: half
        a frame would end the connection for everybody.

        Raises:
            ClientError: the server refused, or `timed_out`.
            ConnectionLost: it is not known whether the server acted.
        """
        request_id = next(self._ids)
        answer = self._answers[request_id] = _Answer()
        try:
            await self._send({"event": event, "id": request_id, "data": data})
            with trio.fail_after(ANSWER_TIMEOUT):
                await answer.arrived.wait()
        except trio.TooSlowError:
            text = f"no answer to {event} within {ANSWER_TIMEOUT:.0f} s"
            raise ClientError("timed_out", text, retryable=True) from None
        finally:
            del self._answers[request_id]
        if answer.frame is None:
            raise self._loss()
        if not answer.frame.get("ok"):
            raise refusal(answer.frame.get("error"))
        content = answer.frame.get("data", {})
        return content if isinstance(content, dict) else {}

    async def join(self, session_id: str, since: Position | None = None) -> JsonObject:
        """Start the stream of a session and return its state; see protocol.md section 3."""
        data: JsonObject = {"sessionId": session_id}
        if since is not None:
            data["since"] = {"epoch": since.epoch, "seq": since.seq}
        return await self.request("session:join", data)

    async def leave(self, session_id: str) -> None:
        """Stop the stream of a session; the membership stays."""
        await self.request("session:leave", {"sessionId": session_id})

    async def send(
        self,
        session_id: str,
        content: str,
        *,
        client_msg_id: str | None = None,
        reply_to_id: str | None = None,
    ) -> JsonObject:
        """Send a message and return it as stored, after the server's COMMIT.

        Repeat it after `ConnectionLost` with the same `client_msg_id`: it is stored once.
        """
        data: JsonObject = {
            "sessionId": session_id,
            "content": content,
            "clientMsgId": client_msg_id or str(uuid4()),
        }
        if reply_to_id is not None:
            data["replyToId"] = reply_to_id
        message = (await self.request("message:send", data)).get("message")
        if not isinstance(message, dict):
            raise ClientError("bad_answer", "message:send was answered without a message")
        return message

    def _loss(self) -> ConnectionLost:
        return self.error or ConnectionLost("closed by the client", close_code=1000)

    def _lose(self, error: ConnectionLost) -> None:
        """End the connection; the first reason stays."""
        if self.error is None:
            self.error = error
        self._into.close()
        for answer in self._answers.values():
            answer.arrived.set()
        self._settled.set()
        self._scope.cancel(reason=self.error.message)

    async def _send(self, frame: JsonObject) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.error is not None or self._websocket is None:
            raise self._loss()
        with trio.move_on_after(WRITE_TIMEOUT, shield=True) as write_scope:
            await send_frame(self._websocket, frame)
        if write_scope.cancelled_caught:
            self._lose(ConnectionLost("the server does not read", close_code=CloseCode.SLOW.code))
            raise self._loss()

    async def _run(self, dial: Dial, url: str) -> None:
        """Own the WebSocket from dialling to the close frame; whatever ends it becomes `error`."""
        ended = ConnectionLost("closed by the client", close_code=CloseCode.NORMAL.code)
        try:
            with self._scope:
                async with open_websocket(dial, url) as self._websocket:
                    with self._reading_scope:
                        await self._live(self._websocket)
                    await goodbye(self._websocket)
        except* ConnectionLost as group:
            ended = self._told(why(group))
        finally:
            self._lose(ended)
            self._ended.set()

    async def _live(self, websocket: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive, websocket)
            nursery.start_soon(self._keep_authorized)
            await self._send({"event": "auth", "data": {"token": self._token}})
            await self._read(websocket)

    async def _leave(self) -> None:
        """Close politely, within `GOODBYE_TIMEOUT`."""
        self._reading_scope.cancel()
        await self._ended.wait()

    async def _keep_alive(self, websocket: WebSocketConnection) -> None:
        """Find out about a server that vanished without a word: TCP alone takes a quarter hour."""
        while True:
            await trio.sleep(PING_INTERVAL)
            with trio.move_on_after(PING_TIMEOUT) as pong_scope:
                await ping(websocket)
            if pong_scope.cancelled_caught:
                text, code = "the server fell silent", CloseCode.HEARTBEAT_LOST.code
                raise ConnectionLost(text, close_code=code)

    async def _keep_authorized(self) -> None:
        """Renew the token on the live connection each time the server says that it runs out."""
        while True:
            await self._is_expiring.wait()
            self._is_expiring = trio.Event()
            try:
                self._token = await self._renew(self._token)
                await self.request("auth:refresh", {"accessToken": self._token})
            except ConnectionLost:
                raise
            except ClientError as error:  # better now than in the middle of something at 4401
                text = f"the login could not be renewed: {error.message}"
                code = CloseCode.TOKEN_EXPIRED.code
                raise ConnectionLost(text, close_code=code) from error

    async def _read(self, websocket: WebSocketConnection) -> None:
        """Sort what arrives; never waits for whoever reads the events."""
        while True:
            frame = await receive_frame(websocket)
            if "ok" not in frame:
                self._push(frame)
                continue
            answer = self._answers.get(frame.get("id", 0))
            if answer is not None:  # else: nobody waits for it any more
                answer.frame = frame
                answer.arrived.set()

    def _push(self, frame: JsonObject) -> None:
        data = frame.get("data")
        event = Event(str(frame.get("event", "")), data if isinstance(data, dict) else {})
        if event.name == "connection:ready":
            self.ready = event.data
            self._settled.set()
        elif event.name == "connection:closing":
            self._closing = event.data
        elif event.name == "auth:expiring":
            self._is_expiring.set()
        try:
            self._into.send_nowait(event)
        except trio.WouldBlock:
            text = f"{EVENT_BUFFER} events were not read"
            raise ConnectionLost(text, code="overflow", close_code=CloseCode.SLOW.code) from None

    def _told(self, error: ConnectionLost) -> ConnectionLost:
        """Add what `connection:closing` said to a loss that came from the server's side."""
        if not self._closing or error.code != "connection_lost":
            return error
        wait, reconnect = self._closing.get("retryAfterMs"), self._closing.get("reconnect")
        code = self._closing.get("code")
        return ConnectionLost(
            str(self._closing.get("reason") or error.message),
            close_code=code if isinstance(code, int) else error.close_code,
            is_final=not reconnect if isinstance(reconnect, bool) else None,
            retry_after=wait / 1000 if isinstance(wait, int | float) else None,
        )


@asynccontextmanager
async def open_connection(
    dial: Dial, url: str, token: str, renew: Renew
) -> AsyncIterator[Connection]:
    """Connect, authenticate, and hold the connection for the length of the block.

    The block's end says goodbye; an exception or a cancellation just drops the stream.

    Args:
        dial: opens the byte stream.
        url: `ws://host:port/ws`, for the request's head.
        token: the access token to present.
        renew: asked for a new token when the server says that this one is about to expire.

    Raises:
        ConnectionLost: the server could not be reached or did not let us in.
    """
    connection = Connection(token, renew)
    async with open_private_nursery() as nursery:
        nursery.start_soon(connection._run, dial, url)  # noqa: SLF001 - made for this function
        with trio.move_on_after(CONNECT_TIMEOUT) as connect_scope:
            await connection._settled.wait()  # noqa: SLF001 - as above
        if connect_scope.cancelled_caught:
            text = f"no connection within {CONNECT_TIMEOUT:.0f} s"
            raise ConnectionLost(text, code="timed_out")
        if connection.error is not None:
            raise connection.error
        yield connection
        await connection._leave()  # noqa: SLF001 - as above
