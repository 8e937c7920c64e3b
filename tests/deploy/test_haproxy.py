"""Real HAProxy with our configuration, in front of two real daemons on one database."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.client import ClientError
from chatd.client.rest import Rest
from tests.deploy.test_deploy import DEPLOY, SECRET
from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import create_session, register, rest, talking

START_TIMEOUT = 10.0  # seconds; the machine is shared


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configured(port: int, daemons: list[Daemon]) -> str:
    """Return our configuration with ports of this machine, for few connections."""
    text = (DEPLOY / "haproxy.cfg").read_text()
    for number, daemon in enumerate(daemons, 1):
        text = text.replace(f" chatd-{number}:8000", f" 127.0.0.1:{daemon.port}")
    text, count = re.subn(r"bind :8000\n", f"bind 127.0.0.1:{port}\n", text)
    assert count == 1
    return re.sub(r"maxconn \d+", "maxconn 200", text)  # the descriptors of a test machine


@asynccontextmanager
async def open_haproxy(folder: Path, daemons: list[Daemon]) -> AsyncIterator[Daemon]:
    """Run HAProxy for the block; yields what is asked like a daemon."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "there is no HAProxy: `.ci/run` installs one"
    door = Daemon(folder / "door")
    door.port = free_port()
    (folder / "haproxy.cfg").write_text(configured(door.port, daemons))
    process = start(program, folder)
    try:
        with trio.fail_after(START_TIMEOUT):
            while not await is_open(door.port):
                assert process.poll() is None, (folder / "haproxy.log").read_text()
                await trio.sleep(0.02)
        yield door
    finally:
        process.kill()
        process.wait()


def start(program: str, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "haproxy.log").open("wb") as log:
        command = [program, "-f", str(folder / "haproxy.cfg")]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


async def is_open(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError:
        return False
    await stream.aclose()
    return True


@pytest.fixture
def two_daemons(tmp_path: Path, database_url: str) -> Iterator[list[Daemon]]:
    settings: dict[str, Any] = {
        "database_url": database_url,
        "signing_keys": f"k1:{SECRET}",
        "trusted_proxies": "127.0.0.0/8",
        "drain_seconds": 2,
    }
    with (
        running_daemon(tmp_path / "one", **settings) as one,
        running_daemon(tmp_path / "two", **settings) as two,
    ):
        yield [one, two]


async def test_people_chat_through_haproxy_and_strangers_do_not_see_the_metrics(
    two_daemons: list[Daemon], tmp_path: Path
) -> None:
    with trio.fail_after(60):
        async with open_haproxy(tmp_path, two_daemons) as door:
            ann = await register(door, "ann")
            session = await create_session(door, ann)
            async with talking(door, ann) as talker:
                await talker.join(session)
                sent = await talker.send(session, "hello")
                await talker.until(lambda: bool(talker.messages(session)))
            assert sent["message"]["seq"] == 1
            assert await trio.to_thread.run_sync(door.get, "/readyz") == (200, '{"status":"ok"}')
            status, _ = await trio.to_thread.run_sync(door.get, "/metrics")
            assert status == 404


async def test_a_client_cannot_choose_the_address_that_it_is_known_by(
    two_daemons: list[Daemon], tmp_path: Path
) -> None:
    body = b'{"email":"ann@example.com","password":"swordfish-9","name":"Ann"}'
    head = (
        "POST /auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nX-Forwarded-For: 203.0.113.9\r\n"
        f"Forwarded: for=203.0.113.9\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with trio.fail_after(60):
        async with open_haproxy(tmp_path, two_daemons) as door:
            async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
                await stream.send_all(head.encode() + body)
                assert b" 201 " in await stream.receive_some()
            login = {"email": "ann@example.com", "password": "swordfish-9"}
            answer = await rest(door, "POST", "/auth/login", None, login)
            page = Rest(door.url)
            audit = await page.call("GET", "/users/me/audit", token=answer["accessToken"])
            await page.aclose()
            assert {entry["address"] for entry in audit["entries"]} == {"127.0.0.1"}


async def test_who_asks_and_who_sends_again_notices_no_daemon_that_is_replaced(
    two_daemons: list[Daemon], tmp_path: Path
) -> None:
    first, second = two_daemons
    with trio.fail_after(60):
        async with open_haproxy(tmp_path, two_daemons) as door:
            ann = await register(door, "ann")
            session = await create_session(door, ann)
            path, sent = f"/chat/sessions/{session}/messages", 0
            async with talking(first, ann), AsyncExitStack() as stack:  # it has somebody to drain
                page = Rest(door.url)
                stack.push_async_callback(page.aclose)
                first.signal(signal.SIGTERM)
                while first.is_alive or sent < 20:
                    body = {"content": f"still {sent}", "clientMsgId": f"still-{sent}"}
                    try:
                        await rest(door, "POST", path, ann.token, body)
                    except ClientError as refusal:
                        assert refusal.code == "draining"  # noqa: PT017 - any other is a failure
                    else:
                        sent += 1
                    await page.call("GET", path, token=ann.token)
            assert second.is_alive
            last = await rest(door, "POST", path, ann.token, {"content": "and now"})
            assert last["message"]["seq"] == sent + 1
