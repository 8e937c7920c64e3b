"""The official client through nginx, round robin over two daemons, with nothing sticky."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.config import Settings
from chatd.nurseries.listener import open_listeners
from chatd.store.memory import MemoryStore
from chatd.testing import ChatServer, open_chatd
from tests.forwarding_kit import FakePeers
from tests.listener_kit import Door, open_door
from tests.scenarios.talker import Person
from tests.socketio.js import TRANSPORTS, WAIT, Driver, JsClient
from tests.socketio.nginx import open_nginx
from tests.socketio.people import SIGNING_KEY

CROWD = 20


@dataclass
class Served:
    """A daemon on a port."""

    server: ChatServer
    peers: FakePeers
    door: Door


@dataclass
class Cluster:
    """Daemons on one store, who pass on and share nothing else, and nginx before them."""

    url: str
    served: list[Served]

    def passed_on(self, kind: str) -> float:
        """Return how many requests, or sockets, have been passed on to their end."""
        registries = [each.server.daemon.services.metrics.registry for each in self.served]
        labels = {"kind": kind}
        counts = [each.get_sample_value("chatd_forwards_total", labels) for each in registries]
        return sum(count or 0 for count in counts)


@asynccontextmanager
async def open_served(store: MemoryStore, peers: FakePeers, folder: Path) -> AsyncIterator[Served]:
    """Run a daemon on a port for the block."""
    settings: dict[str, Any] = {
        "signing_keys": SIGNING_KEY,
        "trusted_proxies": "127.0.0.1",
        "upgrade_timeout": WAIT,  # or a client of a busy machine stays with polling, as it may
        "goodbye_timeout": 0.2,
        "data_dir": folder / peers.tag,
    }
    async with open_chatd(store=store, peers=peers, **settings) as server:
        listeners = await open_listeners(Settings(port=0))
        serve = server.daemon.http.serve_connection
        async with open_door(listeners, serve, max_connections=1000) as door:
            yield Served(server, peers, door)


@asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Run two daemons behind nginx for the block; they meet in the store and by their tags only."""
    store = MemoryStore()
    async with (
        open_served(store, FakePeers("first-"), folder) as first,
        open_served(store, FakePeers("second"), folder) as second,
        open_nginx(folder, [first.door.port, second.door.port]) as url,
    ):
        for one, other in ((first, second), (second, first)):
            one.peers.urls[other.peers.tag] = f"http://127.0.0.1:{other.door.port}"
        yield Cluster(url, [first, second])


async def join_alone(
    cluster: Cluster, driver: Driver, name: str, transport: str
) -> tuple[JsClient, str]:
    """Connect somebody new, whose session of chat has nobody else; return client and session."""
    server = cluster.served[-1].server  # its clock is behind that of the first
    row = (await server.person(name)).row
    session = str(await server.session(row))
    client = await driver.connect(
        cluster.url, Person(str(row.id), name, server.token(row.id)), transport
    )
    if transport == "upgrade":
        await client.first("upgrade")
    await client.join(session)
    return client, session


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stock_client_talks_through_nginx_that_sends_it_anywhere(
    tmp_path: Path, driver: Driver, transport: str
) -> None:
    async with open_cluster(tmp_path) as cluster:
        client, session = await join_alone(cluster, driver, "ann", transport)
        sent = [await client.say(session, f"message {number}") for number in range(10)]
        await client.has(session, sent)
        assert len(client.of("connect")) == 1
        assert client.of("disconnect") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_stock_client_comes_back_through_nginx(
    tmp_path: Path, driver: Driver, transport: str
) -> None:
    async with open_cluster(tmp_path) as cluster:
        client, session = await join_alone(cluster, driver, "ann", transport)
        await client.say(session)
        await client.command("move", url=cluster.url)
        await client.first("connect", 2)
        await client.event("connection:ready", 2)
        await client.join(session)
        seq = await client.say(session, "here again")
        await client.sees(session, seq)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_crowd_talks_at_once_through_nginx(
    tmp_path: Path, driver: Driver, transport: str
) -> None:
    async with open_cluster(tmp_path) as cluster:
        clients: list[JsClient] = []

        async def talk(number: int) -> None:
            client, session = await join_alone(cluster, driver, f"person{number}", transport)
            clients.append(client)
            sent = [await client.say(session, f"message {count}") for count in range(5)]
            await client.has(session, sent)

        async with trio.open_nursery() as nursery:
            for number in range(CROWD):
                nursery.start_soon(talk, number)
        assert len(clients) == CROWD
        assert [len(client.of("connect")) for client in clients] == [1] * CROWD
        sessions = [len(served.server.daemon.engine) for served in cluster.served]
        assert sum(sessions) == CROWD
        assert min(sessions) > 0
        assert (cluster.passed_on("polling") > 0) == (transport != "websocket")
        assert cluster.passed_on("away") == 0


async def test_an_owner_that_is_gone_lets_its_clients_come_back_to_another(
    tmp_path: Path, driver: Driver
) -> None:
    async with open_cluster(tmp_path) as cluster:
        client, session = await join_alone(cluster, driver, "ann", "polling")
        first, second = cluster.served
        owner, other = (first, second) if len(first.server.daemon.engine) else (second, first)
        owner.door.accepting.cancel()
        owner.door.connections.cancel_scope.cancel()
        await client.first("connect", 2)
        assert len(other.server.daemon.engine) == 1
        await client.join(session)
        await client.sees(session, await client.say(session, "here again"))
