"""The whole daemon on real sockets and PostgreSQL: start, signals, stop, refused starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from chatd.config import Settings
from chatd.errors import CloseCode
from chatd.nurseries.daemon import run_daemon
from chatd.nurseries.postgres import DataFolderInUse
from tests.http_kit import HANDSHAKE, get
from tests.http_kit import Client as HttpClient
from tests.scenarios.daemon import Daemon

SETTINGS: dict[str, Any] = {
    "environment": "development",
    "bcrypt_rounds": 4,
    "rate_limits": "off",
    "port": 0,
    "database_pool_size": 2,
}


@dataclass
class Running:
    """A daemon in this process, found by its port."""

    port: int
    stopped: trio.Event

    @asynccontextmanager
    async def http(self) -> AsyncIterator[HttpClient]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream:
            yield HttpClient(stream)

    async def register(self, name: str) -> str:
        """Return the access token of a new account."""
        body = orjson.dumps({"email": f"{name}@example.com", "password": "correct horse"})
        head = get(
            "/auth/register", "Content-Type: application/json", f"Content-Length: {len(body)}"
        )
        async with self.http() as client:
            answer = await client.ask(head.replace(b"GET", b"POST", 1) + body)
        assert answer.status == 201, answer.body
        token: str = answer.json["accessToken"]
        return token

    @asynccontextmanager
    async def socket(self, token: str) -> AsyncIterator[WebSocketConnection]:
        headers = [(b"Authorization", f"Bearer {token}".encode())]
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        async with stream, trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery, stream, f"127.0.0.1:{self.port}", "/ws", extra_headers=headers
            )
            assert "connection:ready" in await connection.get_message()
            yield connection
            nursery.cancel_scope.cancel()


async def close_code(connection: WebSocketConnection) -> int:
    """Read to the end and return the code."""
    while True:
        try:
            await connection.get_message()
        except ConnectionClosed as end:
            return 0 if end.reason is None else int(end.reason.code)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Run the daemon of `chatd serve` in a task of this test."""
    ports, send = [], trio.Event()
    stopped = trio.Event()

    def announce(port: int) -> None:
        ports.append(port)
        send.set()

    async def work() -> None:
        await run_daemon(settings, announce)
        stopped.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await send.wait()
            yield Running(ports[0], stopped)
            nursery.cancel_scope.cancel()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(**SETTINGS, data_dir=tmp_path, database_url=database_url, drain_seconds=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_daemon_ends_by_itself(
    settings: Settings, number: signal.Signals
) -> None:
    async with running(settings) as daemon:
        token = await daemon.register("anna")
        async with daemon.socket(token) as anna, daemon.http() as idle:
            assert (await idle.ask(get("/readyz"))).status == 200
            os.kill(os.getpid(), number)
            assert await close_code(anna) == 4005
            assert await idle.read_until_closed() == b""
            await daemon.stopped.wait()
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", daemon.port)


async def test_people_chat_over_real_sockets_and_what_was_said_is_stored(
    settings: Settings,
) -> None:
    async with running(settings) as daemon:
        anna, bert = await daemon.register("anna"), await daemon.register("bert")
        async with daemon.socket(anna) as a, daemon.socket(bert) as b:

            async def ask(socket_: WebSocketConnection, event: str, **data: Any) -> Any:
                await socket_.send_message(
                    orjson.dumps({"event": event, "id": 1, "data": data}).decode()
                )
                while True:
                    frame = orjson.loads(await socket_.get_message())
                    if frame.get("id") == 1:
                        assert frame["ok"], frame
                        return frame["data"]

            created = await ask(a, "session:create", kind="PUBLIC", name="tea")
            session_id = created["session"]["id"]
            await ask(b, "member:add", sessionId=session_id)
            await ask(b, "session:join", sessionId=session_id)
            await ask(a, "message:send", sessionId=session_id, content="x" * 10_000)
            while True:
                frame = orjson.loads(await b.get_message())
                if frame["event"] == "message:new":
                    break
            assert frame["data"]["content"] == "x" * 10_000
            page = await ask(a, "message:history", sessionId=session_id)
            assert [row["seq"] for row in page["messages"]] == [frame["data"]["seq"]]


async def test_a_client_that_is_cut_while_it_talks_can_still_read_why(settings: Settings) -> None:
    async with running(settings) as daemon:
        token = await daemon.register("anna")
        async with daemon.http() as client:
            bearer = f"Authorization: Bearer {token}\r\n\r\n".encode()
            await client.send(HANDSHAKE.removesuffix(b"\r\n") + bearer)
            binary = b"\x82\x85" + bytes(4) + b"bytes"
            await client.send(binary + b"x" * 300_000)  # closing over them would reset
            received = await client.read_until_closed()
            assert received.endswith(CloseCode.UNSUPPORTED_DATA.reason.encode())


async def test_a_second_signal_ends_at_once(tmp_path: Path, database_url: str) -> None:
    settings = Settings(
        **SETTINGS,
        data_dir=tmp_path,
        database_url=database_url,
        drain_seconds=600,
        goodbye_timeout=1,
    )
    async with running(settings) as daemon:
        token = await daemon.register("anna")
        async with daemon.socket(token) as first, daemon.socket(token) as second:
            os.kill(os.getpid(), signal.SIGTERM)
            async with trio.open_nursery() as nursery:  # one is closed now, one in 5 minutes
                codes: list[int] = []

                async def read(connection: WebSocketConnection) -> None:
                    codes.append(await close_code(connection))
                    if len(codes) == 1:
                        assert not daemon.stopped.is_set()
                        os.kill(os.getpid(), signal.SIGTERM)

                nursery.start_soon(read, first)
                nursery.start_soon(read, second)
            assert codes[0] == 4005
            await daemon.stopped.wait()


async def test_a_port_that_is_taken_is_refused(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = settings.model_copy(update={"port": taken.getsockname()[1]})
        with trio.fail_after(20), pytest.raises(BaseExceptionGroup) as refusal:
            await run_daemon(busy, lambda _port: None)
        assert refusal.value.subgroup(OSError) is not None


async def test_a_data_folder_has_one_daemon(settings: Settings) -> None:
    async with running(settings):
        with pytest.raises(BaseExceptionGroup) as refusal:
            await run_daemon(settings, lambda _port: None)
        assert refusal.value.subgroup(DataFolderInUse) is not None


# As a process, with its own PostgreSQL


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for the tests that only need to find one."""
    daemon = Daemon(tmp_path_factory.mktemp("daemon") / "data", drain_seconds=1)
    daemon.start()
    yield daemon
    daemon.dispose()


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chatd", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one clear line of a start that was refused, without a traceback."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("chatd: ")]
    return line


def test_a_second_daemon_on_a_data_folder_says_so_and_exits_with_1(daemon: Daemon) -> None:
    line = last_line(serve("--port", "0", "--data-dir", str(daemon.data_dir)))
    assert str(daemon.data_dir) in line


def test_a_port_in_use_is_told_in_one_line_and_exits_with_1(
    daemon: Daemon, tmp_path: Path, database_url: str
) -> None:
    line = last_line(
        serve(
            *("--port", str(daemon.port), "--data-dir", str(tmp_path)),
            *("--database-url", database_url),
        )
    )
    assert "in use" in line


def test_a_sigterm_ends_the_process_with_0_and_its_postgres_with_it(daemon: Daemon) -> None:
    assert daemon.get("/readyz")[0] == 200
    pid_file = daemon.data_dir / "postgres/data/postmaster.pid"
    assert pid_file.exists()
    assert daemon.stop() == 0
    assert not pid_file.exists()
    assert daemon.complaints() == []
