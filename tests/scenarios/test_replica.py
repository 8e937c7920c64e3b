"""A daemon on its operator's database: with a replica beside it, and poolers in front of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from chatd.client import ClientError
from chatd.client.rest import Rest
from tests.databases import PostgresServer, catch_up, pause_replay
from tests.poolers import PROGRAM, running_pooler
from tests.scenarios.daemon import Daemon, running_daemon
from tests.scenarios.talker import Person, create_session, register, rest, talking

ANSWERED = 'chatd_replica_reads_total{outcome="replica"}'
TIMEOUT = 60.0  # seconds; the machine is shared
SENDS = 100


async def said(daemon: Daemon, person: Person, session: str) -> list[str]:
    door = Rest(daemon.url)
    try:
        path = f"/chat/sessions/{session}/messages"
        page = await door.call("GET", path, token=person.token)
    finally:
        await door.aclose()
    return [message["content"] for message in page["messages"]]


async def send(daemon: Daemon, person: Person, session: str, content: str) -> None:
    path = f"/chat/sessions/{session}/messages"
    await rest(daemon, "POST", path, person.token, {"content": content})


async def is_answered_by_the_replica(daemon: Daemon, person: Person, session: str) -> list[str]:
    """Ask until the replica has answered; return what it said."""
    before = await daemon.metric(ANSWERED)
    while True:
        words = await said(daemon, person, session)
        if await daemon.metric(ANSWERED) > before:
            return words
        await trio.sleep(0.05)


async def test_reads_go_to_the_replica_and_never_behind_what_somebody_knows(
    postgres_server: PostgresServer,
    replica_server: PostgresServer,
    database_url: str,
    replica_url: str,
    tmp_path: Path,
) -> None:
    servers: dict[str, Any] = {"database_url": database_url, "database_replica_url": replica_url}
    with trio.fail_after(TIMEOUT), running_daemon(tmp_path / "data", **servers) as daemon:
        anna, bob = await register(daemon, "anna"), await register(daemon, "bob")
        session = await create_session(daemon, anna, bob)
        await send(daemon, anna, session, "one")
        assert await is_answered_by_the_replica(daemon, bob, session) == ["one"]
        assert await is_answered_by_the_replica(daemon, anna, session) == ["one"]

        pause_replay(replica_server)
        await send(daemon, anna, session, "two")
        for person in (anna, bob):
            assert await said(daemon, person, session) == ["one", "two"]
        async with talking(daemon, anna) as owner:
            await owner.ask("member:remove", sessionId=session, userId=bob.id)
        with pytest.raises(ClientError, match="not_a_member"):
            await said(daemon, bob, session)

        await trio.to_thread.run_sync(replica_server.stop)
        assert daemon.get("/readyz")[0] == 200
        assert await said(daemon, anna, session) == ["one", "two"]
        await trio.to_thread.run_sync(replica_server.start)
        catch_up(postgres_server, replica_server)
        assert await is_answered_by_the_replica(daemon, anna, session) == ["one", "two"]
        assert await daemon.metric("chatd_replica_lag_seconds") < TIMEOUT


@contextmanager
def behind_poolers(
    primary: PostgresServer, replica: PostgresServer, url: str, replica_url: str
) -> Iterator[dict[str, Any]]:
    with running_pooler(primary) as first, running_pooler(replica) as second:
        yield {
            "database_url": first.url(url),
            "database_replica_url": second.url(replica_url),
            "database_pooler": "transaction",
        }


@pytest.mark.skipif(not PROGRAM.exists(), reason="PgBouncer is not installed")
async def test_a_daemon_chats_through_poolers_that_have_fewer_sessions_than_its_pool(
    postgres_server: PostgresServer,
    replica_server: PostgresServer,
    database_url: str,
    replica_url: str,
    tmp_path: Path,
) -> None:
    servers = behind_poolers(postgres_server, replica_server, database_url, replica_url)
    with (
        trio.fail_after(TIMEOUT),
        servers as urls,
        running_daemon(tmp_path / "data", **urls) as daemon,
    ):
        anna, bob = await register(daemon, "anna"), await register(daemon, "bob")
        session = await create_session(daemon, anna, bob)
        async with (
            talking(daemon, bob) as reader,
            talking(daemon, anna) as writer,
            trio.open_nursery() as nursery,
        ):
            await reader.join(session)
            for number in range(SENDS):
                nursery.start_soon(writer.send, session, str(number))
            await reader.until(lambda: len(reader.pushes) >= SENDS)
            heard = [p.data["content"] for p in reader.pushes if p.name == "message:new"]
        assert sorted(heard, key=int) == [str(number) for number in range(SENDS)]
        assert await is_answered_by_the_replica(daemon, bob, session) == heard[-50:]
