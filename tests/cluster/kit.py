"""Several daemons in one process: one memory store, one Redis, a clock that runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import trio

from chatd.contract import Store
from chatd.nurseries.healing import Healing
from chatd.store.memory import MemoryStore
from chatd.testing.server import ChatServer, Person, open_chatd
from chatd.testing.socket import PersonSocket
from tests.redis_kit import RedisServer

PATIENCE = 20.0  # seconds: only a test that fails waits for so long
LOOK = 0.01  # seconds between two looks


class Group:
    """Some daemons, and people who may be at any of them."""

    def __init__(self, servers: Sequence[ChatServer]) -> None:
        self.servers = servers

    async def person(self, name: str) -> Person:
        """Return somebody with a new account."""
        return await self.servers[0].person(name)

    async def session(self, *people: Person, **wishes: Any) -> str:
        """Return the id of a session of these people."""
        return str(await self.servers[0].session(*people, **wishes))

    def at(self, node: int, person: Person) -> Person:
        """Return somebody as a client of one of the daemons."""
        return Person(self.servers[node], person.row)

    def cluster(self, node: int) -> Any:
        """Return what makes a daemon one of several."""
        cluster = self.servers[node].daemon.cluster
        assert cluster is not None
        return cluster


@asynccontextmanager
async def open_group(
    redis: RedisServer | str,
    *,
    count: int = 2,
    store: Store | None = None,
    known: int = 0,
    **settings: Any,
) -> AsyncIterator[Group]:
    """Run daemons that know each other, for the length of the block.

    Args:
        store: of daemons that run already, with their `redis_prefix`; `known` is their number.
    """
    url = redis if isinstance(redis, str) else redis.url
    chosen = {"redis_url": url, "redis_prefix": f"t{uuid4().hex}", **settings}
    shared = MemoryStore() if store is None else store
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(open_chatd(store=shared, **chosen))
            for _ in range(count)
        ]
        group = Group(servers)
        await until(
            lambda: all(len(group.cluster(n).nodes.tags) == known + count - 1 for n in range(count))
        )
        yield group


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so.

    Raises:
        trio.TooSlowError: it does not become so.
    """
    with trio.fail_after(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - several daemons and a Redis: there is no event for all
            await trio.sleep(LOOK)


async def healed(healing: Healing) -> None:
    """Heal, again while Redis is silent: it has half a second, and the machine may have none."""
    with trio.fail_after(PATIENCE):
        while not await healing.heal():  # noqa: ASYNC110 - as in `until`
            await trio.sleep(LOOK)


async def event(socket: PersonSocket, name: str, **fields: Any) -> dict[str, Any]:
    """Wait for an event with these fields and return its data.

    Raises:
        trio.TooSlowError: it does not come.
    """
    with trio.fail_after(PATIENCE):
        while True:
            data = await socket.event(name)
            if all(data.get(key) == value for key, value in fields.items()):
                return data
