"""One daemon for all tests with real clients, and for each test a Node process and a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.scenarios.daemon import Daemon, running_daemon
from tests.socketio.js import WAIT, Driver, open_driver
from tests.socketio.people import SIGNING_KEY
from tests.socketio.proxy import Proxy, open_proxy


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Run one daemon for the session; each test has its own people and sessions of chat."""
    folder = tmp_path_factory.mktemp("socketio") / "data"
    settings: dict[str, Any] = {
        "drain_seconds": 0.5,
        "signing_keys": SIGNING_KEY,
        "upgrade_timeout": WAIT,  # or a client of a busy machine stays with polling, as it may
    }
    with running_daemon(folder, **settings) as daemon:
        yield daemon


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    """Run a Node process."""
    async with open_driver() as driver:
        yield driver


@pytest.fixture
async def proxy(daemon: Daemon) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the daemon."""
    async with open_proxy(daemon) as proxy:
        yield proxy
