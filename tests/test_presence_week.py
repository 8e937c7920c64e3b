"""A week of presence for twenty devices, on a mock clock: who hears OFFLINE or AWAY, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from chatd.nurseries.presence_user import TELL_INTERVAL
from chatd.testing import ChatServer, Heard, Link, Person, PersonSocket, open_chatd

WEEK = 7 * 86_400.0
GRACE = 15.0
IDLE = 300.0
LATENCY = 0.2  # seconds, at most, from a device to the server
ROUNDING = 1e-6  # of seconds on a float clock
SETTINGS: dict[str, Any] = {
    "presence_grace": GRACE,
    "idle_after": IDLE,
    "access_token_ttl": 2 * WEEK,  # nobody renews a token here
    "ping_interval": 7200.0,  # a half-open link is found out about within two hours
    "presence_scope": "shared",  # all share a session; accounts are not counted every minute
    "position_interval": 86_400.0,  # nobody joins a room, and looking into none takes time
    "max_sockets_per_user": 100,  # those that the server has not found out about count
}
DEVICES = [3, 3, 3, 3, 2, 2, 2, 2]  # of eight people


@dataclass
class Presence:
    """When a device was there, as the device saw it; `math.inf` while it is."""

    since: float
    until: float = float("inf")
    is_logout: bool = False
    active_at: list[float] = field(default_factory=list)  # when it asked for something
    said: list[tuple[float, str]] = field(default_factory=list)  # its status:set

    def may_be_away(self, at: float) -> bool:
        """Return whether this device may be AWAY for the server at a time, and why not."""
        unsure = at - 2 * LATENCY  # what came later may not have been there yet
        last = max(each for each in [self.since, *self.active_at] if each <= unsure)
        before = [status for when, status in self.said if when <= unsure]
        lately = [status for when, status in self.said if unsure < when <= at]
        is_idle = last <= at - IDLE + 2 * LATENCY  # it was there before it knew that it was
        return is_idle or before[-1:] == ["AWAY"] or "AWAY" in lately


@dataclass
class Week:
    """What was done, and what was heard of it on each connection."""

    presences: dict[str, list[Presence]] = field(default_factory=lambda: defaultdict(list))
    heard: list[list[Heard]] = field(default_factory=list)

    def stories(self) -> Iterator[tuple[str, list[tuple[float, str]]]]:
        """Return for each connection what it heard of each user: when, and which status."""
        for connection in self.heard:
            stories: dict[str, list[tuple[float, str]]] = defaultdict(list)
            for heard in connection:
                stories[heard.data["userId"]].append((heard.at, heard.data["status"]))
            yield from stories.items()


def some_time(rng: Random) -> float:
    """Return seconds: a moment, around the grace, minutes, or hours."""
    low, high = rng.choices([(0.1, 3), (14, 16.5), (60, 3600), (3600, 40_000)], (2, 2, 1, 6))[0]
    return rng.uniform(low, high)


async def be_there(socket: PersonSocket, presence: Presence, rng: Random, until: float) -> None:
    """Do something now and then, or change the status, until it is time to go."""
    while (pause := some_time(rng)) < until - trio.current_time():
        await trio.sleep(pause)
        status = rng.choice(["ONLINE", "AWAY", "BUSY", None, None])
        if status is None:
            presence.active_at.append(trio.current_time())
            await socket.ask(rng.choice(["status:active", "session:list"]))
        else:
            if status != "AWAY":
                presence.active_at.append(trio.current_time())
            presence.said.append((trio.current_time(), status))
            await socket.ask("status:set", status=status)
    await trio.sleep_until(until)


async def live(server: ChatServer, person: Person, week: Week, rng: Random) -> None:
    """Be one device for a week: come, and go in one of three ways."""
    presences = week.presences[str(person.id)]
    await trio.sleep(rng.uniform(0, 3600))
    while trio.current_time() < WEEK:
        link = Link(latency=rng.uniform(0, LATENCY))
        async with person.connect(link, rng.choice(["ws", "socketio"])) as socket:
            presence = Presence(trio.current_time())
            presences.append(presence)
            await be_there(socket, presence, rng, min(trio.current_time() + some_time(rng), WEEK))
            week.heard.append(await socket.heard("user:status"))
            presence.until = trio.current_time()
            how = rng.choice(["clean", "half-open", "logout"])
            if how == "half-open":
                link.half_open_at = trio.current_time()
            elif how == "logout":
                presence.is_logout = True
                await server.rest("POST", "/auth/logout", token=socket.token)
        await trio.sleep(some_time(rng))


async def live_a_week(seed: int) -> Week:
    """Return what twenty devices of eight people did and heard."""
    week = Week()
    async with open_chatd(**SETTINGS) as server:
        people = [await server.person(f"person{number}") for number in range(len(DEVICES))]
        await server.session(*people)
        async with trio.open_nursery() as nursery:
            for person, devices in zip(people, DEVICES, strict=True):
                for device in range(devices):
                    rng = Random(f"{seed} {person.name} {device}")  # noqa: S311 - a test repeats
                    nursery.start_soon(live, server, person, week, rng)
    return week


def has_a_cause(at: float, presences: list[Presence]) -> bool:
    """Return whether a user of whom OFFLINE is heard then had gone, long enough before."""
    before = [presence for presence in presences if presence.since < at - LATENCY]
    last = max(before, key=lambda presence: presence.until)
    return last.until <= at - (0 if last.is_logout else GRACE) + ROUNDING


def is_idle_or_says_so(at: float, presences: list[Presence]) -> bool:
    """Return whether no device that the server had then was one that somebody used."""
    here = [each for each in presences if each.since < at - 2 * LATENCY and each.until > at]
    return all(each.may_be_away(at) for each in here)


@pytest.mark.parametrize("seed", [1])
async def test_in_a_week_every_offline_and_every_away_has_a_cause_and_nobody_flaps(
    autojump_clock: MockClock, seed: int
) -> None:
    week = await live_a_week(seed)
    told: set[str] = set()
    for user_id, story in week.stories():
        told |= {status for _, status in story}
        logouts = [p.until for p in week.presences[user_id] if p.is_logout]
        for at, status in story:
            if status == "OFFLINE":
                assert has_a_cause(at, week.presences[user_id]), (user_id, at)
            if status == "AWAY":
                assert is_idle_or_says_so(at, week.presences[user_id]), (user_id, at)
        for (before, _), (at, status) in pairwise(story):
            assert at - before >= TELL_INTERVAL - ROUNDING, (user_id, before, at)
            is_flap = status == "OFFLINE" and at - before < GRACE - ROUNDING
            assert not is_flap or any(before - LATENCY <= t <= at for t in logouts), (
                user_id,
                before,
                at,
            )
    assert told == {"ONLINE", "AWAY", "BUSY", "OFFLINE"}
    assert sum(map(len, week.presences.values())) > 400  # comings
