"""Clients of a daemon that is drained and started again."""

from __future__ import annotations

from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import create_session, register, talking
from tests.socketio.js import TRANSPORTS, Driver
from tests.socketio.people import restarted
from tests.socketio.proxy import Proxy

RESTARTS = 4  # of three clients each: twelve returns


async def test_who_is_drained_hears_why_and_returns_by_itself(
    daemon: Daemon, driver: Driver, proxy: Proxy
) -> None:
    ben = await register(daemon, "ben")
    clients = [await driver.connect(proxy.url, ben, transport) for transport in TRANSPORTS]
    await clients[-1].first("upgrade")
    async with restarted(daemon):
        for client in clients:
            gone = await client.first("disconnect")
            assert gone == gone | {"reason": "transport close", "active": True}
    for client in clients:
        assert (await client.first("connect", 2))["recovered"]
    for client in clients:
        closing = client.events("connection:closing")
        assert [(one["code"], one["reconnect"]) for one in closing] == [(4005, True)]


async def test_clients_recover_from_the_daemon_that_follows_a_drained_one(
    daemon: Daemon, driver: Driver, proxy: Proxy
) -> None:
    recovered = 0
    ann, ben = await register(daemon, "ann"), await register(daemon, "ben")
    session = await create_session(daemon, ann, ben)
    clients = [await driver.connect(proxy.url, ben, transport) for transport in TRANSPORTS]
    for client in clients:
        await client.join(session)
    sent: list[int] = []
    for number in range(RESTARTS):
        async with talking(daemon, ann) as talker:
            for is_to_arrive in (True, False):
                if not is_to_arrive:
                    proxy.freeze()  # the goodbyes do not arrive either
                answer = await talker.send(session, "more tea?")
                sent.append(answer["message"]["seq"])
                for client in clients if is_to_arrive else ():
                    await client.has(session, sent)
        async with restarted(daemon):
            proxy.cut()
            for client in clients:
                await client.first("disconnect", number + 1)
        proxy.restore()
        for client in clients:
            back = await client.first("connect", number + 2)
            recovered += back["recovered"]
            assert back["sid"] == client.of("connect")[0]["sid"]
            assert client.seqs(session) == sent
    assert recovered == RESTARTS * len(clients)
