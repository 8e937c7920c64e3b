"""Rates and delays after wrong passwords are those of the cluster, not of each daemon."""

from __future__ import annotations

from typing import Any

import trio

from chatd.ids import uuid7
from chatd.limits import Rate
from tests.cluster.kit import Group, open_group, until
from tests.redis_kit import RedisServer

RATE = Rate(per_second=1 / 60, burst=5)


def limiter(group: Group, node: int) -> Any:
    return group.servers[node].daemon.services.limiter


async def test_what_passes_at_one_daemon_is_owed_at_the_other(redis_server: RedisServer) -> None:
    async with open_group(redis_server, rate_limits="on") as group:
        key, other = ("ai", uuid7()), ("ai", uuid7())
        for _ in range(3):
            limiter(group, 0).check("user", key, RATE, trio.current_time())
        owed = 3 / RATE.per_second

        def is_owed() -> bool:
            arrival = limiter(group, 1)._tables.get("user", {}).get(key, 0.0)
            return bool(arrival - trio.current_time() > owed - 5)

        await until(is_owed)
        debt = limiter(group, 1).check("user", key, RATE, trio.current_time())
        assert debt > owed
        assert limiter(group, 1).check("user", other, RATE, trio.current_time()) < owed


async def test_what_is_given_back_at_one_daemon_is_owed_at_none(redis_server: RedisServer) -> None:
    rate = Rate(per_second=1 / 3600, burst=1)
    async with open_group(redis_server, rate_limits="on") as group:
        key = ("exported", uuid7())

        def is_owed() -> bool:
            arrival = limiter(group, 1)._tables.get("user", {}).get(key, 0.0)
            return bool(arrival > trio.current_time())

        limiter(group, 0).check("user", key, rate, trio.current_time())
        await until(is_owed)
        limiter(group, 0).give_back("user", key, rate)
        await until(lambda: not is_owed())
        for node in (0, 1):  # and of one that was told of neither, as both were within a telling
            limiter(group, node).check("user", key, rate, trio.current_time())
            limiter(group, node).give_back("user", key, rate)


async def test_a_wrong_password_at_one_daemon_delays_the_next_at_the_other(
    redis_server: RedisServer,
) -> None:
    async with open_group(redis_server, rate_limits="on") as group:
        target = ("password", "anna@example.org")

        def guess(node: int) -> Any:
            guesses = group.servers[node].daemon.services.guesses
            return guesses.begin(target, address="192.0.2.1", device=None, now=trio.current_time())

        for _ in range(3):
            with guess(0) as wrong:
                wrong.settle(trio.current_time(), fits=False)
            await until(lambda: _failures(group, 0) == _failures(group, 1))
            for node in (0, 1):
                _forgive_time(group, node)
        assert _failures(group, 1) == 3
        with guess(1) as right:
            right.settle(trio.current_time(), fits=True)
        await until(lambda: _failures(group, 0) == 0)


def _failures(group: Group, node: int) -> int:
    trails = group.servers[node].daemon.services.guesses._own
    return sum(trail.failures for trail in trails.values())


def _forgive_time(group: Group, node: int) -> None:
    """Let the delay pass, which is seconds."""
    guesses = group.servers[node].daemon.services.guesses
    for trail in (*guesses._own.values(), *guesses._shared.values()):
        trail.not_before = 0.0


async def test_without_other_daemons_nobody_is_told(redis_server: RedisServer) -> None:
    async with open_group(redis_server, count=1, rate_limits="on") as group:
        limits = group.cluster(0).limits
        limiter(group, 0).check("user", ("x",), RATE, trio.current_time())
        assert limits._passed == {}
