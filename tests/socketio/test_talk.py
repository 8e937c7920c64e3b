"""The official client talks: polling only, WebSocket only, and through the upgrade."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.scenarios.daemon import Daemon
from tests.socketio.js import TRANSPORTS, Driver
from tests.socketio.people import open_tea
from tests.socketio.proxy import Proxy

pytestmark = pytest.mark.parametrize("transport", TRANSPORTS)
REFUSED: list[tuple[Any, ...]] = [
    ("message:sing", {}),  # there is no such event
    ("message:send", "hello"),
    ("message:send", {}, {}),
    ("message:send",),
    ("message:send", None),
    ("session:join", {"sessionId": 5}),
]
FINAL = {"polling": "polling", "websocket": "websocket", "upgrade": "websocket"}


async def test_a_message_is_acked_before_its_echo_and_comes_to_everybody(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    async with open_tea(daemon) as tea:
        await tea.ann.join(tea.session)
        ben = await driver.connect(daemon.url, tea.ben, transport)
        if transport == "upgrade":
            await ben.first("upgrade")
        await ben.join(tea.session)
        seq = await ben.say(tea.session, "with milk")
        await ben.has(tea.session, [seq])
        names = [one.get("name", one["kind"]) for one in ben.reports]
        assert [name for name in names if name in {"ack", "message:new"}] == [
            *("ack", "ack", "message:new")  # the first is that of the join
        ]
        with trio.fail_after(10):
            await tea.ann.until(lambda: bool(tea.ann.messages(tea.session)))
        assert tea.ann.messages(tea.session)[0]["content"] == "with milk"
        assert await tea.say(1) == [seq + 1]
        await ben.has(tea.session, [seq, seq + 1])
        assert ben.events("message:new")[1]["sender"]["id"] == tea.ann.person.id
        last = [one for one in ben.reports if one["kind"] in {"connect", "upgrade"}][-1]
        assert last["transport"] == FINAL[transport]


async def test_who_comes_back_afresh_gets_what_was_missed_by_joining_since(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    async with open_tea(daemon) as tea:
        ben = await driver.connect(daemon.url, tea.ben, transport)
        state = await ben.join(tea.session)
        await ben.leave()
        missed = await tea.say(3)
        again = await driver.connect(daemon.url, tea.ben, transport)
        assert not again.of("connect")[0]["recovered"]
        since = {"epoch": state["epoch"], "seq": state["seq"]}
        answer = await again.join(tea.session, since)
        assert answer["recovered"]
        assert [message["seq"] for message in answer["messages"]] == missed
        await again.has(tea.session, await tea.say(1))


async def test_a_stock_client_that_lost_its_link_is_given_what_it_missed(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    async with open_tea(daemon) as tea:
        ben = await driver.connect(proxy.url, tea.ben, transport)
        await ben.join(tea.session)
        sent = await tea.say(1)
        await ben.has(tea.session, sent)
        proxy.cut()
        await ben.first("disconnect")
        sent += await tea.say(2)
        proxy.restore()
        back = await ben.first("connect", 2)
        assert back["recovered"]
        assert back["sid"] == ben.of("connect")[0]["sid"]
        assert ben.seqs(tea.session) == sent  # already: they come ahead of `connect`
        await ben.event("connection:ready", 2)
        assert ben.events("connection:ready")[1]["recovered"]
        await ben.has(tea.session, [*sent, *await tea.say(1)])


async def test_what_is_not_understood_is_refused_by_the_ack_or_by_an_event_without_one(
    daemon: Daemon, driver: Driver, transport: str
) -> None:
    async with open_tea(daemon) as tea:
        ben = await driver.connect(daemon.url, tea.ben, transport)
        for number, (event, *args) in enumerate(REFUSED, start=1):
            answer = await ben.ask(event, *args)
            assert not answer["ok"]
            assert answer["error"]["code"] == "validation_failed"
            await ben.emit(event, *args)
            await ben.event("request:failed", number)
            failed = ben.events("request:failed")[-1]
            assert failed["event"] == event
            assert failed["error"]["code"] == "validation_failed"
        await ben.join(tea.session)  # and the client goes on
