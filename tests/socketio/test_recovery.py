"""A stock client that comes back is given what it missed, once: each case ten times."""

from __future__ import annotations

import pytest

from tests.scenarios.daemon import Daemon
from tests.socketio.js import TRANSPORTS, Driver, JsClient
from tests.socketio.people import Tea, open_tea
from tests.socketio.proxy import Proxy, open_proxy

ROUNDS = 10
any_transport = pytest.mark.parametrize("transport", TRANSPORTS)


async def arrive(driver: Driver, url: str, tea: Tea, transport: str) -> JsClient:
    """Return a client of Ben's in the first session, on its last transport."""
    ben = await driver.connect(url, tea.ben, transport)
    if transport == "upgrade":
        await ben.first("upgrade")
    await ben.join(tea.session)
    return ben


async def cut_and_miss(proxy: Proxy, tea: Tea, ben: JsClient, drops: int = 1) -> list[int]:
    """Cut Ben's link, let him miss three messages, and let him through again."""
    proxy.cut()
    await ben.first("disconnect", drops)
    missed = await tea.say(3)
    proxy.restore()
    return missed


async def is_back(ben: JsClient, count: int = 2) -> bool:
    """Wait for a connect; return whether it recovered, with its ids as before."""
    back = await ben.first("connect", count)
    first = ben.of("connect")[0]
    is_same = (back["sid"], back["pid"]) == (first["sid"], first["pid"])
    assert is_same == back["recovered"]
    return is_same


async def ends_with(ben: JsClient, tea: Tea, sent: list[int]) -> None:
    """Check that Ben has these and no others, and still follows; then he leaves."""
    await ben.has(tea.session, [*sent, *await tea.say(1)])
    await ben.leave()


@any_transport
async def test_a_client_whose_link_is_cut_gets_the_three_that_it_missed(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    recovered = 0
    async with open_tea(daemon) as tea:
        for _ in range(ROUNDS):
            ben = await arrive(driver, proxy.url, tea, transport)
            sent = await tea.say(1)
            await ben.has(tea.session, sent)
            sent += await cut_and_miss(proxy, tea, ben)
            recovered += await is_back(ben)
            assert ben.seqs(tea.session) == sent  # what was missed stands before the connect
            await ends_with(ben, tea, sent)
    assert recovered == ROUNDS


@any_transport
async def test_a_client_that_had_received_nothing_before_the_cut_gets_all_that_it_missed(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    recovered = 0
    async with open_tea(daemon) as tea:
        for _ in range(ROUNDS):
            ben = await arrive(driver, proxy.url, tea, transport)
            missed = await cut_and_miss(proxy, tea, ben)
            recovered += await is_back(ben)
            assert ben.seqs(tea.session) == missed
            await ends_with(ben, tea, missed)
    assert recovered == ROUNDS


@any_transport
async def test_a_client_takes_its_state_from_a_link_that_the_daemon_believes_alive(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    recovered = 0
    async with open_tea(daemon) as tea, open_proxy(daemon) as dead:
        for number in range(ROUNDS):
            ben = await arrive(driver, dead.url, tea, transport)
            sent = await tea.say(number % 2)  # also with nothing received
            if sent:
                await ben.has(tea.session, sent)
            dead.freeze()
            sent += await tea.say(3)
            await ben.command("move", url=proxy.url)
            recovered += await is_back(ben)
            assert ben.seqs(tea.session) == sent
            dead.restore()  # what lay in the dead link comes out, and changes nothing
            await ends_with(ben, tea, sent)
    assert recovered == ROUNDS


@any_transport
async def test_a_client_takes_its_state_from_two_links_in_a_row_that_look_alive(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    recovered = 0
    async with open_tea(daemon) as tea, open_proxy(daemon) as dead:
        for _ in range(ROUNDS):
            ben = await arrive(driver, dead.url, tea, transport)
            dead.freeze()
            sent = await tea.say(3)
            await ben.command("move", url=proxy.url)
            recovered += await is_back(ben)
            if transport == "upgrade":  # a client that is frozen on its way waits for half a minute
                await ben.first("upgrade", 2)
            proxy.freeze()
            sent += await tea.say(3)
            await ben.command("move", url=daemon.url)
            recovered += await is_back(ben, 3)
            assert ben.seqs(tea.session) == sent
            dead.restore()
            proxy.restore()
            await ends_with(ben, tea, sent)
    assert recovered == 2 * ROUNDS


@any_transport
async def test_a_client_that_is_cut_twice_in_a_row_gets_what_it_missed_both_times(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    recovered = 0
    async with open_tea(daemon) as tea:
        for _ in range(ROUNDS):
            ben = await arrive(driver, proxy.url, tea, transport)
            sent = await cut_and_miss(proxy, tea, ben)
            recovered += await is_back(ben)
            sent += await cut_and_miss(proxy, tea, ben, drops=2)
            recovered += await is_back(ben, 3)
            assert ben.seqs(tea.session) == sent
            await ends_with(ben, tea, sent)
    assert recovered == 2 * ROUNDS
