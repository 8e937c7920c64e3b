"""How psycopg's generators, which yield when they want their socket, wait in Trio."""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio_asyncio  # noqa: F401 - before psycopg, see driver.py

import psycopg  # isort: skip
from psycopg import waiting  # isort: skip
from psycopg.abc import PQGen  # isort: skip

T = TypeVar("T")


async def drive(gen: PQGen[T], fd: int) -> T:
    """Run a generator to its end and return its result.

    Raises:
        psycopg.OperationalError: the socket is gone.
    """
    try:
        wanted = next(gen)
        while True:
            if wanted & waiting.WAIT_W and _is_writable(fd):
                # Nearly always so, and a poll is cheaper than a round through the scheduler. What
                # can be read meanwhile is read when libpq has sent all it has.
                wanted = gen.send(waiting.READY_W)
            elif wanted & waiting.WAIT_W:
                wanted = gen.send(await _either(fd))
            else:
                await trio.lowlevel.wait_readable(fd)
                wanted = gen.send(waiting.READY_R)
    except StopIteration as end:
        value: T = end.value
        return value
    except OSError as error:
        msg = "the connection's socket is gone"
        raise psycopg.OperationalError(msg) from error


async def _either(fd: int) -> int:
    """Wait until a socket is readable or writable: the answer backs up while we still send."""
    ready = 0

    async def wait(condition: Callable[[int], Awaitable[None]], flag: int) -> None:
        nonlocal ready
        await condition(fd)
        ready |= flag
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, trio.lowlevel.wait_readable, waiting.READY_R)
        nursery.start_soon(wait, trio.lowlevel.wait_writable, waiting.READY_W)
    return ready


def _is_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
