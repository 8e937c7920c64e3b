"""The web client's files: what a browser is told with each, and what is there without a build."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chatd.config import Settings
from chatd.nurseries.site import STAMP, Site, file_origins
from chatd.wire.site import page_policy
from tests.http_kit import Client, get, open_wires

INLINE = b"self.__next_f=[];" + b"x" * 600
PAGE = b'<!doctype html><html><script src="/a.js"></script><script>%b</script></html>' % INLINE
SCRIPT = b"export const answer = 42;\n" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small build, as Next.js exports one."""
    files = {
        "index.html": PAGE,
        "404.html": PAGE,
        "chat/index.html": PAGE,
        "chat/index.txt": b"prefetched",
        "icon.svg": b"<svg/>",
        "_next/static/chunks/a1b2.js": SCRIPT,
        STAMP: b"{}",
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


@asynccontextmanager
async def open_site(folder: Path, *connect: str) -> AsyncIterator[Client]:
    async with open_wires(direct=Site(folder, connect).routes()) as wires:
        yield wires.connect("browser")


@pytest.mark.parametrize("path", ["/", "/chat/", "/chat", "/chat/?s=1"])
async def test_a_page_is_found_with_and_without_its_slash(folder: Path, path: str) -> None:
    async with open_site(folder) as browser:
        answer = await browser.ask(get(path))
    assert (answer.status, answer.body) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


async def test_what_is_named_by_its_content_is_kept_for_ever(folder: Path) -> None:
    async with open_site(folder) as browser:
        answer = await browser.ask(get("/_next/static/chunks/a1b2.js"))
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_who_takes_gzip_gets_it_and_who_has_the_file_gets_304(folder: Path) -> None:
    async with open_site(folder) as browser:
        plain = await browser.ask(get("/chat/"))
        zipped = await browser.ask(get("/chat/", "Accept-Encoding: gzip"))
        known = await browser.ask(get("/chat/", f"If-None-Match: {plain.headers['etag']}"))
        changed = await browser.ask(get("/chat/", 'If-None-Match: "another"'))
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == PAGE
    assert zipped.headers["etag"] == plain.headers["etag"]
    assert plain.headers["vary"] == zipped.headers["vary"] == "Accept-Encoding"
    assert (known.status, known.body) == (304, b"")
    assert changed.status == 200


async def test_a_page_runs_its_own_scripts_and_nothing_else(folder: Path) -> None:
    async with open_site(folder, "https://files.example") as browser:
        policy = (await browser.ask(get("/"))).headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(INLINE).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "connect-src 'self' https://files.example;" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert re.findall(r"sha256-", policy) == ["sha256-"]


def test_a_script_with_a_source_has_no_hash() -> None:
    assert "sha256" not in page_policy(b'<script async src="/x.js"></script>')


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_pages_are_only_read(folder: Path, method: str) -> None:
    async with open_site(folder) as browser:
        answer = await browser.ask(get("/chat/").replace(b"GET", method.encode()))
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        head = get("/chat/").replace(b"GET", b"HEAD")
        await browser.send(head)
        assert (await browser.read("HEAD")).headers["content-length"] == str(len(PAGE))


def test_there_is_a_page_for_what_is_not_there(folder: Path) -> None:
    missing = Site(folder).missing
    assert missing is not None
    assert missing.plain == PAGE


async def test_without_a_build_the_root_says_how_to_make_one(tmp_path: Path) -> None:
    async with open_site(tmp_path) as browser:
        answer = await browser.ask(get("/"))
    assert answer.status == 200
    assert b"make web" in answer.body
    assert b'href="/docs"' in answer.body


@pytest.mark.parametrize(
    ("settings", "origins"),
    [
        ({}, ()),
        ({"files_url": "https://files.example/base"}, ("https://files.example",)),
        (
            {"files": "s3", "s3_endpoint": "https://s3.example", "s3_style": "path"},
            ("https://s3.example",),
        ),
        (
            {"files": "s3", "s3_style": "virtual", "s3_region": "eu-west-1"},
            ("https://chat.s3.eu-west-1.amazonaws.com",),
        ),
    ],
)
def test_pages_may_ask_where_the_files_are(
    tmp_path: Path, settings: dict[str, str], origins: tuple[str, ...]
) -> None:
    keys = {"s3_bucket": "chat", "s3_access_key_id": "id", "s3_secret_access_key": "key"}
    assert file_origins(Settings(data_dir=tmp_path, **keys, **settings)) == origins  # type: ignore[arg-type]
