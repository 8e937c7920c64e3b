"""Two desks that know each other as daemons of a cluster do, and real TCP between them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from chatd.config import Settings
from chatd.nurseries.listener import open_listeners
from tests.listener_kit import Door, open_door
from tests.socketio_kit import Desk, Poller, open_desk

UNKNOWN = {"code": 1, "message": "Session ID unknown"}


@dataclass
class FakePeers:
    """A cluster of which a test says who is in it. See `chatd.peers.Peers`."""

    tag: str
    urls: dict[str, str] = field(default_factory=dict)
    key: bytes = b"of the cluster"

    def url_of(self, tag: str) -> str | None:
        return self.urls.get(tag)

    def sign(self, text: bytes) -> bytes:
        return hmac.digest(self.key, text, hashlib.sha256)

    def is_signed(self, text: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(text), signature)


@dataclass
class Node:
    """One of the desks, with a port."""

    desk: Desk
    peers: FakePeers
    door: Door

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.door.port}"


@asynccontextmanager
async def open_node(tag: str, **settings: Any) -> AsyncIterator[Node]:
    """Run a desk on a port, for the length of the block; nobody knows of it yet."""
    peers = FakePeers(tag)
    async with open_desk(peers=peers, **{"goodbye_timeout": 0.2, **settings}) as desk:
        listeners = await open_listeners(Settings(port=0))
        async with open_door(listeners, desk.server.serve_connection) as door:
            yield Node(desk, peers, door)


@asynccontextmanager
async def open_pair(**settings: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Run two desks that know each other: where clients come in, and whose their sessions are.

    Args:
        settings: of the first.
    """
    async with open_node("inside", **settings) as near, open_node("owning") as far:
        near.peers.urls["owning"] = far.url
        far.peers.urls["inside"] = near.url
        yield near, far


async def until_idle(node: Node) -> None:
    """Wait until nothing is passed on any more."""
    forwarder = node.desk.engine._forwarder
    assert forwarder is not None
    with trio.fail_after(10):
        while forwarder.under_way:  # noqa: ASYNC110 - see above
            await trio.sleep(0.005)


async def opened(owner: Node, through: Node) -> Poller:
    """Return a client whose session the owner has, and that comes to another daemon now."""
    poller = Poller(owner.desk.stream)
    await poller.open()
    poller.connect = through.desk.stream
    return poller
