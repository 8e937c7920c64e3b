"""`/blob`: uploads and downloads of the files in the data folder, by signed link.

Answered by the HTTP loop without Quart, which would keep a body in memory. Reading a socket and
writing the disk take turns, 1 MiB at a time: who sends faster than the disk writes waits in TCP. A
GiB costs the daemon that MiB, and everybody else nothing but their share of a core.

What is served was sent by a stranger: it comes as a type that its bytes have proved, or as bytes to
be saved; without sniffing, in a sandbox that runs nothing (RFC 9110, RFC 6266, CSP level 3).
"""

from __future__ import annotations

import os

import trio

from chatd.blobs import BLOB_READ
from chatd.context import Services
from chatd.errors import (
    Conflict,
    Forbidden,
    NotFound,
    StoreBug,
    StoreError,
    Unavailable,
)
from chatd.limits import Rate
from chatd.links import Link
from chatd.nurseries.disk import Part
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http import DirectHandler
from chatd.nurseries.local_blobs import BLOB_PATH, LocalBlobs
from chatd.nurseries.transfers import Transfers
from chatd.rows import FileRow
from chatd.wire.http_refusals import RequestTimeout
from chatd.wire.ranges import Span, Unsatisfiable, is_known, requested

WRITE_BYTES = BLOB_READ  # of one turn of the disk
READ_BYTES = 262_144  # of one turn of a download: four writes with a deadline each
RATE = Rate(50, 500)  # of one owner's links: a video is asked for in many ranges
_POLICY = b"default-src 'none'; frame-ancestors 'none'; sandbox"
_METHODS = b"GET, HEAD, PUT"


class BlobDoor:
    """Serves the links of `LocalBlobs`."""

    def __init__(self, blobs: LocalBlobs, services: Services) -> None:
        self._blobs = blobs
        self._disk = blobs.disk
        self._services = services
        self._settings = services.settings
        self.transfers = Transfers(services.settings.file_transfers)

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            ChatError: the link is not good for it; the envelope says why.
        """
        method = exchange.head.method
        if method == "OPTIONS":
            await self._preflight(exchange)
        elif method == "PUT":
            await self._upload(exchange, self._verify(exchange, "PUT"))
        elif method in {"GET", "HEAD"}:
            await self._download(exchange, self._verify(exchange, "GET"))
        else:
            await exchange.refuse_method(_METHODS + b", OPTIONS")

    def _verify(self, exchange: Exchange, method: str) -> Link:
        services = self._services
        text, now = exchange.head.query.get("link", ""), services.now().timestamp()
        link = self._blobs.links.verify(text, method, now)
        services.limiter.check("user", ("blob", link.owner), RATE, trio.current_time())
        return link

    async def _preflight(self, exchange: Exchange) -> None:
        """Let pages of our origins ask; the edge adds that they may read the answer."""
        headers = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", b"content-type, range, if-range"),
            (b"access-control-max-age", b"600"),
            *self._open_to_pages(exchange),
        ]
        exchange.start(204, headers)
        await exchange.send(b"", more=False)

    def _open_to_pages(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """Return what lets the web client read an answer from another host than its own."""
        origin, own = exchange.head.header(b"origin"), self._settings.public_url
        if self._settings.files_url is None or own is None or origin != own.encode():
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    async def _awaited(self, link: Link) -> FileRow:
        try:
            row = await self._services.store.file_by_key(link.key)
        except StoreError as trouble:
            if isinstance(trouble, StoreBug):
                raise
            raise Unavailable(retry_after=1) from trouble
        if row is None:
            raise NotFound
        return row

    # Uploads

    async def _upload(self, exchange: Exchange, link: Link) -> None:
        head = exchange.head
        if head.body_length != link.size:
            msg = f"this link takes exactly {link.size} bytes, with a Content-Length"
            raise Forbidden(msg)
        if head.values(b"content-type") != [link.content_type.encode()]:
            msg = f"this link takes {link.content_type}"
            raise Forbidden(msg)
        with self.transfers.held(link.owner):
            await self._check_open(link)
            async with self._disk.writing(link.key, link.size) as part:
                await self._receive(exchange, link, part)
                await self._check_open(link)  # it may have taken hours
                await part.publish()
        await exchange.respond(200, self._open_to_pages(exchange), b"")

    async def _check_open(self, link: Link) -> None:
        if (await self._awaited(link)).completed_at is not None:
            msg = "this file is complete"
            raise Conflict(msg)

    async def _receive(self, exchange: Exchange, link: Link, part: Part) -> None:
        body = exchange.open_body(link.size, progress=self._settings.upload_rate)
        space = memoryview(bytearray(min(WRITE_BYTES, link.size)))
        filled = 0
        while not body.is_complete:
            with trio.move_on_after(self._settings.transfer_stall) as stall_scope:
                filled += await exchange.read_into(space[filled:])
            if stall_scope.cancelled_caught:
                exchange.close_behind()
                msg = "the upload stands still"
                raise RequestTimeout(msg)
            if filled == len(space) or body.is_complete:
                await part.write(space[:filled])
                filled = 0

    # Downloads

    async def _download(self, exchange: Exchange, link: Link) -> None:
        with self.transfers.held(link.owner):
            if (await self._awaited(link)).completed_at is None:
                raise NotFound
            try:
                async with self._disk.reading(link.key, link.part) as (descriptor, size):
                    await self._answer(exchange, link, descriptor, size)
            except FileNotFoundError:
                raise NotFound from None

    async def _answer(self, exchange: Exchange, link: Link, descriptor: int, size: int) -> None:
        etag = _etag(link)
        headers = [*self._headers(exchange, link), (b"etag", etag)]
        if is_known(exchange.head, etag):
            exchange.start(304, headers)
            await exchange.send(b"", more=False)
            return
        wanted = requested(exchange.head, size, etag)
        if isinstance(wanted, Unsatisfiable):
            await exchange.respond(416, [*headers, (b"content-range", b"bytes */%d" % size)], b"")
            return
        span = wanted or Span(0, size)
        headers.append((b"content-length", b"%d" % span.length))
        if wanted is not None:
            last = span.start + span.length - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (span.start, last, size)))
        exchange.start(200 if wanted is None else 206, headers)
        if exchange.head.method == "HEAD":
            await exchange.send(b"", more=False)
        else:
            await self._send(exchange, descriptor, span)

    async def _send(self, exchange: Exchange, descriptor: int, span: Span) -> None:
        start, end = span.start, span.start + span.length
        while start < end:
            length = min(READ_BYTES, end - start)
            piece = await self._disk.run(os.pread, descriptor, length, start)
            if not piece:
                msg = "a stored file is shorter than it was"
                raise RuntimeError(msg)
            start += len(piece)
            await exchange.send(piece, more=start < end)

    def _headers(self, exchange: Exchange, link: Link) -> list[tuple[bytes, bytes]]:
        settings = self._settings
        # A link is a secret, so whoever has one may load it: pages of other origins are listed.
        is_shared = settings.files_url is not None or bool(settings.cors_origins)
        return [
            (b"content-type", link.content_type.encode()),
            (b"content-disposition", link.disposition.encode()),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"private, max-age=%d" % settings.file_link_ttl),
            (b"content-security-policy", _POLICY),
            (b"cross-origin-resource-policy", b"cross-origin" if is_shared else b"same-origin"),
            *self._open_to_pages(exchange),
        ]


def blob_routes(services: Services) -> dict[str, DirectHandler]:
    """Return the direct route of the links, where files lie here."""
    files = services.files
    if files is None or not isinstance(files.blobs, LocalBlobs):
        return {}
    return {BLOB_PATH: BlobDoor(files.blobs, services).serve}


def _etag(link: Link) -> bytes:
    """Return a strong validator: what is adopted never changes (RFC 9110 8.8.3)."""
    part = f"-{link.part}" if link.part else ""
    return f'"{link.key}{part}"'.encode()
