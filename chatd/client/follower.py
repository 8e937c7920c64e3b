"""Sessions followed across disconnects: every durable change once, in `seq` order.

Each session has a position `{epoch, seq}`. A change at or below it was seen and is dropped, the
next one is handed on, and a hole is filled by joining again with `since`: late, doubled or lost
frames do no harm (protocol.md section 5).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Self
from uuid import uuid4

import trio

from chatd.client.connection import Connection
from chatd.client.errors import ClientError, ConnectionLost, JsonObject
from chatd.client.events import Event, Position
from chatd.client.nursery import open_private_nursery
from chatd.client.timeline import (
    Connected,
    Disconnected,
    Item,
    Joined,
    Removed,
    Signal,
    change_of,
    replay,
    told_positions,
)

BACKOFF_MIN = 0.5  # seconds
BACKOFF_MAX = 10.0  # seconds; also how long a connection must live to count as a good one
ITEMS = 1024  # unread items; then the connection is read no further, and later cut and recovered
RETRY_PAUSE = 0.5  # seconds before a message goes out again, when the server names no time

Connect = Callable[[], AbstractAsyncContextManager[Connection]]


class Follower:
    """What happens in the followed sessions, whatever the network does. Iterate over it.

    Items are `Change` (durable, once, in order), `Signal` (typing, presence, unread counts) and
    the notices `Connected`, `Disconnected`, `Joined` and `Removed`. The iteration ends by raising
    the `ClientError` after which coming back is pointless.
    """

    def __init__(self, connect: Connect, session_ids: Sequence[str]) -> None:
        self._connect = connect
        self._positions: dict[str, Position | None] = dict.fromkeys(session_ids)
        self._into, self._items = trio.open_memory_channel[Item](ITEMS)
        self._connection: Connection | None = None
        self._failure: ClientError | None = None
        self._turned = trio.Event()  # set, and replaced, when either of the two above changes
        self._one_at_a_time = trio.Lock()  # who moves positions
        self._send_order = trio.StrictFIFOLock()
        self._is_draining = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a live connection at this moment."""
        return self._connection is not None and self._connection.error is None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self._items.receive()
        except trio.EndOfChannel:
            raise self._failure or ConnectionLost("closed by the client") from None

    async def join(self, session_id: str) -> Joined:
        """Follow one more session and return its state; later changes come as items.

        Waits for a connection for as long as it takes: bound it with a cancel scope.

        Raises:
            ClientError: the server refused, or there will be no connection any more.
        """
        while True:
            connection = await self.connected()
            try:
                async with self._one_at_a_time:
                    joined = Joined.first(await connection.join(session_id))
                    self._positions[session_id] = joined.position
                    return joined
            except ClientError as error:
                await self._pause(error)

    async def leave(self, session_id: str) -> None:
        """Follow a session no longer."""
        async with self._one_at_a_time:
            self._positions.pop(session_id, None)
            if self._connection is not None:
                try:
                    await self._connection.leave(session_id)
                except ClientError as error:
                    if not error.retryable:
                        raise
                    # a lost connection has left all its sessions

    async def send(
        self, session_id: str, content: str, *, client_msg_id: str | None = None
    ) -> JsonObject:
        """Send a message, again and again under one clientMsgId, and return it as stored.

        Callers are served in their order. Waits for a connection for as long as it takes: bound
        it with a cancel scope.

        Raises:
            ClientError: the server refused it for good, or there will be no connection any more.
        """
        key = client_msg_id or str(uuid4())
        async with self._send_order:
            while True:
                connection = await self.connected()
                try:
                    return await connection.send(session_id, content, client_msg_id=key)
                except ClientError as error:
                    await self._pause(error)

    async def signal(self, event: str, data: JsonObject) -> bool:
        """Send what is worth nothing later (typing, read marks); return whether it arrived.

        Raises:
            ClientError: the server refused it for good.
        """
        if self._connection is None:
            return False
        try:
            await self._connection.request(event, data)
        except ClientError as error:
            if not error.retryable and not isinstance(error, ConnectionLost):
                raise
            return False
        return True

    async def connected(self) -> Connection:
        """Wait for a live connection and return it.

        Raises:
            ClientError: there will be none any more.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._connection is not None and self._connection.error is None:
                return self._connection
            await self._turned.wait()

    async def _pause(self, error: ClientError) -> None:
        """Wait until the same call may be tried again, or raise what ends it."""
        if self._failure is not None or (not error.retryable and not _is_loss(error)):
            raise self._failure or error
        await trio.sleep(error.retry_after or RETRY_PAUSE)

    def _turn(self, connection: Connection | None, failure: ClientError | None = None) -> None:
        self._connection, self._failure = connection, failure
        self._turned.set()
        self._turned = trio.Event()

    async def _run(self) -> None:
        """Connect, and come back until told to stay away."""
        attempt = 0
        with self._into:
            while True:
                started_at = trio.current_time()
                lost: ClientError = ConnectionLost("closed by the client")
                try:
                    async with self._connect() as connection:
                        await self._live(connection)
                except* ClientError as group:
                    lost = _first(group)
                if trio.current_time() - started_at > BACKOFF_MAX:
                    attempt = 0
                if not lost.retryable:
                    self._turn(None, lost)
                    return
                pause = _backoff(attempt, lost)
                attempt += 1
                await self._into.send(Disconnected(lost, retry_in=pause))
                await trio.sleep(pause)

    async def _live(self, connection: Connection) -> None:
        """Resume the sessions on a new connection and hand on what it brings, until it is lost."""
        await self._into.send(Connected(connection.ready))
        try:
            async with self._one_at_a_time:
                items = [
                    item
                    for key in tuple(self._positions)
                    for item in await self._resume(connection, key)
                ]
            self._turn(connection)
            await self._hand_on(items)
            async for event in connection.events():
                async with self._one_at_a_time:
                    is_beat = event.name == "session:heartbeat"
                    take = self._take_heartbeat if is_beat else self._take
                    items = await take(connection, event)
                # Outside the lock: whoever reads the items may be waiting in join().
                await self._hand_on(items)
        finally:
            self._turn(None)

    async def _hand_on(self, items: Sequence[Item]) -> None:
        for item in items:
            await self._into.send(item)

    async def _resume(self, connection: Connection, session_id: str) -> list[Item]:
        """Join a session where it was left; return what that brought."""
        since = self._positions[session_id]
        try:
            answer = await connection.join(session_id, since)
        except ClientError as error:
            if error.retryable:
                raise
            self._positions.pop(session_id, None)  # removed while we were away
            return [Removed(session_id, error.message)]
        joined, changes = replay(answer, since)
        self._positions[session_id] = joined.position
        return [joined, *changes]

    async def _take(self, connection: Connection, event: Event) -> list[Item]:
        """Return the items that one event comes to; moves positions."""
        change = change_of(event)
        if change is None:
            is_told = event.name == "connection:ready"  # as Connected
            return [] if is_told else [Signal(event.name, event.data)]
        if change.session_id not in self._positions:
            return []
        if event.name == "session:removed":
            del self._positions[change.session_id]
            return [Removed(change.session_id, str(event.data.get("reason", "")))]
        position = self._positions[change.session_id]
        if position is not None and change.seq <= position.seq:
            return []
        if position is None or change.seq > position.seq + 1:
            return await self._resume(connection, change.session_id)
        self._positions[change.session_id] = Position(position.epoch, change.seq)
        return [change]

    async def _take_heartbeat(self, connection: Connection, event: Event) -> list[Item]:
        """Join those sessions again of which the server has sent more than has arrived."""
        items: list[Item] = []
        for session_id, seq in told_positions(event).items():
            position = self._positions.get(session_id)
            if position is not None and position.seq < seq:
                items += await self._resume(connection, session_id)
        return items


@asynccontextmanager
async def open_follower(connect: Connect, session_ids: Sequence[str]) -> AsyncIterator[Follower]:
    """Run a follower for the length of the block. It connects in the background."""
    follower = Follower(connect, session_ids)
    async with open_private_nursery() as nursery:
        nursery.start_soon(follower._run)  # noqa: SLF001 - made for this function
        yield follower


def _backoff(attempt: int, lost: ClientError) -> float:
    """Return the seconds to stay away: longer each time, never the same for two clients."""
    ceiling = min(BACKOFF_MAX, BACKOFF_MIN * 2.0 ** (min(attempt, 10) + 1))
    jittered = random.uniform(BACKOFF_MIN, ceiling)  # noqa: S311 - spreads load, hides nothing
    return jittered + (lost.retry_after or 0.0)


def _is_loss(error: ClientError) -> bool:
    return isinstance(error, ConnectionLost)


def _first(group: BaseExceptionGroup[ClientError]) -> ClientError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
