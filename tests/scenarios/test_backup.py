"""A backup of a running daemon, restored elsewhere: all until then is there, as a new log."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
import trio

from chatd.client import ClientError
from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import Json, Person, create_session, register, rest, talking
from tests.scenarios.test_files import download, promise, status_of, upload

PATIENCE = 120.0  # seconds of a command: it starts a PostgreSQL on a shared machine
CONTENT = os.urandom(200_000)


def chatd(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Blocks."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("CHATD_")}
    return subprocess.run(
        [sys.executable, "-m", "chatd", *map(str, arguments)],
        env=outside | {f"CHATD_{name.upper()}": str(value) for name, value in settings.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


async def send_file(daemon: Daemon, person: Person, session: str, content: bytes) -> str:
    """Send a message with a file; return the file's id."""
    promised = await promise(daemon, person, session, len(content))
    async with upload(daemon, promised, len(content)) as stream:
        await stream.send_all(content)
        assert await status_of(stream) == 200
    file_id: str = promised["fileId"]
    await rest(daemon, "POST", f"/files/{file_id}/complete", person.token, {})
    path = f"/chat/sessions/{session}/messages"
    await rest(daemon, "POST", path, person.token, {"attachments": [file_id]})
    return file_id


async def say(daemon: Daemon, person: Person, session: str, *texts: str) -> list[Json]:
    async with talking(daemon, person) as talker:
        return [(await talker.send(session, text))["message"] for text in texts]


async def in_thread(*arguments: object, **settings: object) -> str:
    return said(await trio.to_thread.run_sync(lambda: chatd(*arguments, **settings)))


async def test_a_backup_of_a_running_daemon_is_restored_elsewhere_as_a_new_log(
    tmp_path: Path,
) -> None:
    archive, data = tmp_path / "backup.tar", tmp_path / "data"
    with trio.fail_after(300):
        with running_daemon(data) as daemon:
            ann, ben = await register(daemon, "ann"), await register(daemon, "ben")
            session = await create_session(daemon, ann, ben)
            before = await say(daemon, ann, session, *(f"before {n}" for n in range(60)))
            file_id = await send_file(daemon, ann, session, CONTENT)
            told = await in_thread("backup", archive, "--data-dir", data)
            assert "1 files, with a signing key" in told
            after = await say(daemon, ann, session, *(f"after {n}" for n in range(10)))
            later = await send_file(daemon, ann, session, b"later")
            async with talking(daemon, ben) as talker:
                state = await talker.join(session)
            since = {"epoch": state["epoch"], "seq": state["seq"]}
            assert await trio.to_thread.run_sync(daemon.stop) == 0
            told = await in_thread("backup", tmp_path / "stopped.tar", "--data-dir", data)
            assert "2 files, with a signing key" in told
        assert archive.stat().st_mode & 0o777 == 0o600
        elsewhere = tmp_path / "elsewhere" / "data"
        told = await in_thread("restore", archive, "--data-dir", elsewhere)
        assert "1 files, with a signing key" in told
        with running_daemon(elsewhere) as daemon:
            # The key is restored: who was logged in still is.
            async with talking(daemon, ben) as talker:
                state = await talker.join(session, since=since)
                assert not state["recovered"]
                assert UUID(state["epoch"]) != UUID(since["epoch"])
                assert state["epoch"] in told
                last = before[-1]["seq"] + 1  # the message with the file
                assert state["seq"] == last < after[0]["seq"] + 1
                page = [*before, state["messages"][-1]][-50:]
                assert state["messages"] == page
                assert [f["id"] for f in page[-1]["attachments"]] == [file_id]
                whole = await talker.history(session, 0)
                assert whole[:60] == before
                link = await talker.ask("file:link", fileId=file_id)
                sent = await talker.send(session, "and on")
                assert sent["message"]["seq"] == last + 1
                gone = await talker.emit("file:link", fileId=later)
                with pytest.raises(ClientError, match="not_found"):
                    await talker.answer(gone)
            assert await download(daemon, link["url"]) == sha256(CONTENT).hexdigest()
        key = "signing.key"
        assert (elsewhere / key).read_bytes() == (data / key).read_bytes()
