"""The official client comes back at another daemon, and is recovered."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from tests.redis_kit import RedisServer, free_port
from tests.scenarios.daemon import Daemon
from tests.socketio.js import TRANSPORTS, Driver, open_driver
from tests.socketio.people import SIGNING_KEY, Tea, open_tea

RETURNS = 3


@pytest.fixture
def daemons(
    tmp_path: Path, database_url: str, redis_server: RedisServer
) -> Iterator[tuple[Daemon, Daemon]]:
    """Run two daemons on one database and one Redis."""
    ports = free_port(), free_port()
    pair = [
        Daemon(
            tmp_path / f"daemon{number}",
            wanted_port=port,
            database_url=database_url,
            redis_url=redis_server.url,
            redis_prefix=f"t{ports[0]}",
            node_url=f"http://127.0.0.1:{port}",
            signing_keys=SIGNING_KEY,
            drain_seconds=0.5,
            files="off",
        )
        for number, port in enumerate(ports)
    ]
    try:
        for daemon in pair:
            daemon.start()
        yield pair[0], pair[1]
    finally:
        for daemon in pair:
            daemon.dispose()


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    """Run a Node process."""
    async with open_driver() as driver:
        yield driver


@pytest.fixture
async def tea(daemons: tuple[Daemon, Daemon]) -> AsyncIterator[Tea]:
    """Let Ann be live at the first daemon."""
    async with open_tea(daemons[0], sessions=2) as tea:
        yield tea


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_comes_back_elsewhere_has_missed_nothing(
    daemons: tuple[Daemon, Daemon], driver: Driver, tea: Tea, transport: str
) -> None:
    client = await driver.connect(daemons[0].url, tea.ben, transport)
    for session in tea.sessions:
        await client.join(session)
    sent = await tea.say(2)
    await client.has(tea.session, sent)
    for number in range(RETURNS):
        target = daemons[(number + 1) % 2]
        await client.command("move", url=target.url)
        await client.first("disconnect", number + 1)
        sent += await tea.say(3)
        back = await client.first("connect", number + 2)
        assert back["recovered"]
        sent += await tea.say(1)
        await client.has(tea.session, sent)


async def test_a_client_of_a_daemon_that_stops_is_recovered_elsewhere(
    daemons: tuple[Daemon, Daemon], driver: Driver, tea: Tea
) -> None:
    first, second = daemons
    client = await driver.connect(second.url, tea.ben, "websocket")
    await client.join(tea.session)
    sent = await tea.say(2)
    await client.has(tea.session, sent)
    second.signal(signal.SIGTERM)
    await client.first("disconnect")
    assert await second.exited() == 0
    await client.command("move", url=first.url)
    back = await client.first("connect", 2)
    assert back["recovered"]
    sent += await tea.say(2)
    await client.has(tea.session, sent)


async def test_a_client_of_a_daemon_that_was_killed_is_told_that_it_is_not_recovered(
    daemons: tuple[Daemon, Daemon], driver: Driver, tea: Tea
) -> None:
    first, second = daemons
    client = await driver.connect(second.url, tea.ben, "websocket")
    await client.join(tea.session)
    sent = await tea.say(2)
    await client.has(tea.session, sent)
    await trio.to_thread.run_sync(second.kill)
    await client.first("disconnect")
    await client.command("move", url=first.url)
    back = await client.first("connect", 2)
    assert not back["recovered"]
    state = await client.join(tea.session)
    assert state["seq"] == sent[-1]
