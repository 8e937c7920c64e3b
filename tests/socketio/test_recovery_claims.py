"""Who may have the state behind a `pid`: its owner, and one connection at a time."""

from __future__ import annotations

import pytest

from tests.scenarios.daemon import Daemon
from tests.scenarios.talker import Json, register
from tests.socketio.js import TRANSPORTS, Driver, JsClient, Lost, seqs_of
from tests.socketio.people import Tea, open_tea
from tests.socketio.proxy import Proxy

ROUNDS = 10


async def settled(client: JsClient, session: str) -> Json:
    """Return the last connect of a client that the daemon still serves: it answers."""
    while True:
        await client.until(lambda: client.of("connect"))
        try:
            await client.ask("session:join", {"sessionId": session})
        except Lost:
            continue
        return client.of("connect")[-1]


def check_connections(client: JsClient, session: str, missed: list[int]) -> int:
    """Check each connection for itself; return how many of them were recovered."""
    recovered = 0
    for reports in client.connections():
        connects = [one for one in reports if one["kind"] == "connect"]
        seqs = seqs_of(reports, session)
        assert len(set(seqs)) == len(seqs)
        if connects and connects[0]["recovered"]:
            recovered += 1
        else:
            assert seqs == []
    assert client.seqs(session) in ([], missed)
    return recovered


async def come_twice(driver: Driver, url: str, tea: Tea, transport: str, owner: JsClient) -> None:
    """Let two clients return as one that is away, or will be; one of them gets its state."""
    pid = owner.of("connect")[0]["pid"]
    resume = {"pid": pid, "offset": owner.offset}
    missed = await tea.say(3)
    twins = [await driver.open(url, tea.ben, transport, resume=resume) for _ in range(2)]
    for twin in twins:
        await twin.first("connect")
    ends = [await settled(twin, tea.session) for twin in twins]
    assert [end["pid"] for end in ends].count(pid) == 1
    recovered = [check_connections(twin, tea.session, missed) for twin in twins]
    assert sum(recovered) >= 1
    holder = twins[[end["pid"] for end in ends].index(pid)]
    assert holder.seqs(tea.session) == missed
    seq = (await tea.say(1))[0]
    for twin in twins:  # both have joined now, and each gets it once
        await twin.sees(tea.session, seq)
        assert twin.seqs(tea.session).count(seq) == 1
        await twin.leave()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("is_away", [True, False], ids=["away", "half-open"])
async def test_of_two_that_return_with_one_pid_one_has_it_and_nobody_gets_anything_twice(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str, is_away: bool
) -> None:
    async with open_tea(daemon) as tea:
        for _ in range(ROUNDS):
            owner = await driver.connect(proxy.url, tea.ben, transport, reconnection=False)
            await owner.join(tea.session)
            await owner.has(tea.session, await tea.say(1))
            if is_away:
                proxy.cut()
                await owner.first("disconnect")
            else:
                proxy.freeze()
            await come_twice(driver, daemon.url, tea, transport, owner)
            proxy.restore()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.threat("T52")
async def test_the_pid_of_somebody_else_gives_nothing_and_stays_good_for_its_owner(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    mallory = await register(daemon, "mallory")
    async with open_tea(daemon) as tea:
        for _ in range(ROUNDS):
            ben = await driver.connect(proxy.url, tea.ben, transport)
            await ben.join(tea.session)
            sent = await tea.say(1)
            await ben.has(tea.session, sent)
            resume = {"pid": ben.of("connect")[0]["pid"], "offset": ben.offset}
            while_live = await driver.connect(daemon.url, mallory, transport, resume=resume)
            sent.append(await ben.say(tea.session))
            proxy.cut()
            await ben.first("disconnect")
            while_away = await driver.connect(daemon.url, mallory, transport, resume=resume)
            sent += await tea.say(2)
            proxy.restore()
            back = await ben.first("connect", 2)
            assert back["recovered"]
            assert back["pid"] == resume["pid"]
            await ben.has(tea.session, sent)
            for thief in (while_live, while_away):
                got = thief.of("connect")[0]
                assert not got["recovered"]
                assert got["pid"] != resume["pid"]
                assert got["sid"] != back["sid"]
                answer = await thief.ask("session:join", {"sessionId": tea.session})
                assert answer["error"]["code"] == "not_a_member"
                assert thief.events("message:new") == []
                await thief.leave()
            await ben.leave()
