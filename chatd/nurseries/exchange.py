"""One request and its answer, whoever answers it: a direct route or the ASGI application."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from chatd.errors import ChatError, MethodNotAllowed
from chatd.nurseries.http_stream import HttpStream, PeerGone
from chatd.wire.edge import edge_lines
from chatd.wire.http import RequestHead
from chatd.wire.http_body import BodyReader
from chatd.wire.http_refusals import RequestTimeout
from chatd.wire.http_response import CONTINUE, Headers, Response, error_answer

# Progress rule: a body has `body_timeout`, and each full 64 KiB that came buys a second more, so
# that a big body may come over a slow line while a trickle is cut exactly at the timeout.
PROGRESS_BYTES = 65_536
DISCARD_BYTES = 65_536  # an unread body up to this is read and forgotten to keep the connection
WATCH_BYTES = 65_536  # pipelined bytes kept while an answer is made; then the kernel's turn


class Exchange:
    """One request; answer it with `respond`, once.

    A body that nobody reads is no trouble: a small rest is skipped, a big one ends the connection.
    """

    __slots__ = (
        "_body",
        "_body_deadline",
        "_is_broken",
        "_pending",
        "_progress",
        "_response",
        "_stream",
        "_watch_scope",
        "forwarded",
        "head",
        "request_id",
    )

    def __init__(
        self, stream: HttpStream, head: RequestHead, request_id: str, forwarded: str | None = None
    ) -> None:
        self.head = head
        self.forwarded = forwarded  # the client's address, when another daemon passed it on
        self.request_id = request_id
        self._stream = stream
        self._body: BodyReader | None = None
        self._body_deadline = 0.0
        self._progress = PROGRESS_BYTES
        self._is_broken = False
        self._response: Response | None = None
        self._pending = b""  # a head that waits for the first piece of its body
        self._watch_scope: trio.CancelScope | None = None

    @property
    def peer(self) -> str:
        """The address of the client: as the kernel knows it, or one of ours in front of us."""
        if self.forwarded is not None:
            return self.forwarded
        stream = self._stream
        if stream.proxies is None:
            return stream.peer
        return stream.proxies.client_of(stream.peer, self.head.values(b"x-forwarded-for"))

    @property
    def connection_id(self) -> str:
        """The id of the connection in the log."""
        return self._stream.connection_id

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is encrypted, to us or to a proxy of ours."""
        if isinstance(self._stream.stream, trio.SSLStream):
            return True
        if self._stream.proxies is None:
            return False
        schemes = b",".join(self.head.values(b"x-forwarded-proto"))
        return schemes.rpartition(b",")[2].strip().lower() == b"https"

    @property
    def is_started(self) -> bool:
        """Whether bytes of the response have left: it can no longer be replaced."""
        return self._response is not None and not self._pending

    @property
    def is_finished(self) -> bool:
        """Whether the whole response has left."""
        return self._response is not None and self._response.is_complete

    async def read_body(self, limit: int) -> bytes:
        """Return the whole body, of at most `limit` bytes.

        Raises:
            PayloadTooLarge: it is larger, or says so.
            RequestTimeout: it did not arrive in time.
            BadRequest: its framing is broken.
            PeerGone: the client left before its end.
        """
        body = self.open_body(limit)
        pieces = []
        while not body.is_complete:
            pieces.append(await self.read_piece())
        return b"".join(pieces)

    def open_body(self, limit: int, *, progress: int = PROGRESS_BYTES) -> BodyReader:
        """Set the limit of the body; the first one counts.

        Args:
            progress: bytes that buy a second more.

        Raises:
            PayloadTooLarge: the client declared more.
        """
        if self._body is None:
            try:
                self._body = BodyReader(self.head.body_length, limit)
            except ChatError:
                self._is_broken = True
                raise
            self._body_deadline = trio.current_time() + self._stream.settings.body_timeout
            self._progress = progress
        return self._body

    async def read_piece(self) -> bytes:
        """Return the next piece of a body that was opened; b"" only at its end.

        Raises:
            ChatError: see `read_body`.
        """
        body = self._body
        if body is None or body.is_complete:
            return b""
        await self._invite(body)
        stream = self._stream
        try:
            while not (piece := body.feed(stream.buffer)) and not body.is_complete:
                if not await self._in_time(body, stream.fill):
                    raise PeerGone
        except ChatError:
            self._is_broken = True
            raise
        return piece

    async def read_into(self, space: memoryview) -> int:
        """Put what comes next of an opened body of declared length into `space`; return how much.

        It is 0 only at the end. What the kernel has goes there at once: a large body costs a third.

        Raises:
            ChatError: see `read_body`.
            RuntimeError: the body is chunked.
        """
        body = self._body
        if body is None or body.is_complete:
            return 0
        if not body.declared_left:
            raise RuntimeError("a chunked body is read in pieces")
        await self._invite(body)
        buffer, space = self._stream.buffer, space[: body.declared_left]
        if buffer:
            count = min(len(buffer), len(space))
            space[:count] = buffer[:count]
            del buffer[:count]
        else:
            try:
                count = await self._in_time(body, partial(self._stream.fill_space, space))
            except ChatError:
                self._is_broken = True
                raise
            if not count:
                raise PeerGone
        body.skip(count)
        return count

    async def _invite(self, body: BodyReader) -> None:
        """Tell a client that waits for it that its body is wanted (RFC 9110 10.1.1)."""
        if not self._stream.buffer and body.received == 0 and self.head.expects_continue:
            await self._stream.write(CONTINUE)

    async def _in_time(self, body: BodyReader, read: Callable[[], Awaitable[int]]) -> int:
        """Read more of a body, within its deadline; what has come moves that."""
        bonus = body.received // self._progress
        with trio.move_on_at(self._body_deadline + bonus) as body_scope:
            return await read()
        assert body_scope.cancelled_caught  # noqa: S101 - else it has returned
        msg = "the request body did not arrive in time"
        raise RequestTimeout(msg)

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer; Content-Length, Date and X-Request-Id are added.

        Raises:
            PeerGone: the client is gone; there is nothing to do about it.
        """
        self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send(body, more=False)

    async def refuse(self, error: ChatError) -> None:
        """Answer with the envelope of a refusal."""
        headers, body = error_answer(error, self.request_id)
        self._response = None  # a head that has not left is replaced
        self.start(error.status, headers)
        await self.send(body, more=False)

    async def refuse_method(self, allowed: bytes) -> None:
        """Answer that the path has other methods, and which (RFC 9110 15.5.6)."""
        headers, body = error_answer(MethodNotAllowed(), self.request_id)
        kept = [header for header in headers if header[0] not in (b"allow", b"content-length")]
        await self.respond(405, [*kept, (b"allow", allowed)], body)

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer. The head waits for the first piece, so that both leave in one write."""
        if self._response is not None:
            msg = "a request is answered once"
            raise RuntimeError(msg)
        closes = (
            not self.head.keeps_alive
            or self._stream.is_draining
            or self._is_broken
            or self._is_rest_too_large()
        )
        self._response = Response(
            self.head,
            status,
            headers,
            request_id=self.request_id,
            now=time.time(),
            closes=closes,
            edge=edge_lines(
                {name.lower() for name, _ in headers},
                origin=self.head.header(b"origin"),
                allowed=self._stream.settings.cors_origins,
                is_secure=self.is_secure,
            ),
        )
        self._pending = self._response.head

    async def flush(self) -> None:
        """Send the head of a stream whose first piece may take its time."""
        if self._response is not None and self._response.is_streamed and self._pending:
            head, self._pending = self._pending, b""
            await self._stream.write(head)

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a piece of the answer that was begun."""
        if self._response is None:
            msg = "a body without the head of its response"
            raise RuntimeError(msg)
        piece = self._response.encode(data, more=more)
        head, self._pending = self._pending, b""
        if head or piece:
            is_last = self._response.is_whole
            await self._stream.write(head + piece if head else piece, is_last=is_last)
        if not more and self._watch_scope is not None:
            self._watch_scope.cancel()

    async def wait_disconnected(self) -> None:
        """Wait until the client has left or the answer is out; pipelined bytes are kept.

        For a long-poll that is parked, beside the task that will answer. It reads the connection:
        take the body first. Cancelling it loses nothing.
        """
        stream = self._stream
        with trio.CancelScope() as self._watch_scope:
            while not stream.is_ended and not self.is_finished:
                if len(stream.buffer) >= WATCH_BYTES:
                    # The client's end cannot be seen behind bytes that we do not take.
                    await trio.sleep_forever()
                await stream.fill()
        self._watch_scope = None

    def close_behind(self) -> None:
        """Let the connection end behind the answer, whatever the client asked for."""
        self._is_broken = True

    async def finish(self) -> bool:
        """Skip what is left of the body; return whether the connection can go on."""
        if self._response is None or not self._response.is_complete:
            return False
        if self._response.closes:
            if self.head.body_length != 0 or self._stream.buffer:
                await self._stream.linger()
            return False
        if self.head.body_length == 0:
            return True
        try:
            body = self.open_body(DISCARD_BYTES)
            allowed = body.received + DISCARD_BYTES
            while not body.is_complete and body.received <= allowed:
                await self.read_piece()
        except ChatError:
            return False  # the answer is out: there is no second one for the rest of the body
        return body.is_complete

    def _is_rest_too_large(self) -> bool:
        length = self.head.body_length
        if length == 0 or (self._body is not None and self._body.is_complete):
            return False
        received = 0 if self._body is None else self._body.received
        if self.head.expects_continue and received == 0:
            return True  # RFC 9110 10.1.1: whether the body will come is not known
        return length is not None and length - received > DISCARD_BYTES
