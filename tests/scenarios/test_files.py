"""Files of the real daemon: kill -9 in the middle of an upload, and many megabytes through it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import Json, Person, create_session, register, rest, talking

PIECE = bytes(range(256)) * 256  # 64 KiB
LARGE = 100 * 2**20  # bytes: what one file may have; the bench sends a GiB
MEMORY = 24 * 2**20  # bytes: two transfers of a MiB, and what the allocator keeps
BYTES = "application/octet-stream"


async def promise(daemon: Daemon, person: Person, session: str | None, size: int) -> Json:
    body = {"fileName": "large.bin", "size": size, "mimeType": BYTES}
    if session is not None:
        body["sessionId"] = session
    return await rest(daemon, "POST", "/files", person.token, body)


@asynccontextmanager
async def upload(daemon: Daemon, promised: Json, size: int) -> AsyncIterator[trio.SocketStream]:
    """Begin an upload, on a connection of its own."""
    async with await trio.open_tcp_stream("127.0.0.1", daemon.port) as stream:
        head = (
            f"PUT {promised['upload']['url']} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: {BYTES}\r\nContent-Length: {size}\r\n\r\n"
        )
        await stream.send_all(head.encode())
        yield stream


async def status_of(stream: trio.SocketStream) -> int:
    return int((await stream.receive_some()).split(b" ")[1])


def lying(data_dir: Path) -> list[str]:
    """Return the names of all bytes of files in a data folder."""
    return [path.name for path in (data_dir / "files").rglob("*") if path.is_file()]


async def test_kill_9_in_the_middle_of_an_upload_leaves_nothing_behind_and_it_can_begin_again(
    tmp_path: Path,
) -> None:
    with trio.fail_after(120), running_daemon(tmp_path / "data") as daemon:
        ann = await register(daemon, "ann")
        session = await create_session(daemon, ann)
        promised = await promise(daemon, ann, session, 4 * len(PIECE))
        async with upload(daemon, promised, 4 * len(PIECE)) as stream:
            await stream.send_all(PIECE * 3)
            while not any(name.endswith(".part") for name in lying(daemon.data_dir)):  # noqa: ASYNC110 - a folder tells nobody
                await trio.sleep(0.01)
            daemon.kill()
        assert len(lying(daemon.data_dir)) == 1
        await trio.to_thread.run_sync(daemon.start)
        assert lying(daemon.data_dir) == []
        file_id = promised["fileId"]
        async with upload(daemon, promised, 4 * len(PIECE)) as stream:
            await stream.send_all(PIECE * 4)
            assert await status_of(stream) == 200
        daemon.kill()  # what was answered is on the disk
        await trio.to_thread.run_sync(daemon.start)
        await rest(daemon, "POST", f"/files/{file_id}/complete", ann.token, {})
        body = {"attachments": [file_id]}
        path = f"/chat/sessions/{session}/messages"
        sent = await rest(daemon, "POST", path, ann.token, body)
        daemon.kill()
        await trio.to_thread.run_sync(daemon.start)
        async with talking(daemon, ann) as talker:
            page = await talker.ask("message:history", sessionId=session)
            assert page["messages"] == [sent["message"]]
            assert [file["id"] for file in page["messages"][0]["attachments"]] == [file_id]
            await talker.ask("message:delete", messageId=sent["message"]["id"])
        daemon.kill()  # before or behind the sweep: the next one finishes it
        await trio.to_thread.run_sync(daemon.start)
        while lying(daemon.data_dir):  # noqa: ASYNC110 - as above
            await trio.sleep(0.05)


async def test_many_megabytes_leave_the_daemons_memory_flat_both_ways(daemon: Daemon) -> None:
    with trio.fail_after(120):
        ann = await register(daemon, "ann")
        session = await create_session(daemon, ann)
        sent = hashlib.sha256()
        promised = await promise(daemon, ann, session, LARGE)
        file_id = promised["fileId"]
        async with talking(daemon, ann) as talker:
            await talker.join(session)
            with daemon.grows_at_most(MEMORY):
                async with upload(daemon, promised, LARGE) as stream:
                    for _ in range(LARGE // len(PIECE)):
                        await stream.send_all(PIECE)
                        sent.update(PIECE)
                    assert await status_of(stream) == 200
                await talker.ask("file:complete", fileId=file_id)
                await talker.ask("message:send", sessionId=session, attachments=[file_id])
                link = await talker.ask("file:link", fileId=file_id)
                received = await download(daemon, link["url"])
        assert received == sent.hexdigest()


async def download(daemon: Daemon, url: str) -> str:
    """Read a file to its end; return what its bytes come to."""
    found = hashlib.sha256()
    async with await trio.open_tcp_stream("127.0.0.1", daemon.port) as stream:
        request = f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        found.update(head.partition(b"\r\n\r\n")[2])
        while data := await stream.receive_some():
            found.update(data)
    return found.hexdigest()
