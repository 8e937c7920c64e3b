"""Recovery of a client that is in several sessions at once."""

from __future__ import annotations

import random

import pytest
import trio

from tests.scenarios.daemon import Daemon
from tests.socketio.js import TRANSPORTS, Driver
from tests.socketio.people import Tea, open_tea
from tests.socketio.proxy import Proxy

ROUNDS = 10
SEED = 20_260_101
STEP = 20  # messages at most from a return to the next cut
PAUSE = 0.005  # seconds between two messages, so that 200 of them outlast the cuts


async def stream(tea: Tea, rng: random.Random, stop: trio.Event) -> dict[str, list[int]]:
    """Send to one session after another, drawn by lot, until told to stop; return the `seq`s."""
    sent: dict[str, list[int]] = {session: [] for session in tea.sessions}
    while not stop.is_set():
        session = rng.choice(tea.sessions)
        sent[session] += await tea.say(1, session)
        with trio.move_on_after(PAUSE):
            await stop.wait()
    for session in tea.sessions:
        sent[session] += await tea.say(1, session)
    return sent


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_in_three_sessions_nothing_is_lost_or_doubled_by_ten_cuts_at_random_moments(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str
) -> None:
    rng = random.Random(f"{SEED} {transport}")  # noqa: S311 - a test repeats
    stop, sent = trio.Event(), {}
    async with open_tea(daemon, sessions=3) as tea:
        ben = await driver.connect(proxy.url, tea.ben, transport)
        for session in tea.sessions:
            await ben.join(session)

        async def talk() -> None:
            sent.update(await stream(tea, random.Random(SEED), stop))  # noqa: S311 - as above

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            for number in range(ROUNDS):
                wanted = len(ben.events("message:new")) + rng.randint(0, STEP)
                await ben.event("message:new", wanted)
                proxy.cut()
                await ben.first("disconnect", number + 1)
                proxy.restore()
                back = await ben.first("connect", number + 2)
                assert back["recovered"], number
            stop.set()
        for session, seqs in sent.items():
            await ben.has(session, seqs)
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@pytest.mark.parametrize("is_noticed", [True, False], ids=["cut", "half-open"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_session_that_was_left_meanwhile_is_gone_and_the_others_are_recovered(
    daemon: Daemon, driver: Driver, proxy: Proxy, transport: str, is_noticed: bool
) -> None:
    async with open_tea(daemon, sessions=1 + ROUNDS) as tea:
        kept = tea.session
        for lost in tea.sessions[1:]:
            ben = await driver.connect(proxy.url, tea.ben, transport)
            await ben.join(kept)
            await ben.join(lost)
            sent, gone = await tea.say(1, kept), await tea.say(1, lost)
            await ben.has(kept, sent)
            await ben.has(lost, gone)
            proxy.freeze()
            if is_noticed:
                proxy.cut()
                await ben.first("disconnect")
            sent += await tea.say(1, kept)
            await tea.ann.ask("member:remove", sessionId=lost, userId=tea.ben.id)
            await tea.say(1, lost)  # he is not to read this
            await ben.command("move", url=daemon.url)
            assert (await ben.first("connect", 2))["recovered"]
            proxy.restore()
            assert ben.seqs(kept) == sent
            assert [one["sessionId"] for one in ben.events("session:removed")] == [lost]
            await tea.say(1, lost)
            await ben.has(kept, [*sent, *await tea.say(1, kept)])
            assert ben.seqs(lost) == gone
            answer = await ben.ask("session:join", {"sessionId": lost})
            assert answer["error"]["code"] == "not_a_member"
            await ben.leave()
