"""Attacks by way of files and links, on a real port: T58, T92 and T94 of the reliability paper.

T93, uploads that are not as promised, is `test_files.py`, which has the same tests for both places.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chatd.handlers.catalogue import OPERATIONS
from tests.files.kit import Site, open_site, picture
from tests.files.nanio import Nanio

SCRIPT = b"<script>alert(document.domain)</script>"
EVIL = (
    (b"<!doctype html>" + SCRIPT, "text/html"),
    (b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>", "image/svg+xml"),
    (b"<?xml version='1.0'?><x xmlns='http://www.w3.org/1999/xhtml'>" + SCRIPT, "text/xml"),
    (SCRIPT, "application/octet-stream"),
    (b"GIF89a" + SCRIPT, "image/gif"),
)


@pytest.mark.threat("T58")
@pytest.mark.parametrize(("data", "mime_type"), EVIL, ids=[kind for _, kind in EVIL])
async def test_t58_what_strangers_upload_runs_in_no_browser_and_in_no_frame(
    tmp_path: Path, data: bytes, mime_type: str
) -> None:
    other = "https://files.example"
    async with open_site(tmp_path, public_url="https://chat.example", files_url=other) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, data, name="a.html", mime_type=mime_type)
        promise["upload"]["url"] = promise["upload"]["url"].removeprefix(other)
        await anna.put(promise, data)
        done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        url = await anna.link(done["file"])
        assert urlsplit(url).netloc == "files.example"  # another host than the web client's
        answer = await site.get(url.removeprefix(other))
    headers = answer.headers
    assert (answer.status_code, answer.content) == (200, data)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"].split("; ")
    assert set(policy) == {"default-src 'none'", "frame-ancestors 'none'", "sandbox"}
    if mime_type == "image/gif":  # a picture, whatever stands behind its first bytes
        assert headers["content-type"] == "image/gif"
    else:
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"] == 'attachment; filename="a.html"'


_watched: list[Any] | None = None


def _notice(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in {"socket.connect", "socket.getaddrinfo"}:
        _watched.append(arguments[1] if event == "socket.connect" else arguments[:2])


@contextmanager
def watched() -> Iterator[list[Any]]:
    """Note every address that this process connects to, or asks for, within the block."""
    global _watched  # noqa: PLW0603 - an audit hook stays for the life of the process
    if not hasattr(_notice, "is_added"):
        sys.addaudithook(_notice)
        _notice.is_added = True  # type: ignore[attr-defined]
    found: list[Any] = []
    _watched = found
    try:
        yield found
    finally:
        _watched = None


LINKS = (
    "http://127.0.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://localtest.me:{port}/",
    "file:///etc/passwd",
)


@pytest.mark.threat("T92")
async def test_t92_a_link_in_a_message_is_text_the_daemon_connects_to_nothing(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site:
        anna, bert = await site.person("anna"), await site.person("bert")
        tea = await site.session(anna, bert)
        own = urlsplit(site.url).port
        [trap] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = trap.socket.getsockname()[1]
        async with trap:
            with watched() as found:
                for link in LINKS:
                    content = f"look at {link.format(port=port)} ![]({link.format(port=port)})"
                    message = await anna.send(tea, content=content)
                    assert message["content"] == content
                    path = f"/chat/messages/{message['id']}"
                    await anna.ask("PATCH", path, 200, content=content + "!")
                picture_url = f"https://127.0.0.1:{port}/avatar.png"
                await anna.ask("PATCH", "/users/me", 200, avatarUrl=picture_url)
                await bert.ask("GET", f"/chat/sessions/{tea}/messages", 200)
                await wait_all_tasks_blocked(0.1)
            assert [each for each in found if each[1] != own] == []
            with trio.move_on_after(0) as scope:
                await trap.accept()
            assert scope.cancelled_caught


def test_t94_no_operation_takes_an_address_that_the_daemon_would_go_to() -> None:
    addresses = {
        (operation.name, name)
        for operation in OPERATIONS
        for name, schema in operation.command.model_json_schema().get("properties", {}).items()
        if '"uri"' in str(schema).replace("'", '"')
    }
    # The avatar's is given to browsers; T92 shows that the daemon does not go there.
    assert addresses == {("user-update", "avatarUrl")}


@pytest.mark.threat("T94")
async def test_t94_where_files_go_is_said_by_the_settings_alone(
    tmp_path: Path, place: Nanio | None
) -> None:
    async with open_site(tmp_path, place) as site:
        anna = await site.person("anna")
        body = {"fileName": "a", "size": 1, "mimeType": "text/plain"}
        for more in ({"endpoint": "http://evil.example"}, {"url": "x"}, {"bucket": "x"}):
            assert await anna.refusal("POST", "/files", **body, **more) == "validation_failed"
        spoofed = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        answer = await anna.http.post("/files", json=body, headers=spoofed)
        url = answer.json()["upload"]["url"]
        assert url.startswith("/blob?" if place is None else f"{place.url}/chatd-files/incoming/")


@pytest.mark.threat("T93")
async def test_t93_nobody_writes_where_they_were_not_told_to(
    tmp_path: Path, place: Nanio | None
) -> None:
    async with open_site(tmp_path, place) as site:
        anna, eve = await site.person("anna"), await site.person("eve")
        tea = await site.session(anna)
        file = await anna.upload(tea, picture())
        before = everything(site)
        key = site.key(file["id"])
        names = (f"../stored/{key[:2]}/{key}", f"..%2fstored%2f{key}", f"files/{key}", "/etc/x")
        for name in names:
            promise = await eve.promise(None, b"evil", name=name, mime_type="text/plain")
            assert key not in promise["upload"]["url"]
            assert (await eve.put(promise, b"evil")).status_code == 200
        assert everything(site).items() >= before.items()
        assert (await anna.read(file)).content == picture()


def everything(site: Site) -> dict[str, bytes]:
    """Return what lies in the store, but what nanio writes for itself."""
    found = {str(path): path for path in site.folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if "meta" not in name}


async def test_without_files_everything_about_them_is_unavailable_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, files="off") as site:
        anna = await site.person("anna")
        tea = await site.session(anna)
        config = await anna.ask("GET", "/config.json", 200)
        assert (config["files"], config["fileLimits"]) == (False, None)
        body = {"fileName": "a", "size": 1, "mimeType": "text/plain"}
        ways: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/files", body),
            ("POST", f"/files/{tea}/complete", {}),
            ("GET", f"/files/{tea}", {}),
            ("GET", f"/files/{tea}/thumbnail", {}),
            ("GET", f"/files/{tea}/link", {}),
            ("DELETE", f"/files/{tea}", {}),
            ("GET", f"/avatars/{tea}", {}),
            ("PATCH", "/users/me", {"avatarFileId": str(tea)}),
        ]
        for method, path, data in ways:
            answer = await anna.http.request(method, path, json=data or None)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert (await site.get("/blob?link=x")).status_code == 404
        assert (await anna.send(tea, content="words"))["attachments"] == []
        assert not (tmp_path / "files").exists()


def test_botocore_is_not_imported_where_s3_is_not_configured() -> None:
    code = "import sys, chatd.nurseries.daemon as d; print([m for m in sys.modules if m in M])"
    code = code.replace("in M", 'in ("botocore", "PIL")')
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {}
    )
    assert run.stdout.strip() == b"[]"
