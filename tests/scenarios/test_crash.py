"""Kill -9 of the daemon and of PostgreSQL under load: what was acknowledged is there, once.

The release run takes more rounds: `CRASH_ROUNDS=100 pytest tests/scenarios/test_crash.py`.
"""

from __future__ import annotations

import logging
import os
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import trio

from tests.scenarios.checker import Entry, check_history, check_stream
from tests.scenarios.daemon import Daemon, running_daemon, seconds_since
from tests.scenarios.talker import Json, Lost, Person, Talker, create_session, register, talking

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=INFO
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SERVES_AGAIN = 8.0  # seconds after a kill: the promise, five times what it takes
SLOW_START = 2.0  # plain starts that a restart may take where that is more
SOCKETS = 6  # two of each of three people
WINDOW = 8  # sends of one socket that wait for their ack at once
ACKS = (50, 300)  # of one round before the kill, somewhere between


class Load:
    """People who send without end, and what they were told."""

    def __init__(self, sessions: list[str], rng: random.Random) -> None:
        self.sessions = sessions
        self.sent: dict[str, dict[str, str]] = {session: {} for session in sessions}
        self.acked: dict[str, dict[str, Entry]] = {session: {} for session in sessions}
        self.unanswered: dict[str, dict[str, str]] = {}  # person -> key -> session
        self.retried = 0
        self.is_over = False
        self._rng = rng
        self._told = trio.Event()

    @property
    def acks(self) -> int:
        return sum(map(len, self.acked.values()))

    async def reaches(self, acks: int) -> None:
        while self.acks < acks:
            self._told = trio.Event()
            await self._told.wait()

    async def write(self, talker: Talker) -> None:
        """Send one after the other until told to stop, or the connection is lost."""
        try:
            while not self.is_over:
                await self.speak(talker)
        except Lost:
            return

    async def speak(self, talker: Talker) -> None:
        """Send one message that was not sent before, and wait for its ack."""
        session, key = self._rng.choice(self.sessions), uuid4().hex
        self.sent[session][key] = f"{talker.person.name} says {key}"
        self.unanswered.setdefault(talker.person.id, {})[key] = session
        await self._send(talker, session, key)

    async def retry(self, talker: Talker) -> None:
        """Send what this person has no answer for again, under the same keys."""
        for key, session in list(self.unanswered.get(talker.person.id, {}).items()):
            await self._send(talker, session, key)
            self.retried += 1

    async def _send(self, talker: Talker, session: str, key: str) -> None:
        answer = await talker.send(session, self.sent[session][key], key)
        del self.unanswered[talker.person.id][key]
        self.acked[session][key] = entry_of(answer["message"])
        self._told.set()

    async def run_until(self, talkers: list[Talker], strike: Callable[[], Awaitable[None]]) -> None:
        """Let everybody send, strike in the middle of it, and wait until all are done."""
        self.is_over = False
        async with trio.open_nursery() as nursery:
            for talker in talkers:
                for _ in range(WINDOW):
                    nursery.start_soon(self.write, talker)
            await self.reaches(self.acks + self._rng.randint(*ACKS))
            await trio.sleep(self._rng.uniform(0, 0.01))  # anywhere in a commit, not behind an ack
            await strike()
            self.is_over = True


def entry_of(message: Json) -> Entry:
    return Entry(message["clientMsgId"], message["seq"], message["content"])


@dataclass
class Story:
    """One data folder through all kills."""

    daemon: Daemon
    people: list[Person]
    load: Load
    verified: dict[str, int]  # session -> how far its history has been checked

    @asynccontextmanager
    async def talkers(self) -> AsyncIterator[list[Talker]]:
        """Hold the sockets, each joined to every session."""
        async with AsyncExitStack() as stack:
            talkers = []
            for number in range(SOCKETS):
                person = self.people[number % len(self.people)]
                talker = await stack.enter_async_context(talking(self.daemon, person))
                for session in self.load.sessions:
                    assert (await talker.join(session))["seq"] == self.verified[session]
                talkers.append(talker)
            yield talkers

    async def verify(self, talker: Talker) -> None:
        """Check what was stored above the last verified positions, and move them."""
        for session, after in self.verified.items():
            stored = [entry_of(message) for message in await talker.history(session, after)]
            acked = [entry for entry in self.load.acked[session].values() if entry.seq > after]
            assert check_history(stored, acked, self.load.sent[session], after=after) == []
            # Everything sent is answered by now: the acks alone are the whole history too.
            assert len(acked) == len(stored)
            self.verified[session] = stored[-1].seq if stored else after

    async def kill_daemon(self) -> float:
        """Return the seconds from the kill until the next daemon acknowledges a message."""
        killed = 0.0

        async def strike() -> None:
            nonlocal killed
            killed = time.monotonic()
            self.daemon.kill()

        async with self.talkers() as talkers:
            await self.load.run_until(talkers, strike)
        await trio.to_thread.run_sync(self.daemon.start)
        async with AsyncExitStack() as stack:
            talkers = [
                await stack.enter_async_context(talking(self.daemon, person))
                for person in self.people
            ]
            await self.load.speak(talkers[0])
            served = seconds_since(killed)
            for talker in talkers:
                await self.load.retry(talker)
            await self.verify(talkers[0])
        return served

    async def kill_postgres(self) -> float:
        """Return the seconds from the kill until a message sent after it is acknowledged."""
        served = 0.0

        async with self.talkers() as talkers:

            async def strike() -> None:
                nonlocal served
                killed = time.monotonic()
                self.daemon.kill_postgres()
                await self.load.speak(talkers[0])
                served = seconds_since(killed)

            before = dict(self.verified)
            await self.load.run_until(talkers, strike)
            await self.verify(talkers[0])
            for talker in talkers:
                for session, head in self.verified.items():
                    await talker.until(partial(has_reached, talker, session, head))
                    assert check_stream(talker.seqs(session), after=before[session]) == []
        return served


def has_reached(talker: Talker, session: str, head: int) -> bool:
    return (talker.seqs(session) or [head])[-1] >= head


async def test_every_acknowledged_message_is_there_once_after_kill_9(
    tmp_path: Path,
) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - spreads the kills, hides nothing
    rng = random.Random(seed)  # noqa: S311 - as above
    times: dict[str, list[float]] = {"daemon": [], "postgres": []}
    with (
        trio.fail_after(60 + 2 * SERVES_AGAIN * ROUNDS),  # a failure, not a promise
        running_daemon(tmp_path / "data") as daemon,
    ):
        # 8 s, unless the machine is so busy that even a first start takes half of that.
        patience = max(SERVES_AGAIN, SLOW_START * daemon.started_in)
        people = [await register(daemon, name) for name in ("ann", "bob", "cleo")]
        sessions = [await create_session(daemon, *people) for _ in range(3)]
        load = Load(sessions, rng)
        story = Story(daemon, people, load, dict.fromkeys(sessions, 0))
        for number in range(ROUNDS):
            kill = story.kill_daemon if number % 2 == 0 else story.kill_postgres
            times["daemon" if number % 2 == 0 else "postgres"].append(await kill())
            assert load.unanswered == {person.id: {} for person in people}
        await check_from_the_start(daemon, people[0], load)
    for victim, seconds in times.items():
        log.info("seconds until served after a kill of %s: %s", victim, sorted(seconds))
        # Of all rounds: one may meet with whatever else the machine has to do just then.
        assert not seconds or statistics.median(seconds) <= patience
    log.info("acknowledged %d, lost 0, retried %d, seed %d", load.acks, load.retried, seed)
    assert load.retried  # the kills did hit messages on their way


async def check_from_the_start(daemon: Daemon, person: Person, load: Load) -> None:
    """Check the whole history of every session against every ack of all rounds."""
    async with talking(daemon, person) as talker:
        for session in load.sessions:
            stored = [entry_of(message) for message in await talker.history(session, 0)]
            acked = load.acked[session].values()
            assert check_history(stored, acked, load.sent[session]) == []
            assert len(stored) == len(acked)
