"""A store over a real primary and its streaming replica, for tests that make the replica lag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chatd.rows import NewMessage
from chatd.store.replica import ReplicatedStore
from tests.databases import PostgresServer, catch_up

MAX_LAG = 60.0  # seconds; these tests take less


class Pair:
    """The store, which compares its two servers when a test says so."""

    def __init__(
        self, store: ReplicatedStore, primary: PostgresServer, replica: PostgresServer
    ) -> None:
        self.store = store
        self.primary = primary
        self.replica = replica

    async def settle(self) -> None:
        """Let the replica catch up, and the store know."""
        await self.store.look()
        catch_up(self.primary, self.replica)
        await self.store.look()

    @contextmanager
    def answers(self, outcome: str) -> Iterator[None]:
        """Prove that all reads of the block, and at least one, had this outcome."""
        before = Counter(self.store.reads)
        yield
        assert set(self.store.reads - before) == {outcome}

    async def write(self, message: NewMessage) -> int:
        """Store a message as a daemon does, which marks the event and the sender; return `seq`."""
        [result] = await self.store.append_messages([message])
        assert result.row is not None
        self.store.freshness.saw(message.session_id, result.row.seq)
        self.store.freshness.wrote(message.sender_id)
        return result.row.seq
