"""A daemon on its ports: the one for other daemons, and a drain while others go on accepting."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from chatd.nurseries.serving import serve
from chatd.peers import TAG_CHARS
from chatd.testing import open_chatd
from tests.forwarding_kit import FakePeers
from tests.http_kit import Client, get, wait_until
from tests.socketio_kit import POLLING, request
from tests.test_inherited import REDIS, listening


async def test_the_port_for_other_daemons_serves_the_same_to_the_end_of_the_drain() -> None:
    ports: list[int] = []
    started, stop = trio.Event(), trio.Event()

    def announce(port: int) -> None:
        ports.append(port)
        started.set()

    with trio.fail_after(10):
        async with open_chatd(redis_url=REDIS, node_port=0, port=0) as server:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, server.daemon, announce, stop)
                await started.wait()
                assert server.daemon.node_url is not None
                node_port = int(server.daemon.node_url.rpartition(":")[2])
                for port in (*ports, node_port):
                    client = Client(await trio.open_tcp_stream("127.0.0.1", port))
                    assert (await client.ask(get("/healthz"))).status == 200
                    await trio.aclose_forcefully(client.stream)
                stop.set()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream("127.0.0.1", node_port)


async def test_who_has_come_in_and_not_asked_yet_is_answered_before_the_drain() -> None:
    started, stop = trio.Event(), trio.Event()
    with listening() as door, trio.fail_after(10):
        async with open_chatd(port=0) as server, trio.open_nursery() as nursery:
            held = [door.dup()]  # as another worker would
            nursery.start_soon(serve, server.daemon, lambda _: started.set(), stop, held)
            await started.wait()
            client = Client(await trio.open_tcp_stream(*door.getsockname()))
            await wait_until(lambda: server.daemon.http.live == 1)
            stop.set()
            await wait_until(lambda: held[0].fileno() == -1)
            await wait_all_tasks_blocked()
            assert (await client.ask(get("/healthz"))).status == 200
            await trio.aclose_forcefully(client.stream)


async def ask(door: socket.socket, data: bytes) -> bytes:
    """Ask on a connection of its own, and return the body of what is a good answer."""
    async with await trio.open_tcp_stream(*door.getsockname()) as stream:
        answer = await Client(stream).ask(data)
        assert answer.status == 200, answer
        return answer.body


async def test_who_polls_hears_the_goodbye_of_a_draining_worker_through_another() -> None:
    peers = [FakePeers("worker"), FakePeers("second")]
    settings: dict[str, Any] = {"redis_url": REDIS, "node_port": 0, "port": 0}
    with listening() as door, trio.fail_after(20):
        async with (
            open_chatd(peers=peers[0], **settings) as first,
            open_chatd(peers=peers[1], **settings) as second,
            trio.open_nursery() as nursery,
        ):
            daemons = [first.daemon, second.daemon]
            stops = [trio.Event(), trio.Event()]
            for daemon, stop in zip(daemons, stops, strict=True):
                started = trio.Event()
                nursery.start_soon(serve, daemon, partial(_set, started), stop, [door.dup()])
                await started.wait()
            for one, other in ((0, 1), (1, 0)):
                peers[one].urls[peers[other].tag] = daemons[other].node_url or ""
            handshake = await ask(door, request("GET", POLLING))
            sid = handshake.partition(b'"sid":"')[2].partition(b'"')[0].decode()
            owner = [each.tag for each in peers].index(sid[:TAG_CHARS])
            stops[owner].set()
            await wait_until(lambda: daemons[owner].engine.is_draining)
            assert await ask(door, request("GET", f"{POLLING}&sid={sid}")) == b"1"
            stops[1 - owner].set()


def _set(event: trio.Event, _port: int) -> None:
    event.set()
