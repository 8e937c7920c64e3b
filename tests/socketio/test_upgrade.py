"""Sixty clients that talk all the while as a WebSocket takes over from polling."""

from __future__ import annotations

import pytest
import trio

from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import Person, create_session, register, rest
from tests.socketio.js import WAIT, Driver, JsClient
from tests.socketio.proxy import Proxy

CLIENTS = 60
BEFORE = 5  # messages of each client that are acked by polling at least
AFTER = 50  # it sends by WebSocket; what it sends meanwhile depends on the machine
WINDOW = 8  # messages of a client under way at once, all the while


async def start(driver: Driver, url: str, person: Person, session: str) -> JsClient:
    """Start a client that joins and begins to send with the connect."""
    client = await driver.open(url, person)
    await client.emit("session:join", {"sessionId": session})
    await client.command("burst", sessionId=session, count=AFTER, window=WINDOW)
    return client


async def ack(client: JsClient) -> None:
    """Wait for one more ack, or for the end."""
    count = len(client.of("sent"))
    await client.until(lambda: client.of("over") or len(client.of("sent")) > count)


async def finish(client: JsClient) -> None:
    """Wait until a client has got everything: the deadline is of each message, not of all."""
    await client.first("upgrade")
    while not client.of("over"):
        await ack(client)
    await client.event("message:new", client.of("over")[0]["count"])


def check(client: JsClient, session: str) -> None:
    """Check that nothing was lost or reordered, and that the upgrade was in between."""
    acks, count = client.of("sent"), client.of("over")[0]["count"]
    assert [each["number"] for each in acks] == list(range(count))
    assert all(each["answer"]["ok"] for each in acks)
    first = acks[0]["answer"]["message"]["seq"]
    wanted = list(range(first, first + count))
    assert [each["answer"]["message"]["seq"] for each in acks] == wanted
    assert client.seqs(session) == wanted
    contents = [message["content"] for message in client.events("message:new")]
    assert contents == [f"message {number}" for number in range(count)]
    kinds = [report["kind"] for report in client.reports]
    assert kinds.count("connect") == 1
    assert "disconnect" not in kinds
    assert client.of("upgrade")[0]["transport"] == "websocket"
    upgraded = kinds.index("upgrade")
    assert kinds[:upgraded].count("sent") >= BEFORE
    assert kinds[upgraded:].count("sent") >= AFTER


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
