"""systemd's side of the daemon: a real datagram socket hears what is said, and when."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from structlog.testing import capture_logs

from chatd.config import Settings
from chatd.nurseries.certificates import reload_at_hangup, tls_context
from chatd.nurseries.systemd import notify, reloading, tell_systemd, watchdog_interval
from tests.scenarios.daemon import running_daemon
from tests.test_listener_tls import make_certificate

WATCHDOG = 0.04  # seconds; a line is due at half of it
PATIENCE = 30.0  # seconds that a test waits for a line which must come


class Supervisor:
    """The socket that systemd would listen on."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(PATIENCE)

    def hear(self) -> list[str]:
        """Return the lines of the next datagram. Blocks the whole loop of the caller."""
        return self.socket.recv(4096).decode().split("\n")

    async def until(self, line: str) -> list[str]:
        """Return the next datagram that holds a line."""
        while line not in (said := await trio.to_thread.run_sync(self.hear)):
            pass
        return said

    def drain(self) -> None:
        """Forget what has been said so far."""
        self.socket.setblocking(False)
        while True:
            try:
                self.socket.recv(4096)
            except BlockingIOError:
                break
        self.socket.settimeout(PATIENCE)


@pytest.fixture(params=["file", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Supervisor]:
    name = str(tmp_path / "notify") if request.param == "file" else f"@chatd-{uuid4().hex}"
    supervisor = Supervisor(name.replace("@", "\0", 1))
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG * 1e6)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with supervisor.socket:
        yield supervisor


async def test_ready_is_said_before_anything_else_and_then_the_watchdog_is_fed(
    supervisor: Supervisor,
) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(tell_systemd, lambda: 3)
            assert await trio.to_thread.run_sync(supervisor.hear) == ["READY=1"]
            for _ in range(3):
                said = await trio.to_thread.run_sync(supervisor.hear)
                assert said == ["WATCHDOG=1", "STATUS=3 connections"]
            nursery.cancel_scope.cancel()


async def test_a_loop_that_is_stuck_feeds_no_watchdog(supervisor: Supervisor) -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_systemd, lambda: 0)
            await supervisor.until("WATCHDOG=1")
            supervisor.drain()
            supervisor.socket.settimeout(10 * WATCHDOG)
            with pytest.raises(TimeoutError):  # this very call is what holds the loop up
                supervisor.hear()
            supervisor.socket.settimeout(PATIENCE)
            await supervisor.until("WATCHDOG=1")
            nursery.cancel_scope.cancel()


async def test_a_reload_has_a_beginning_and_an_end(supervisor: Supervisor) -> None:
    await notify(reloading())
    first, second = supervisor.hear()
    assert first == "RELOADING=1"
    assert second.partition("=")[0] == "MONOTONIC_USEC"
    await notify("READY=1")
    assert supervisor.hear() == ["READY=1"]


async def test_a_hangup_is_a_reload_that_ends_also_with_a_broken_certificate(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    certfile, keyfile = make_certificate(tmp_path, "chat.test")
    settings = Settings(tls_certfile=certfile, tls_keyfile=keyfile)
    context = tls_context(settings)
    assert context is not None
    certfile.write_text("broken")
    with trio.fail_after(PATIENCE), capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(reload_at_hangup, context, settings)
            os.kill(os.getpid(), signal.SIGHUP)
            said = await trio.to_thread.run_sync(supervisor.hear)
            assert said[0] == "RELOADING=1"
            assert await trio.to_thread.run_sync(supervisor.hear) == ["READY=1"]
            nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs] == ["certificate_kept"]


async def test_without_systemd_nothing_is_sent_and_nothing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with trio.fail_after(PATIENCE):
        await tell_systemd(lambda: 0)
        await notify("READY=1")


async def test_a_supervisor_that_is_gone_is_logged_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with capture_logs() as logs:
        await notify("READY=1")
    assert [(entry["event"], entry["line"]) for entry in logs] == [("systemd_not_told", "READY=1")]


async def test_a_supervisor_that_does_not_read_holds_up_the_chat_for_a_moment_only(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.nurseries.systemd.NOTIFY_TIMEOUT", 0.05)
    with capture_logs() as logs, trio.fail_after(PATIENCE):
        while not logs:  # the kernel keeps some lines for a reader that may come
            await notify("WATCHDOG=1")
    assert logs[0]["reason"] == "it does not read"
    assert supervisor.hear() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    ("microseconds", "pid", "wanted"),
    [("3000000", None, 1.5), ("3000000", "1", None), ("", None, None), ("0", None, None)],
)
def test_the_watchdog_is_fed_at_half_its_time_by_the_process_it_is_meant_for(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str | None, wanted: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert watchdog_interval() == wanted


async def test_a_real_daemon_says_that_it_serves_that_it_lives_and_that_it_stops(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    with trio.fail_after(120), running_daemon(tmp_path / "data", drain_seconds=1) as daemon:
        assert supervisor.hear()[0] == "READY=1"
        await supervisor.until("WATCHDOG=1")
        daemon.signal(signal.SIGTERM)
        await supervisor.until("STOPPING=1")
        await trio.to_thread.run_sync(partial(daemon.process.wait, 60))
