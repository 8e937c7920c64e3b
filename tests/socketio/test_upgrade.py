"""Sixty clients that talk all the while as a WebSocket takes over from polling."""

from __future__ import annotations

import pytest
import trio

from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import Person, create_session, register, rest
from tests.socketio.js import WAIT, Driver, JsClient
from tests.socketio.proxy import Proxy

CLIENTS = 60
MESSAGES = 150  # of each client: so many acks and so many echoes come back to it
BEFORE = 5  # of them are acked by polling
WINDOW = 8  # messages of a client under way at once: the rest spread over the upgrade


async def start(driver: Driver, url: str, person: Person, session: str) -> JsClient:
    """Start a client that joins and begins to send with the connect."""
    client = await driver.open(url, person)
    await client.emit("session:join", {"sessionId": session})
    await client.command("burst", sessionId=session, count=MESSAGES, window=WINDOW)
    return client


async def finish(client: JsClient) -> None:
    """Wait until a client has got everything."""
    await client.first("sent", MESSAGES)
    await client.event("message:new", MESSAGES)
    await client.first("upgrade")


def check(client: JsClient, session: str) -> None:
    """Check that nothing was lost or reordered, and that the upgrade was in between."""
    acks = client.of("sent")
    assert [ack["number"] for ack in acks] == list(range(MESSAGES))
    assert all(ack["answer"]["ok"] for ack in acks)
    first = acks[0]["answer"]["message"]["seq"]
    wanted = list(range(first, first + MESSAGES))
    assert [ack["answer"]["message"]["seq"] for ack in acks] == wanted
    assert client.seqs(session) == wanted
    contents = [message["content"] for message in client.events("message:new")]
    assert contents == [f"message {number}" for number in range(MESSAGES)]
    kinds = [report["kind"] for report in client.reports]
    assert kinds.count("connect") == 1
    assert "disconnect" not in kinds
    assert client.of("upgrade")[0]["transport"] == "websocket"
    assert kinds.index("sent") < kinds.index("upgrade") < len(kinds) - kinds[::-1].index("sent") - 1


@pytest.mark.threat("T50")
async def test_sixty_clients_lose_and_reorder_nothing_while_they_upgrade(
    daemon: Daemon, driver: Driver, proxy: Proxy
) -> None:
    ann = await register(daemon, "ann")
    sessions = [await create_session(daemon, ann) for _ in range(CLIENTS)]
    proxy.hold_upgrades()  # or they would be over before the first ack
    clients = [await start(driver, proxy.url, ann, session) for session in sessions]
    for client in clients:
        await client.first("sent", BEFORE)
    proxy.release_upgrades()
    for client in clients:
        await finish(client)
    for client, session in zip(clients, sessions, strict=True):
        check(client, session)


async def test_who_logs_out_while_a_websocket_is_probed_is_told_and_stays_away(
    daemon: Daemon, driver: Driver, proxy: Proxy
) -> None:
    ben = await register(daemon, "ben")
    proxy.hold_probes()
    client = await driver.connect(proxy.url, ben)
    with trio.fail_after(WAIT):
        await proxy.probing.wait()
    await rest(daemon, "POST", "/auth/logout", ben.token, {})
    gone = await client.first("disconnect")
    assert daemon.complaints() == []
    assert gone == gone | {"reason": "io server disconnect", "active": False}
