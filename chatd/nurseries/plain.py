"""The conversation on `/ws`: the token first, then requests, each answered with its id."""

from __future__ import annotations

from typing import Any

import trio

from chatd.context import RoomEvent
from chatd.errors import (
    ChatError,
    CloseCode,
    TokenExpired,
    Unauthorized,
    ValidationFailed,
)
from chatd.model import dumps
from chatd.nurseries.admission import Live, NotAdmitted, identify, read_first_state
from chatd.nurseries.chat_socket import ChatSocket, RequestId, may_be_at_once
from chatd.nurseries.connection import TURN, Connection
from chatd.nurseries.http import Upgrade
from chatd.payloads import closing_event
from chatd.tokens import Identity
from chatd.wire import plain
from chatd.wire.frames import FrameError, close_frame, ping_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader

FIRST_FRAME_BYTES = 16_384  # before the login: a token has at most 8 KiB


class PlainWire:
    """Writes what the chat says as frames of `/ws`. See `chatd.nurseries.chat_socket.ChatWire`."""

    event = staticmethod(plain.encode_event)

    def durable(self, event: RoomEvent) -> bytes:
        """Return a committed event: on this wire like every other."""
        return plain.encode_event(event.name, event.data)

    def greeting(self, data: bytes, offset: str) -> bytes:
        """Return `connection:ready`."""
        del offset  # `session:join` has `since` instead
        return plain.encode_event("connection:ready", data)

    answer = staticmethod(plain.encode_answer)

    def refusal(self, id_: RequestId, event: str, error: dict[str, Any]) -> bytes:
        """Return a refusal; without an id it has `null` for one."""
        del event  # the id tells which
        return plain.encode_error(id_, error)


WIRE = PlainWire()


async def serve_plain(upgrade: Upgrade, live: Live) -> None:
    """Serve one `/ws` connection to its end."""
    connection = PlainConnection(upgrade, live, _bearer_of(upgrade))
    del upgrade  # an idle connection does not keep its head
    await connection.run()


class PlainConnection(Connection):
    """One client of `/ws`."""

    __slots__ = ("_answer", "_bearer", "_chat", "_goodbye", "_leftover", "_live", "_reader")

    def __init__(self, upgrade: Upgrade, live: Live, bearer: str | None) -> None:
        settings = live.services.settings
        super().__init__(connection_id=upgrade.connection_id, peer=upgrade.peer, settings=settings)
        self._attach(upgrade.stream, poller=upgrade.poller)
        self._answer = upgrade.answer
        self._live = live
        self._chat = ChatSocket(
            live, self, socket_id=upgrade.connection_id, transport="ws", wire=WIRE
        )
        self._bearer = bearer
        self._reader = WebSocketReader(
            max_size=min(FIRST_FRAME_BYTES, settings.frame_bytes),
            max_fragments=settings.max_fragments,
        )
        self._leftover = upgrade.leftover  # came behind the head: the first frame's
        self._goodbye: bytes | None = None  # the close frame that answers the peer's end

    async def _converse(self) -> None:
        self.outbox.push(self._answer)
        self._answer = b""
        messages = self._feed(self._leftover) if self._leftover else []
        if not await self._log_in(messages):
            return
        while True:
            for number, message in enumerate(messages, 1):
                await self.outbox.has_less()
                if number % TURN == 0:
                    await trio.lowlevel.checkpoint()
                await self._handle(message)
            messages = self._feed(await self._receive())

    def _ended(self, code: CloseCode) -> None:
        self._chat.unregister(code)

    def _farewell(self, code: CloseCode) -> bytes:
        if self._goodbye is not None:
            return self._goodbye
        told = closing_event(code)
        words = b"" if told is None else plain.encode_event("connection:closing", dumps(told))
        return words + close_frame(code.code, code.reason)

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        self.outbox.push(ping_frame())

    # Reading

    def _feed(self, data: bytes) -> list[bytes | bytearray]:
        """Return the messages that these bytes complete; no WebSocket ends the connection."""
        try:
            messages = self._reader.feed(data)
        except WebSocketEnd as end:
            self._goodbye = end.goodbye
            self.cut(end.code)
            return end.messages  # a send right before the close is a send
        self._meter(self._reader.controls())
        pongs = self._reader.replies()
        if pongs and self.code is None:
            self.outbox.push(pongs)
        return messages

    def _decode(self, message: bytes | bytearray) -> plain.Request | None:
        """Return the request in a message; what is no request ends the connection."""
        try:
            return plain.decode(message)
        except FrameError:
            self.cut(CloseCode.BAD_REQUEST if _is_text(message) else CloseCode.INVALID_DATA)
            return None

    def _take_at_once(self, data: bytes, now: float) -> bool:
        if self.code is not None or self.outbox.is_over or not self._chat.is_registered:
            return False
        message = self._reader.whole_text(data)
        if message is None or not may_be_at_once(message):
            return False
        try:
            request = plain.decode(message)
        except FrameError:
            return False
        if request.unknown:
            return False
        return self._chat.request_at_once(request.event, request.id, request.data, now)

    async def _handle(self, message: bytes | bytearray) -> None:
        request = self._decode(message)
        if request is None:
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
            return
        refusal = _refusal_of(request.unknown) if request.unknown else None
        await self._chat.request(request.event, request.id, request.data, refusal)

    # Login

    async def _log_in(self, messages: list[bytes | bytearray]) -> bool:
        """Take the token from the handshake or the first frame; False when it is no good."""
        request = None
        token = self._bearer
        if token is None:
            request = await self._first_request(messages)
            if request is None:
                return False
            token = _token_of(request)
        try:
            if token is None:
                raise Unauthorized
            identity = await identify(self._live, token, self.peer)
        except NotAdmitted as refused:
            self.cut(refused.code)
            return False
        except ChatError as refusal:
            if request is not None:
                self._chat.refuse(request.id, refusal, "auth", self.id)
            is_stale = isinstance(refusal, TokenExpired)
            self.cut(CloseCode.TOKEN_EXPIRED if is_stale else CloseCode.NOT_AUTHENTICATED)
            return False
        self._bearer = None
        self._reader.allow(self.settings.frame_bytes)
        if request is not None:
            self._chat.answer(request.id, b"{}")
        return await self._register(identity)

    async def _register(self, identity: Identity) -> bool:
        try:
            first = await read_first_state(self._live, identity)
            self._chat.register(first, is_recovered=False)
        except NotAdmitted as refusal:
            self.cut(refusal.code)
            return False
        return self.start_soon(self.heartbeat.run)  # not when it was cut while it was told

    async def _first_request(self, messages: list[bytes | bytearray]) -> plain.Request | None:
        with trio.move_on_after(self.settings.auth_timeout):
            while not messages:
                messages += self._feed(await self._receive())
            return self._decode(messages.pop(0))
        self.cut(CloseCode.NOT_AUTHENTICATED)
        return None


def _bearer_of(upgrade: Upgrade) -> str | None:
    """Return the token of the handshake; what another scheme carries is not for us."""
    header = (upgrade.head.header(b"authorization") or b"").decode("latin-1")
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None  # RFC 9110 11.1: in any case


def _token_of(request: plain.Request) -> str | None:
    """Return the token of an `auth` request."""
    token = request.data.get("token") if isinstance(request.data, dict) else None
    return token if request.event == "auth" and isinstance(token, str) else None


def _refusal_of(unknown: tuple[str, ...]) -> ValidationFailed:
    fields = [{"field": name[:64], "message": "is unknown"} for name in unknown[:20]]
    return ValidationFailed(details={"fields": fields})


def _is_text(message: bytes | bytearray) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
