"""Three daemons behind nginx, Redis, a primary and its replica: each fails in turn while all talk.

What was acknowledged has reached every member once, in the order of `seq`, equal on all clients.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.client.rest import Rest
from tests.cluster.crowd import open_crowd
from tests.cluster.link_proxy import LinkProxy, open_link_proxy
from tests.databases import PostgresServer, fresh_database, running_postgres, running_replica
from tests.redis_kit import RedisServer, free_port, running_redis
from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import create_session, register
from tests.socketio.nginx import open_nginx

DAEMONS = 3
SESSIONS = 50
PEOPLE = 30
MEMBERS = 6
EVERY = 50  # milliseconds between two messages: 20 a second
LEASE = 6.0  # seconds: a tenth of what it is
KEY = "k1:" + "f4c1e2d3b5a69788" * 4
logging.getLogger("httpx2").setLevel(logging.WARNING)  # or it tells of each request
log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO


@dataclass
class Place:
    """Everything that may fail, and what stands in front of it."""

    daemons: list[Daemon]
    url: str  # of nginx
    redis: RedisServer
    link: LinkProxy
    primary: PostgresServer
    replica: PostgresServer


@pytest.fixture
def databases() -> Iterator[tuple[PostgresServer, PostgresServer, str]]:
    """Run a primary and a replica of its own, for they are stopped; yields them and a database."""
    with (
        running_postgres(None) as primary,
        fresh_database(primary) as conninfo,
        running_replica(primary) as replica,
    ):
        yield primary, replica, conninfo


@asynccontextmanager
async def open_place(
    folder: Path, databases: tuple[PostgresServer, PostgresServer, str]
) -> AsyncIterator[Place]:
    """Run the whole picture for the block."""
    primary, replica, conninfo = databases
    name = conninfo.rpartition("dbname=")[2].split()[0]
    ports = [free_port() for _ in range(DAEMONS)]
    (folder / "nginx").mkdir()
    with running_redis() as redis:
        async with (
            open_link_proxy(redis.port) as link,
            open_nginx(folder / "nginx", ports) as url,
        ):
            daemons = [
                Daemon(
                    folder / f"daemon{number}",
                    wanted_port=port,
                    database_url=conninfo,
                    database_replica_url=replica.conninfo(name),
                    redis_url=link.url,
                    redis_timeout=2,
                    node_url=f"http://127.0.0.1:{port}",
                    lease_seconds=LEASE,
                    presence_grace=3,
                    signing_keys=KEY,
                    trusted_proxies="127.0.0.0/8",
                    drain_seconds=3,
                    files="off",
                )
                for number, port in enumerate(ports)
            ]
            try:
                for daemon in daemons:  # one after the other: each migrates
                    await trio.to_thread.run_sync(daemon.start)
                yield Place(daemons, url, redis, link, primary, replica)
            finally:
                for daemon in daemons:
                    daemon.dispose()


async def people_of(place: Place) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Return who talks, who only is there, and their sessions; each daemon has a part of them."""
    people = [
        await register(place.daemons[number % DAEMONS], f"person{number}")
        for number in range(PEOPLE)
    ]
    ghost = await register(place.daemons[0], "ghost")
    sessions: list[str] = []
    of_people: dict[str, list[str]] = {person.id: [] for person in people}
    for number in range(SESSIONS):
        members = [people[(number + step * 5) % PEOPLE] for step in range(MEMBERS)]
        daemon = place.daemons[number % DAEMONS]
        sessions.append(await create_session(daemon, *members))
        for member in members:
            of_people[member.id].append(sessions[-1])
    specs = [
        {"userId": person.id, "token": person.token, "sessions": of_people[person.id]}
        for person in people
    ]
    return specs, {"userId": ghost.id, "token": ghost.token, "sessions": []}, sessions


async def fail_in_turn(place: Place) -> None:
    """Let everything fail, one after the other, with time to come back in between."""
    run = trio.to_thread.run_sync
    first, second, _ = place.daemons
    await trio.sleep(3)
    await run(first.kill)
    await trio.sleep(4)
    await run(first.start)
    await trio.sleep(3)
    await run(second.stop)
    await run(second.start)
    await trio.sleep(3)
    await run(place.redis.kill)
    await trio.sleep(2)
    await run(place.redis.start)
    await trio.sleep(4)
    place.link.is_cut = True
    await trio.sleep(10)
    place.link.is_cut = False
    await trio.sleep(4)
    place.link.loss = 0.1
    await trio.sleep(8)
    place.link.loss = 0.0
    await run(place.replica.stop)
    await trio.sleep(4)
    await run(place.replica.start)
    await trio.sleep(3)
    await run(place.primary.stop, signal.SIGINT)
    await run(place.primary.start)
    await trio.sleep(9)


async def test_whatever_fails_everybody_sees_the_same(
    tmp_path: Path, databases: tuple[PostgresServer, PostgresServer, str]
) -> None:
    async with open_place(tmp_path, databases) as place, open_crowd() as crowd:
        people, ghost, sessions = await people_of(place)
        await crowd.do(
            "open", url=place.url, people=people, ghost=ghost, ghostUrl=place.daemons[0].url
        )
        await crowd.do("talk", every=EVERY, sessions=sessions)
        began = trio.current_time()
        await fail_in_turn(place)
        lasted = trio.current_time() - began
        await crowd.do("settle")
        await crowd.do("present", userIds=[person["userId"] for person in people])
        report = await crowd.do("report")
        stored = await histories(place, people, sessions)
    judge(report, stored)
    assert_was_seen_gone(report, ghost["userId"])
    assert place.link.lost > 0
    tell(report, lasted, place)


async def histories(
    place: Place, people: list[dict[str, Any]], sessions: list[str]
) -> dict[str, list[list[Any]]]:
    """Return `seq` and id of all messages of each session, as the database has them."""
    tokens = {each: person["token"] for person in people for each in person["sessions"]}
    found: dict[str, list[list[Any]]] = {}
    door = Rest(place.url)
    for session_id in sessions:
        path = f"/chat/sessions/{session_id}/messages?limit=100&afterSeq=0"
        page = await door.call("GET", path, token=tokens[session_id])
        found[session_id] = [[each["seq"], each["id"]] for each in page["messages"]]
        assert not page["hasAfter"]
    await door.aclose()
    return found


def judge(report: dict[str, Any], stored: dict[str, list[list[Any]]]) -> None:
    """Hold what the clients saw against what is stored."""
    assert report["refused"] == []
    assert len(report["acked"]) == report["sent"]
    assert sum(map(len, stored.values())) == report["sent"]
    for session_id, messages in stored.items():
        assert [seq for seq, _ in messages] == list(range(1, len(messages) + 1)), session_id
    for ack in report["acked"]:
        assert [ack["seq"], ack["id"]] in stored[ack["sessionId"]]
    for client in report["clients"]:
        assert client["faults"] == []
        for session_id, seen in client["logs"].items():
            assert [[seq, id_] for seq, id_, _ in seen] == stored[session_id]


def assert_was_seen_gone(report: dict[str, Any], user_id: str) -> None:
    """Whoever was at the daemon that was killed, and did not come back, is OFFLINE for all."""
    for client in report["clients"]:
        told = [each for each in client["statuses"] if each["userId"] == user_id]
        assert told, "nobody has told of the ghost"
        assert told[-1]["status"] == "OFFLINE"
        assert told[-1]["lastSeen"] is not None


def tell(report: dict[str, Any], lasted: float, place: Place) -> None:
    clients = report["clients"]
    log.info(
        "%d messages in %.0f s, %d connects of %d clients, %d recovered, %d frames lost",
        report["sent"],
        lasted,
        sum(client["connects"] for client in clients),
        len(clients),
        sum(client["recovered"] for client in clients),
        place.link.lost,
    )
    seen_last: dict[str, int] = {}
    for client in clients:
        for _, id_, at in (each for seen in client["logs"].values() for each in seen):
            seen_last[id_] = max(at, seen_last.get(id_, 0))
    delays = sorted(max(0, seen_last[ack["id"]] - ack["at"]) for ack in report["acked"])
    log.info(
        "from the ack until the last member has it: p50 %d ms, p90 %d ms, p99 %d ms, most %d ms",
        *(delays[int(len(delays) * part)] for part in (0.5, 0.9, 0.99)),
        delays[-1],
    )
