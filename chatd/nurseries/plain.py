"""The conversation on `/ws`: the token first, then requests, each answered with its id."""

from __future__ import annotations

from functools import partial

import trio

from chatd.context import Caller
from chatd.errors import ChatError, CloseCode, TokenExpired, Unauthorized, ValidationFailed
from chatd.handlers.catalogue import BY_EVENT
from chatd.handlers.operations import Followed, Operation, call, submit
from chatd.limits import Rate
from chatd.model import dumps
from chatd.nurseries.connection import Connection, Live
from chatd.nurseries.http import Upgrade
from chatd.wire import plain
from chatd.wire.frames import FrameError, close_frame, ping_frame
from chatd.wire.websocket import WebSocketEnd, WebSocketReader

EVENT_RATE = Rate(50, 500)  # any event of one connection (protocol.md section 7)
FIRST_FRAME_BYTES = 16_384  # before the login: a token has at most 8 KiB
OWN_CODES = 4000  # close codes from here on are ours and come with words (RFC 6455 7.4.2)


async def serve_plain(upgrade: Upgrade, live: Live) -> None:
    """Serve one `/ws` connection to its end."""
    bearer = (upgrade.head.header(b"authorization") or b"").decode("latin-1")
    connection = PlainConnection(upgrade, live, bearer)
    del upgrade  # an idle connection does not keep its head
    await connection.run()


class PlainConnection(Connection):
    """One client of `/ws`."""

    transport = "ws"
    encode_event = staticmethod(plain.encode_event)

    def __init__(self, upgrade: Upgrade, live: Live, bearer: str) -> None:
        super().__init__(
            upgrade.stream, connection_id=upgrade.connection_id, peer=upgrade.peer, live=live
        )
        settings = live.services.settings
        self._bearer = bearer
        self._reader = WebSocketReader(
            max_size=min(FIRST_FRAME_BYTES, settings.frame_bytes),
            max_fragments=settings.max_fragments,
        )
        self._leftover = upgrade.leftover  # came behind the head: the first frame's
        self._goodbye: bytes | None = None  # the close frame that answers the peer's end
        self._requests = 0
        self._inflight = 0
        self._has_room: trio.Event | None = None

    async def _converse(self) -> None:
        messages = self._feed(self._leftover) if self._leftover else []
        if not await self._log_in(messages):
            return
        while True:
            for message in messages:
                await self.outbox.has_less()
                await self._handle(message)
            messages = self._feed(await self._receive())

    def _farewell(self, code: CloseCode) -> bytes:
        if self._goodbye is not None:
            return self._goodbye
        words = b""
        if code.code >= OWN_CODES:
            told = {"code": code.code, "reason": code.reason, "reconnect": code.reconnect}
            words = plain.encode_event("connection:closing", dumps(told))
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
        pongs = self._reader.replies()
        if pongs:
            self.outbox.push(pongs)
        return messages

    def _decode(self, message: bytes | bytearray) -> plain.Request | None:
        """Return the request in a message; what is no request ends the connection."""
        try:
            return plain.decode(message)
        except FrameError:
            self.cut(CloseCode.BAD_REQUEST if _is_text(message) else CloseCode.INVALID_DATA)
            return None

    # Login

    async def _log_in(self, messages: list[bytes | bytearray]) -> bool:
        """Take the token from the handshake or the first frame; False when it is no good."""
        request = None
        if self._bearer:
            token: str | None = self._bearer.removeprefix("Bearer ").strip()
        else:
            request = await self._first_request(messages)
            if request is None:
                return False
            token = _token_of(request)
        try:
            if token is None:
                raise Unauthorized
            identity = self._services.tokens.verify(token, self._services.now())
        except ChatError as refusal:
            if request is not None:
                self._refuse(request.id, refusal, "auth", self.id)
            is_stale = isinstance(refusal, TokenExpired)
            self.cut(CloseCode.TOKEN_EXPIRED if is_stale else CloseCode.NOT_AUTHENTICATED)
            return False
        self._bearer = ""
        self._reader.allow(self._services.settings.frame_bytes)
        if request is not None:
            self._answer(request.id, b"{}")
        return await self._register(identity)

    async def _first_request(self, messages: list[bytes | bytearray]) -> plain.Request | None:
        with trio.move_on_after(self._services.settings.auth_timeout):
            while not messages:
                messages += self._feed(await self._receive())
            return self._decode(messages.pop(0))
        self.cut(CloseCode.NOT_AUTHENTICATED)
        return None

    # Requests

    async def _handle(self, message: bytes | bytearray) -> None:
        """Run one request; a refusal is answered like everything else."""
        request = self._decode(message)
        if request is None:
            await trio.lowlevel.checkpoint()  # ends here: the scope is cancelled
            return
        self._requests += 1
        caller = Caller(f"{self.id}-{self._requests}", self.peer, self.identity, self)
        try:
            now = trio.current_time()
            self._services.limiter.check((self.id,), EVENT_RATE, now)
            operation = BY_EVENT.get(request.event)
            if operation is None:
                raise ValidationFailed("no such event")
            if operation.submit is not None:
                await self._submit(request, caller, operation)
                return
            answer = await call(self._services, caller, operation, request.data, now)
        except ChatError as refusal:
            self._refuse(request.id, refusal, request.event, caller.request_id)
            return
        if isinstance(answer, Followed):
            self._answer(request.id, answer.data)
            answer.then()
        else:
            self._answer(request.id, answer)

    async def _submit(self, request: plain.Request, caller: Caller, operation: Operation) -> None:
        """Start an operation that answers when it is committed, while the next one is read.

        With too many under way nothing is read: the client's TCP waits for the store.
        """
        while self._inflight >= self._services.settings.max_inflight:
            self._has_room = trio.Event()
            await self._has_room.wait()
        self._inflight += 1
        reply = partial(self._reply, request.id, request.event, caller.request_id)
        submit(self._services, caller, operation, request.data, trio.current_time(), reply)

    def _reply(
        self, id_: int | str | None, event: str, request_id: str, answer: bytes | ChatError
    ) -> None:
        self._inflight -= 1
        if self._has_room is not None:
            self._has_room.set()
            self._has_room = None
        if isinstance(answer, ChatError):
            self._refuse(id_, answer, event, request_id)
        else:
            self._answer(id_, answer)

    def _answer(self, id_: int | str | None, data: bytes) -> None:
        if id_ is not None:
            self.outbox.push_answer(plain.encode_answer(id_, data))

    def _refuse(
        self, id_: int | str | None, refusal: ChatError, event: str, request_id: str
    ) -> None:
        known = event if event in BY_EVENT else "unknown"  # a label of ours, not of the client's
        self._services.metrics.ack_errors.labels(known, refusal.code).inc()
        self.outbox.push(plain.encode_error(id_, refusal.to_wire(request_id)))


def _token_of(request: plain.Request) -> str | None:
    """Return the token of an `auth` request."""
    token = request.data.get("token") if isinstance(request.data, dict) else None
    return token if request.event == "auth" and isinstance(token, str) else None


def _is_text(message: bytes | bytearray) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
