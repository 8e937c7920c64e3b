"""The data folder: what is written there whole or not at all, and by whom it is not held up."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import structlog
import trio
from pydantic import SecretStr

from chatd.config import Settings
from chatd.errors import StoreUnavailable, Unavailable
from chatd.keys import SigningKey
from chatd.limits import Rate
from chatd.nurseries import blob_door
from chatd.nurseries import disk as disk_module
from chatd.nurseries.daemon import wall_clock
from chatd.nurseries.disk import Disk
from chatd.nurseries.files import clean_files, open_files
from chatd.nurseries.transfers import Transfers
from chatd.store.memory import MemoryStore
from tests.files.kit import DAY, Site, Visitor, open_site, picture
from tests.http_kit import Client

BYTES = "application/octet-stream"


def request_of(method: str, url: str, *headers: str) -> bytes:
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}?{parts.query} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode()


def put_of(promise: dict[str, Any], size: int, *headers: str) -> bytes:
    kind = promise["upload"]["headers"]["Content-Type"]
    return request_of(
        "PUT",
        promise["upload"]["url"],
        f"Content-Type: {kind}",
        f"Content-Length: {size}",
        *headers,
    )


@asynccontextmanager
async def wire(site: Site) -> AsyncIterator[Client]:
    """Open a connection for bytes of one's own."""
    async with await trio.open_tcp_stream("127.0.0.1", urlsplit(site.url).port or 0) as stream:
        yield Client(stream)


def parts(site: Site) -> list[str]:
    return [path.name for path in site.folder.rglob("*.part")]


async def until_there(site: Site) -> None:
    """Wait until an upload has begun to write."""
    while not parts(site):  # noqa: ASYNC110 - a folder tells nobody
        await trio.sleep(0.01)


async def until_gone(site: Site) -> None:
    """Wait until no upload is under way."""
    while parts(site):  # noqa: ASYNC110 - as above
        await trio.sleep(0.01)


async def test_an_upload_that_stands_still_is_cut_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_site(tmp_path, transfer_stall=0.3) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"x" * 1000, mime_type=BYTES)
        await client.send(put_of(promise, 1000) + b"x" * 999)
        answer = await client.read()
        assert (answer.status, answer.code) == (408, "deadline_exceeded")
        assert await client.stream.receive_some() == b""
        await until_gone(site)
        assert site.blobs(site.key(promise["fileId"])) == []


async def test_an_upload_that_is_too_slow_in_the_mean_is_cut(tmp_path: Path) -> None:
    slow: dict[str, Any] = {"body_timeout": 0.5, "upload_rate": 1024}
    async with open_site(tmp_path, None, **slow) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"x" * 1000, mime_type=BYTES)
        await client.send(put_of(promise, 1000))
        began = trio.current_time()
        with pytest.raises((trio.BrokenResourceError, AssertionError)):  # noqa: PT012 - as it goes
            for _ in range(1000):
                await client.send(b"x")
                await trio.sleep(0.02)
                assert trio.current_time() - began < 1.5
        await until_gone(site)
        assert site.blobs(site.key(promise["fileId"])) == []


async def test_who_leaves_in_the_middle_of_an_upload_leaves_nothing(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"x" * 10_000_000, mime_type=BYTES)
        async with wire(site) as client:
            await client.send(put_of(promise, 10_000_000) + b"x" * 2_000_000)
            await until_there(site)
        await until_gone(site)
        assert await anna.refusal("POST", f"/files/{promise['fileId']}/complete") == "conflict"


async def test_a_client_that_asks_first_is_told_before_it_sends(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        await client.send(put_of(promise, 6, "Expect: 100-continue"))
        assert (await client.read()).status == 403
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        await client.send(put_of(promise, 5, "Expect: 100-continue"))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await client.send(b"words")
        assert (await client.read()).status == 200


async def test_an_upload_in_thousands_of_small_pieces_is_stored_whole(tmp_path: Path) -> None:
    data = os.urandom(3000)
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, data, mime_type=BYTES)
        await client.send(put_of(promise, len(data)))
        await until_there(site)
        for start in range(len(data)):
            await client.send(data[start : start + 1])
            await trio.lowlevel.checkpoint()
        assert (await client.read()).status == 200
        done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        assert (await anna.read(done["file"])).content == data


async def test_a_chunked_upload_is_refused(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        headers = ("Content-Type: text/plain", "Transfer-Encoding: chunked")
        request = request_of("PUT", promise["upload"]["url"], *headers)
        await client.send(request + b"5\r\nwords\r\n0\r\n\r\n")
        assert (await client.read()).status == 403


async def test_who_reads_a_download_too_slowly_is_cut_and_others_go_on(tmp_path: Path) -> None:
    data = os.urandom(30_000_000)
    async with open_site(tmp_path, write_timeout=0.5) as site, wire(site) as client:
        anna = await site.person("anna")
        file = await anna.upload(None, data, mime_type=BYTES)
        url = await anna.link(file)
        await client.send(request_of("GET", url))
        assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert (await site.get(url)).content == data  # beside it
        door = site.daemon.http
        while door.live > 2:  # noqa: ASYNC110 - the server tells nobody; two clients are kept alive
            await trio.sleep(0.02)
        received = 0
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - cut, not ended
            while piece := await client.stream.receive_some():
                received += len(piece)
            raise trio.BrokenResourceError
        assert received < len(data)


async def test_a_download_goes_on_to_its_end_when_its_file_is_deleted(tmp_path: Path) -> None:
    data = os.urandom(30_000_000)
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        file = await anna.upload(None, data, mime_type=BYTES)
        url = await anna.link(file)
        await client.send(request_of("GET", url))
        first = await client.stream.receive_some(10)
        await anna.ask("DELETE", f"/files/{file['id']}", 200)
        await site.sweep()
        assert (await site.get(url)).status_code == 404
        received = bytearray(first)
        while not received.endswith(data[-1000:]):
            received += await client.stream.receive_some()
        assert received.partition(b"\r\n\r\n")[2] == data


async def test_a_second_upload_takes_the_place_of_the_first_until_the_file_is_complete(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"first", mime_type="text/plain")
        for data in (b"first", b"again"):
            assert (await anna.put(promise, data)).status_code == 200
        done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        assert (await anna.read(done["file"])).content == b"again"


async def test_an_upload_that_ends_behind_the_completion_is_refused_and_gone(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"first", mime_type="text/plain")
        await client.send(put_of(promise, 5) + b"evil")
        await until_there(site)
        await anna.put(promise, b"first")
        done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        await client.send(b"!")
        assert (await client.read()).status == 409
        assert (await anna.read(done["file"])).content == b"first"
        assert len(site.blobs(site.key(promise["fileId"]))) == 1


async def test_parts_of_an_earlier_life_are_deleted_at_the_start_and_files_are_not(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        key = site.key(file["id"])
        (site.folder / "incoming" / f"{key}.0000.part").write_bytes(b"half")
        store = site.store
    async with open_site(tmp_path, store=store) as site:
        assert parts(site) == []
        assert len(site.blobs(key)) == 1


async def test_a_worker_leaves_what_others_write_and_the_supervisor_deletes_what_is_left(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path)
    part = tmp_path / "files" / "incoming" / "key.0000.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    keys = [SigningKey("test", b"k" * 40)]
    with trio.fail_after(10):
        async with open_files(settings, MemoryStore(), keys, wall_clock, is_alone=False):
            assert part.exists()
        await clean_files(settings)
        assert not part.exists()


async def test_in_a_folder_of_several_daemons_only_what_nobody_writes_any_more_is_deleted(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path, redis_url=SecretStr("redis://localhost"))
    folder = tmp_path / "files" / "incoming"
    folder.mkdir(parents=True)
    old, new = folder / "old.0000.part", folder / "new.0000.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, time.time() - disk_module.PART_AGE - 1))
    keys = [SigningKey("test", b"k" * 40)]
    with trio.fail_after(10):
        async with open_files(settings, MemoryStore(), keys, wall_clock):
            assert (old.exists(), new.exists()) == (False, True)
        await clean_files(settings)
        assert new.exists()


async def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        await anna.upload(None, picture())
        modes = {path.stat().st_mode & 0o777 for path in site.folder.rglob("*") if path.is_file()}
        folders = {path.stat().st_mode & 0o777 for path in site.folder.rglob("*") if path.is_dir()}
        assert (modes, folders) == ({0o600}, {0o700})


class Usage(NamedTuple):
    free: int


async def test_a_disk_that_is_nearly_full_takes_no_upload_and_still_gives_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        promise = await anna.promise(None, b"more", mime_type="text/plain")
        free = disk_module.SPACE_KEPT + 3
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
        answer = await anna.put(promise, b"more")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert (await anna.read(file)).content == b"words"
        free += 1
        assert (await anna.put(promise, b"more")).status_code == 200


async def test_uploads_under_way_do_not_promise_the_same_room_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path) as site, wire(site) as client:
        anna = await site.person("anna")
        one, two = [await anna.promise(None, b"x" * 100, mime_type=BYTES) for _ in range(2)]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(disk_module.SPACE_KEPT + 199))
        await client.send(put_of(one, 100) + b"x")
        await until_there(site)
        assert (await anna.put(two, b"x" * 100)).status_code == 503
        await client.send(b"x" * 99)
        assert (await client.read()).status == 200
        assert (await anna.put(two, b"x" * 100)).status_code == 200


async def test_what_an_upload_has_written_is_not_counted_as_promised_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path)
    async with disk.writing("0" * 32, 100) as one:
        await one.write(memoryview(bytes(60)))
        # Forty bytes are still to come: twenty are free for somebody else, and not one more.
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(disk_module.SPACE_KEPT + 60))
        with pytest.raises(Unavailable):
            async with disk.writing("1" * 32, 21):
                pass
        async with disk.writing("1" * 32, 20):
            pass
    async with disk.writing("1" * 32, 60):
        pass


async def test_a_disk_that_fails_when_a_file_is_opened_is_unavailable(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        [stored] = site.folder.rglob(site.key(file["id"]))
        stored.unlink()
        stored.symlink_to(tmp_path)  # it is opened without following: an OSError of its own
        answer = await anna.read(file)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        stored.unlink()
        assert (await anna.read(file)).status_code == 404


async def test_a_disk_that_fails_while_it_is_written_is_unavailable_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        with monkeypatch.context() as patch:
            patch.setattr(disk_module, "_write_all", full)
            answer = await anna.put(promise, b"words")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert parts(site) == []
        assert (await anna.put(promise, b"words")).status_code == 200


async def test_a_write_that_the_kernel_takes_in_part_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    disk = Disk(tmp_path)
    async with disk.writing("0" * 32, 10) as part:
        await part.write(memoryview(b"0123"))
        await part.write(memoryview(b"456789"))
        await part.publish()
    assert disk.adopt("0" * 32) == 10
    assert disk.path("0" * 32).read_bytes() == b"0123456789"


async def test_what_is_not_deleted_is_tried_again_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        key = site.key(file["id"])
        await site.store.revoke_file(
            (await site.store.own_files(anna.id, after=None, limit=1))[0].id, anna.id, site.now()
        )
        with monkeypatch.context() as patch:
            patch.setattr(Disk, "delete", _broken)
            await site.sweep()
            assert len(site.blobs(key)) == 1
        await site.sweep()
        assert len(site.blobs(key)) == 1  # not yet: it has five minutes
        await site.sweep(DAY / 24)
        assert site.blobs(key) == []


def _broken(*_: object) -> None:
    raise OSError(errno.EIO, "broken")


async def test_the_sweep_goes_on_when_the_database_was_away(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        anna = await site.person("anna")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        key = site.key(file["id"])
        site.store.fail_next("files_to_sweep", StoreUnavailable("away"))  # type: ignore[attr-defined]
        with structlog.testing.capture_logs() as logs:
            await anna.ask("DELETE", f"/files/{file['id']}", 200)
            while not any(each["event"] == "sweep failed" for each in logs):  # noqa: ASYNC110 - a log tells nobody
                await trio.sleep(0.01)
        assert len(site.blobs(key)) == 1
        other = await anna.upload(None, b"words", mime_type="text/plain")
        await anna.ask("DELETE", f"/files/{other['id']}", 200)  # wakes it
        while site.blobs(key):  # noqa: ASYNC110 - a folder tells nobody
            await trio.sleep(0.01)


def test_one_owner_has_an_eighth_of_all_transfers() -> None:
    transfers = Transfers(16)
    holds = [transfers.held("anna") for _ in range(3)]
    holds[0].__enter__()
    holds[1].__enter__()
    with pytest.raises(Exception, match="too many uploads"):
        holds[2].__enter__()
    with transfers.held("bert"):
        assert len(transfers) == 3
    holds[0].__exit__(None, None, None)
    with transfers.held("anna"):
        assert len(transfers) == 2


async def test_above_its_share_of_transfers_a_link_is_overloaded(tmp_path: Path) -> None:
    async with open_site(tmp_path, file_transfers=8) as site, wire(site) as client:
        anna, bert = await site.person("anna"), await site.person("bert")
        one, two = [await anna.promise(None, b"words", mime_type="text/plain") for _ in range(2)]
        await client.send(put_of(one, 5) + b"wor")
        await until_there(site)
        answer = await anna.put(two, b"words")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "2"
        assert await uploaded(bert)
        await client.send(b"ds")
        assert (await client.read()).status == 200
        assert (await anna.put(two, b"words")).status_code == 200


async def test_links_of_one_owner_are_used_so_often_and_others_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_door, "RATE", Rate(0.01, 4))
    async with open_site(tmp_path, rate_limits="on") as site:
        anna, bert = await site.person("anna"), await site.person("bert")
        file = await anna.upload(None, b"words", mime_type="text/plain")
        url = await anna.link(file)
        assert [(await site.get(url)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert await uploaded(bert)


async def uploaded(visitor: Visitor) -> bool:
    promise = await visitor.promise(None, b"words", mime_type="text/plain")
    return (await visitor.put(promise, b"words")).status_code == 200


async def test_pages_of_listed_origins_may_upload_and_others_may_not(tmp_path: Path) -> None:
    listed = "https://app.example"
    async with open_site(tmp_path, cors_origins=(listed,)) as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        url = promise["upload"]["url"]
        for origin, allowed in ((listed, listed), ("https://evil.example", None)):
            asked = await site.outside.options(url, headers={"Origin": origin})
            assert asked.status_code == 204
            assert asked.headers.get("access-control-allow-origin") == allowed
            assert asked.headers["access-control-allow-methods"] == "GET, HEAD, PUT"
            put = await anna.put(promise, b"words", Origin=origin)
            assert put.headers.get("access-control-allow-origin") == allowed


async def test_files_of_another_host_may_be_read_by_the_pages_of_public_url(
    tmp_path: Path,
) -> None:
    own, other = "https://chat.example", "https://files.example"
    async with open_site(tmp_path, public_url=own, files_url=other + "/") as site:
        anna = await site.person("anna")
        promise = await anna.promise(None, b"words", mime_type="text/plain")
        assert promise["upload"]["url"].startswith(f"{other}/blob?link=")
        promise["upload"]["url"] = promise["upload"]["url"].removeprefix(other)
        put = await anna.put(promise, b"words", Origin=own)
        assert put.headers["access-control-allow-origin"] == own
        done = await anna.ask("POST", f"/files/{promise['fileId']}/complete", 200)
        url = await anna.link(done["file"])
        assert url.startswith(f"{other}/blob?link=")
        answer = await site.get(url.removeprefix(other), Origin=own)
        assert answer.headers["access-control-allow-origin"] == own
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        strange = await site.get(url.removeprefix(other), Origin="https://evil.example")
        assert "access-control-allow-origin" not in strange.headers
