"""A store that speaks S3: what is signed, from where it is told, and what happens without it."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import pytest
import trio

from chatd.config import Settings, SettingsError
from chatd.errors import Unavailable
from chatd.ids import random_hex, uuid7
from chatd.nurseries.s3_blobs import S3Blobs, open_s3
from chatd.rows import FileRow
from tests.files.kit import open_site, picture
from tests.files.nanio import Nanio
from tests.store.kit import NOW

S3: dict[str, Any] = {
    "files": "s3",
    "s3_bucket": "our-files",
    "s3_access_key_id": "AKID",
    "s3_secret_access_key": "secret",
    "environment": "development",
}


def promised(size: int = 5) -> FileRow:
    return FileRow(
        uuid7(), random_hex(16), uuid7(), None, "a", size, "text/plain", NOW,
        NOW + timedelta(seconds=300),
    )  # fmt: skip


@asynccontextmanager
async def opened(**more: Any) -> AsyncIterator[S3Blobs]:
    with trio.fail_after(10):
        async with open_s3(Settings(**(S3 | more)), lambda: NOW) as blobs:
            yield blobs


async def test_exactly_key_type_and_length_of_an_upload_are_signed() -> None:
    row = promised()
    async with opened(s3_region="eu-central-1") as blobs:
        upload = await blobs.upload_to(row)
    url = urlsplit(upload.url)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (upload.method, upload.headers) == ("PUT", {"Content-Type": "text/plain"})
    assert url.netloc == "our-files.s3.eu-central-1.amazonaws.com"
    assert url.path == f"/incoming/{row.key}"
    assert query["X-Amz-SignedHeaders"] == "content-length;content-type;host"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert query["X-Amz-Expires"] == "300"
    assert query["X-Amz-Credential"].startswith("AKID/")
    assert "/eu-central-1/s3/" in query["X-Amz-Credential"]
    assert "X-Amz-Security-Token" not in query


async def test_any_endpoint_is_used_in_either_style_and_a_temporary_key_says_so() -> None:
    more = {"s3_endpoint": "https://blobs.example:9000/", "s3_session_token": "temporary"}
    async with opened(**more) as blobs:
        virtual = urlsplit((await blobs.upload_to(promised())).url)
    async with opened(**more, s3_style="path") as blobs:
        path = urlsplit((await blobs.upload_to(promised())).url)
    assert virtual.netloc == "our-files.blobs.example:9000"
    assert (path.netloc, path.path.split("/")[1]) == ("blobs.example:9000", "our-files")
    assert parse_qs(path.query)["X-Amz-Security-Token"] == ["temporary"]


async def test_what_the_environment_says_of_aws_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_ENDPOINT_URL": "http://evil.example",
        "AWS_ENDPOINT_URL_S3": "http://evil.example",
        "AWS_DEFAULT_REGION": "mars-1",
        "HTTPS_PROXY": "http://evil.example",
    }.items():
        monkeypatch.setenv(name, value)
    async with opened() as blobs:
        url = (await blobs.upload_to(promised())).url
    assert urlsplit(url).netloc == "our-files.s3.us-east-1.amazonaws.com"
    assert "evil" not in url
    assert "other" not in url
    assert "mars" not in url


async def test_without_botocore_the_daemon_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(SettingsError, match=r"pip install 'chatd\[s3\]'"):
        async with opened():
            pass


@pytest.mark.parametrize("missing", ["s3_bucket", "s3_access_key_id", "s3_secret_access_key"])
def test_a_store_needs_a_bucket_and_a_key(missing: str) -> None:
    with pytest.raises(ValueError, match="files=s3 needs"):
        Settings(**(S3 | {missing: None}))
    for name in ("s3_endpoint", "files_url"):
        with pytest.raises(ValueError, match=f"{name} is an https URL"):
            Settings(**(S3 | {name: "http://blobs.example"}))


async def test_a_store_that_is_away_is_unavailable_and_the_chat_goes_on(tmp_path: Path) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    gone = Nanio(port, tmp_path / "none")
    async with open_site(tmp_path, gone) as site:
        anna = await site.person("anna")
        tea = await site.session(anna)
        promise = await anna.promise(tea, picture())  # a link is made without asking
        answer = await anna.http.post(f"/files/{promise['fileId']}/complete")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert (answer.headers["retry-after"], "X-Amz" in answer.text) == ("5", False)
        await anna.ask("DELETE", f"/files/{promise['fileId']}", 200)
        await site.sweep()
        assert site.is_known(promise["fileId"])  # until it is there again
        await anna.send(tea, content="words")


@asynccontextmanager
async def scripted(answer: bytes | None) -> AsyncIterator[str]:
    """Run a server that answers everything like this, or nothing at all."""

    async def serve(stream: trio.SocketStream) -> None:
        parser = h11.Connection(h11.SERVER)
        while not isinstance(parser.next_event(), h11.Request):
            data = await stream.receive_some()
            if not data:
                return
            parser.receive_data(data)
        if answer is None:
            await trio.sleep_forever()
        await stream.send_all(answer or b"")
        await stream.aclose()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="nothing"),
        pytest.param(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", id="500"),
        pytest.param(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", id="403"),
        pytest.param(
            b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            id="a redirect",
        ),
        pytest.param(b"garbage\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="half an answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000, id="too much"),
    ],
)
async def test_whatever_a_store_does_wrong_is_unavailable(answer: bytes | None) -> None:
    more: dict[str, Any] = {"s3_style": "path", "s3_timeout": 0.5}
    async with scripted(answer) as url, opened(s3_endpoint=url, **more) as blobs:
        with trio.fail_after(5), pytest.raises(Unavailable):
            await blobs.read("0" * 32, 0, 9)
        if answer is None or b" 200 " not in answer:
            with trio.fail_after(5), pytest.raises(Unavailable):
                await blobs.delete("0" * 32)
