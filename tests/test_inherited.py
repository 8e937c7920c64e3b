"""Sockets that were open before the daemon began, and the port that other daemons use."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatd.config import Settings, SettingsError
from chatd.nurseries import pglaunch
from chatd.nurseries.inherited import SUPERVISOR, Inherited, take_inherited
from chatd.nurseries.listener import node_url_of, open_node_listeners
from chatd.nurseries.pglaunch import FIRST_SOCKET
from tests.http_kit import get
from tests.scenarios.daemon import START_TIMEOUT

REDIS = "redis://127.0.0.1:1/0"


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Have a socket that listens on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def launched(program: str) -> list[str]:
    """Return the command that runs a program of Python as a worker is run."""
    script = str(Path(pglaunch.__file__))
    numbers = [str(os.getpid()), "15", "-1", "-1"]
    return [sys.executable, "-I", "-S", script, *numbers, sys.executable, "-c", program]


def test_what_is_another_process_s_is_left_alone_and_taken_out_of_the_environment() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "chatd", "HOME": "/"}
    assert take_inherited(environment) == Inherited()
    assert environment == {"HOME": "/"}
    assert take_inherited({}) == Inherited()


def test_sockets_come_in_their_order_under_their_names() -> None:
    code = (
        "from chatd.nurseries.inherited import take_inherited as take\n"
        "import os\n"
        "taken = take()\n"
        "ports = [each.getsockname()[1] for each in taken.listeners]\n"
        "inherit = [each.get_inheritable() for each in taken.listeners]\n"
        "print(ports, inherit, taken.supervisor.fileno(), 'LISTEN_FDS' in os.environ)\n"
    )
    ours, theirs = socket.socketpair()
    with listening() as first, listening() as second, ours, theirs:
        passed = [first.fileno(), second.fileno(), theirs.fileno()]
        names = {"LISTEN_FROM": ":".join(map(str, passed)), "LISTEN_FDNAMES": f"a:b:{SUPERVISOR}"}
        environment = {**os.environ, **names}
        said = subprocess.run(
            launched(code), env=environment, pass_fds=passed, capture_output=True, check=True
        )
        ports = [first.getsockname()[1], second.getsockname()[1]]
    assert said.stdout.decode() == f"{ports} [False, False] {FIRST_SOCKET + 2} False\n"


def test_a_socket_on_which_no_tcp_comes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    ours, theirs = socket.socketpair()
    with ours:
        monkeypatch.setattr("chatd.nurseries.inherited.FIRST_SOCKET", theirs.detach())
        with pytest.raises(SettingsError, match="does not listen for TCP"):
            take_inherited(environment)


def test_a_daemon_serves_on_the_socket_of_a_parent_and_who_came_before_it_is_answered(
    tmp_path: Path, database_url: str
) -> None:
    settings = {
        "CHATD_DATA_DIR": str(tmp_path),
        "CHATD_DATABASE_URL": database_url,
        "CHATD_PORT": "1",  # does not count
        "CHATD_ENVIRONMENT": "development",
    }
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CHATD_")}
    with listening() as door, socket.create_connection(door.getsockname()) as early:
        early.sendall(get("/healthz"))
        early.settimeout(START_TIMEOUT)
        program = "from chatd.cli import app; app(['serve'])"
        passed = {"LISTEN_FROM": str(door.fileno())}
        with subprocess.Popen(
            launched(program),
            env={**kept, **settings, **passed},
            pass_fds=[door.fileno()],
            stdout=subprocess.PIPE,
        ) as daemon:
            try:
                assert early.recv(65_536).startswith(b"HTTP/1.1 200 ")
                assert daemon.stdout is not None
                told = daemon.stdout.readline().decode()
                assert told.endswith(f" serves on http://localhost:{door.getsockname()[1]}\n")
            finally:
                daemon.terminate()
                daemon.communicate()  # the rest of its greeting: a closed pipe would end it
        assert daemon.returncode == 0


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"redis_url": REDIS, "node_url": "https://a.test:1"}, "https://a.test:1"),
        ({"redis_url": REDIS, "node_url": "http://a.test:1", "node_port": 0}, "http://a.test:1"),
        ({"redis_url": REDIS, "node_port": 0}, "http://127.0.0.1:{port}"),
        ({"redis_url": REDIS, "node_port": 0, "node_host": "::1"}, "http://[::1]:{port}"),
    ],
)
async def test_others_are_told_where_this_daemon_is_reached(
    settings: dict[str, Any], url: str | None
) -> None:
    chosen = Settings(**settings)
    listeners = await open_node_listeners(chosen)
    ports = [each.socket.getsockname()[1] for each in listeners]  # type: ignore[attr-defined]
    expected = None if url is None else url.format(port=ports[0] if ports else "")
    assert node_url_of(chosen, listeners) == expected
    for each in listeners:
        await each.aclose()
