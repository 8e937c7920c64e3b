"""The echoes of the session: one that pings as the suites ask for, one that is in no hurry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.protocol_suite.kit import PINGING, Peer, running_echo


@pytest.fixture(scope="session")
def pinging_engine() -> Iterator[Peer]:
    """Return an Engine.IO that pings each 300 ms; for cases in which nothing else is awaited."""
    with running_echo("engineio", *PINGING) as port:
        yield Peer(port, "/engine.io/")


@pytest.fixture(scope="session")
def engine() -> Iterator[Peer]:
    """Return an Engine.IO whose clients may be stopped for a second: the machine is shared."""
    with running_echo("engineio") as port:
        yield Peer(port, "/engine.io/")


@pytest.fixture(scope="session")
def pinging_sockets() -> Iterator[Peer]:
    """Return a Socket.IO that pings each 300 ms, and waits for a namespace for a second."""
    with running_echo("socketio", *PINGING, "--connect-timeout=1000") as port:
        yield Peer(port, "/socket.io/")


@pytest.fixture(scope="session")
def sockets() -> Iterator[Peer]:
    """Return a Socket.IO in no hurry."""
    with running_echo("socketio") as port:
        yield Peer(port, "/socket.io/")
