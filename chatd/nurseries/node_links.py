"""Connections to other daemons, used again for the next request: a connect costs more than a poll.

Own code instead of an HTTP client: the other side is a chatd, which answers polls with a declared
length and nothing else.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from chatd.nurseries.listener import USER_TIMEOUT_MS
from chatd.nurseries.plain_socket import plain_socket
from chatd.wire.forwarded import MAX_ANSWER_HEAD, AnswerHead, BadAnswer, parse_answer

CONNECT_TIMEOUT = 1.0  # seconds, TLS included: daemons of one cluster are near each other
READ_BYTES = 65_536
IDLE_LINKS = 64  # of one daemon are kept
IDLE_SECONDS = 10.0  # a link waits for its next request; daemons keep it for 75 by default


class Away(Exception):
    """Another daemon cannot be reached, or broke off."""


class NodeLink:
    """One connection to another daemon."""

    __slots__ = ("_buffer", "_tcp", "_write_timeout", "is_reusable", "since", "stream")

    def __init__(
        self, stream: trio.abc.Stream, tcp: trio.SocketStream, write_timeout: float
    ) -> None:
        self.stream = stream
        self._tcp = tcp  # the same, or what is below its TLS
        self.is_reusable = False  # its last answer was taken whole
        self.since = 0.0  # when it became idle
        self._buffer = bytearray()
        self._write_timeout = write_timeout

    async def send(self, data: bytes) -> None:
        """Hand bytes to the kernel.

        Raises:
            Away: the connection broke, or takes nothing.
        """
        if not data:
            return
        try:
            with trio.fail_after(self._write_timeout):
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as failure:
            raise Away("it takes nothing") from failure

    async def read_head(self) -> AnswerHead:
        """Wait for the head of an answer. Has no deadline.

        Raises:
            Away: the connection broke, or what came is no answer.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) == -1:
            if len(self._buffer) > MAX_ANSWER_HEAD:
                raise Away("an endless head")
            await self._fill()
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        try:
            return parse_answer(raw)
        except BadAnswer as trouble:
            raise Away(str(trouble)) from trouble

    async def read(self, most: int) -> bytes:
        """Return the next bytes of an answer's body, at least one and at most so many.

        Raises:
            Away: the connection broke, or nothing came in time.
        """
        if not self._buffer:
            try:
                with trio.fail_after(self._write_timeout):
                    await self._fill()
            except trio.TooSlowError as failure:
                raise Away("half an answer") from failure
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    async def _fill(self) -> None:
        try:
            data = await self.stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as failure:
            raise Away("it broke off") from failure
        if not data:
            raise Away("it hung up")
        self._buffer += data

    def is_quiet(self) -> bool:
        """Return whether it is as the last answer has left it: neither ended nor out of step."""
        if self._buffer:
            return False
        plain = plain_socket(self._tcp)
        assert plain is not None  # noqa: S101 - under a TCP stream there is one
        try:
            plain.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # an end, or bytes that nobody has asked for

    def close(self) -> None:
        """Drop the connection; never waits, hence without a goodbye."""
        self._tcp.socket.close()


class NodeLinks:
    """The idle connections, by the daemon's URL.

    Args:
        write_timeout: seconds for a piece to leave or to come.
        context: how daemons behind https are verified; by default as the system does.
    """

    def __init__(self, write_timeout: float, context: ssl.SSLContext | None = None) -> None:
        self._write_timeout = write_timeout
        self._context = context
        self._idle: dict[str, list[NodeLink]] = {}

    @asynccontextmanager
    async def held(self, url: str) -> AsyncIterator[NodeLink]:
        """Have a connection for one request; it is kept when that leaves it `is_reusable`.

        Raises:
            Away: the daemon does not answer.
        """
        link = self._take(url) or await self._dial(url)
        link.is_reusable = False
        try:
            yield link
        finally:
            idle = self._idle.setdefault(url, [])
            if link.is_reusable and len(idle) < IDLE_LINKS:
                link.since = trio.current_time()
                idle.append(link)
            else:
                link.close()

    @asynccontextmanager
    async def dialled(self, url: str) -> AsyncIterator[NodeLink]:
        """Have a connection of one's own for the block.

        Raises:
            Away: the daemon does not answer.
        """
        link = await self._dial(url)
        try:
            yield link
        finally:
            link.close()

    async def sweep(self) -> None:
        """Drop connections that nobody used for a while, until cancelled."""
        while True:
            await trio.sleep(IDLE_SECONDS / 2)
            before = trio.current_time() - IDLE_SECONDS
            self._drop(before)

    def close(self) -> None:
        """Drop all that are idle."""
        self._drop(math.inf)

    def _drop(self, before: float) -> None:
        for url, links in list(self._idle.items()):
            self._idle[url] = [link for link in links if link.since > before]
            for link in links:
                if link.since <= before:
                    link.close()
            if not self._idle[url]:
                del self._idle[url]  # a daemon that is gone comes back under another one

    def _take(self, url: str) -> NodeLink | None:
        """Return the connection that was used last, if one still stands."""
        while links := self._idle.get(url):
            link = links.pop()
            if link.is_quiet():
                return link
            link.close()
        return None

    async def _dial(self, url: str) -> NodeLink:
        parts = urlsplit(url)
        host, is_secure = parts.hostname or "", parts.scheme == "https"
        tcp: trio.SocketStream | None = None
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                tcp = await trio.open_tcp_stream(host, parts.port or (443 if is_secure else 80))
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
                stream = await self._secured(tcp, host) if is_secure else tcp
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as failure:
            if tcp is not None:
                tcp.socket.close()
            raise Away("it does not answer") from failure
        return NodeLink(stream, tcp, self._write_timeout)

    async def _secured(self, tcp: trio.SocketStream, host: str) -> trio.abc.Stream:
        self._context = self._context or ssl.create_default_context()
        stream = trio.SSLStream(tcp, self._context, server_hostname=host, https_compatible=True)
        await stream.do_handshake()
        return stream
