"""A daemon to attack, somebody who must notice nothing, and how attackers ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import trio

from tests.http_kit import Answer, Client
from tests.scenarios.checker import check_stream
from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import Person, create_session, register, talking

PATIENCE = 30.0  # seconds for one attack; most take milliseconds
SOON = 5.0  # seconds in which an attacker is gone: it lingers for 1, and the machine is shared
HARMLESS = {"connection:ready", "message:new", "user:status", "user:updated"}


@dataclass(frozen=True)
class Place:
    """A daemon, somebody in it, and a session of theirs."""

    daemon: Daemon
    ann: Person
    session: str

    @property
    def port(self) -> int:
        return self.daemon.port


@contextmanager
def open_place(folder: Path, **settings: Any) -> Iterator[Place]:
    """Run a daemon for many attacks: each has to survive all of them before it.

    At the end it must have logged no error and lost no connection to a bug.
    """
    with running_daemon(folder, **{"drain_seconds": 1, **settings}) as daemon:

        async def settle() -> Place:
            ann = await register(daemon, "ann")
            return Place(daemon, ann, await create_session(daemon, ann))

        place = trio.run(settle)
        yield place
        assert daemon.is_alive
        token = settings.get("metrics_token")
        page = trio.run(partial(ask, place, "GET", "/metrics", token=token)).body
        assert b"chatd_connection_failures_total 0.0\n" in page
        assert daemon.stop() == 0


@asynccontextmanager
async def watched(place: Place) -> AsyncIterator[None]:
    """Talk before the block and after it, on one connection: no close, no missing `seq`."""
    async with talking(place.daemon, place.ann) as talker:
        with trio.fail_after(PATIENCE):
            joined = await talker.join(place.session)
            await talker.send(place.session, "before")
        yield
        with trio.fail_after(PATIENCE):
            head = (await talker.send(place.session, "after"))["message"]["seq"]
            await talker.until(lambda: talker.seqs(place.session)[-1:] == [head])
        assert check_stream(talker.seqs(place.session), after=joined["seq"]) == []
        assert {push.name for push in talker.pushes} <= HARMLESS
        assert not talker.is_lost


def http(
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    lines: tuple[str, ...] = (),
) -> bytes:
    """Return a request; `body` is JSON, or raw bytes."""
    raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", *lines]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    if body is not None:
        head += [f"Content-Length: {len(raw)}", "Content-Type: application/json"]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + raw


@asynccontextmanager
async def open_http(place: Place) -> AsyncIterator[Client]:
    """Connect for the length of the block; many requests may follow each other."""
    with trio.fail_after(PATIENCE):
        stream = await trio.open_tcp_stream("127.0.0.1", place.port)
        async with stream:
            yield Client(stream)


async def ask(
    place: Place,
    method: str,
    path: str,
    body: object = None,
    *,
    token: str | None = None,
    lines: tuple[str, ...] = (),
) -> Answer:
    """Ask once, on a connection of its own."""
    async with open_http(place) as client:
        await client.send(http(method, path, body, token=token, lines=lines))
        return await client.read(method)
