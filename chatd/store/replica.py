"""The store with a read replica beside it: history, lists and search, when it may answer them.

It may when what it shows is at most `max_lag` seconds old, when the user has not written since, and
when what it says is not behind what anybody has been told by this daemon. Everything else, and
whatever the replica does not answer, the primary answers: nobody hears of the replica's troubles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import structlog
import trio

from chatd.errors import StoreError, StoreRetryable, StoreUnavailable
from chatd.keyring import Keyring
from chatd.rows import (
    FoundUser,
    HistoryPage,
    MemberRow,
    MessageRow,
    SessionListRow,
)
from chatd.store.marking import PROFILES, MarkingStore
from chatd.store.pool import Pool
from chatd.store.postgres import PostgresStore

T = TypeVar("T")

REST = 5.0  # seconds that a replica is left alone which did not answer
OUTCOMES = ("replica", "written", "behind", "lagging", "resting", "failed")

# Positions in the log are numbers of bytes. The epoch tells one database from another.
_PRIMARY = """
    SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, value
    FROM settings WHERE name = 'epoch'
"""
_REPLICA = """
    SELECT coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint, value
    FROM settings WHERE name = 'epoch' AND pg_is_in_recovery()  -- one that was promoted is none
"""

log = structlog.get_logger("chatd.replica")


class ReplicatedStore(MarkingStore):
    """A PostgresStore, some reads of which a replica answers.

    Attributes:
        is_attended: set by who marks what it tells and writes; the replica is not read before.
        reads: how many there were, by OUTCOMES: answered by the replica, or by the primary because
            the user had just written, the replica was behind what is known, too old, left alone
            after a failure, or failed now.
    """

    def __init__(
        self, pool: Pool, replica: Pool, keyring: Keyring | None = None, *, max_lag: float
    ) -> None:
        super().__init__(pool, keyring)
        self.is_attended = trio.Event()
        self.reads: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._replica_pool = replica
        self._replica = PostgresStore(replica, contents=self._contents)
        self._max_lag = max_lag
        self._rests_until = 0.0

    async def look(self) -> None:
        """Compare both databases, and drop the marks of what the replica shows by now.

        Raises:
            StoreError: one of them does not answer, or the other is no replica of the one.
        """
        self.freshness.close(trio.current_time())
        [(position, epoch)] = await self._pool.fetch(_PRIMARY)
        self.freshness.covered(position)
        try:
            rows = await self._replica_pool.fetch(_REPLICA)
            if [its_epoch for _, its_epoch in rows] != [epoch]:
                raise StoreUnavailable("database_replica_url is no standby of database_url")
        except StoreError:
            self._rest()
            raise
        self.freshness.replayed(rows[0][0])

    def lag(self) -> float:
        """Return how many seconds old what the replica shows may be; infinite if nobody knows."""
        return self.freshness.lag(trio.current_time())

    def _rest(self) -> None:
        self._rests_until = trio.current_time() + REST

    async def _asked(
        self, read: Awaitable[T], may_be_told: Callable[[T], bool], *, is_patient: bool = False
    ) -> T | None:
        """Return the replica's answer if it is one and may be told, None otherwise.

        Args:
            read: asks the replica.
            is_patient: that it takes too long does not mean that the replica is not well.
        """
        try:
            answer = await read
        except StoreRetryable as trouble:  # such as a conflict with what it replays
            log.info("replica", error=str(trouble))
        except StoreError as trouble:
            log.warning("replica", error=str(trouble))
            if not is_patient:
                self._rest()
        else:
            is_told = may_be_told(answer)
            self.reads["replica" if is_told else "behind"] += 1
            return answer if is_told else None
        self.reads["failed"] += 1
        return None

    def _may_ask(self, *, is_written: bool = False, is_behind: bool = False) -> bool:
        """Return whether the replica may be asked; counts why it may not."""
        now = trio.current_time()
        if is_written:
            reason = "written"
        elif is_behind:
            reason = "behind"
        elif now < self._rests_until:
            reason = "resting"
        elif self.freshness.lag(now) > self._max_lag:
            reason = "lagging"
        else:
            return True
        self.reads[reason] += 1
        return False

    # What the replica answers

    async def history(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_id: UUID | None = None,
        limit: int = 50,
    ) -> HistoryPage | None:
        """Return a page by keyset; the replica's when it has reached all positions that are known.

        Who was removed is one: it took a `seq`.
        """
        shown = max(before_seq or 0, after_seq or 0)

        async def read(store: PostgresStore) -> HistoryPage | None:
            return await PostgresStore.history(
                store,
                session_id,
                user_id,
                before_seq=before_seq,
                after_seq=after_seq,
                around_id=around_id,
                limit=limit,
            )

        def may_be_told(page: HistoryPage | None) -> bool:
            if page is None or page.seq < max(shown, self.freshness.head(session_id)):
                return False
            return around_id is None or any(row.id == around_id for row in page.messages)

        page = None
        if self._may_ask(is_written=self.freshness.is_writer(user_id)):
            page = await self._asked(read(self._replica), may_be_told)
        if page is None:
            page = await read(self)
            if page is not None:
                self.freshness.saw(session_id, page.seq)
        return page

    async def list_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SessionListRow]:
        """Return the sessions of a user, latest activity first."""
        head = self.freshness.head

        def may_be_told(rows: list[SessionListRow]) -> bool:
            return all(row.session.seq >= head(row.session.id) for row in rows)

        rows = None
        if self._may_ask(is_written=self.freshness.is_writer(user_id)):
            reading = self._replica.list_sessions(user_id, before=before, limit=limit)
            rows = await self._asked(reading, may_be_told)
        if rows is None:
            rows = await super().list_sessions(user_id, before=before, limit=limit)
            for row in rows:
                self.freshness.saw(row.session.id, row.session.seq)
        return rows

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id."""

        def may_be_told(rows: list[MemberRow]) -> bool:
            # The rows do not say how old they are. None at all: the session may be too new for it,
            # for what has no event yet is not marked.
            return bool(rows) and not self.freshness.is_marked(session_id)

        is_written = self.freshness.is_writer(PROFILES)
        if self._may_ask(is_written=is_written, is_behind=self.freshness.is_marked(session_id)):
            reading = self._replica.members(session_id, after=after, limit=limit)
            rows = await self._asked(reading, may_be_told)
            if rows is not None:
                return rows
        return await super().members(session_id, after=after, limit=limit)

    async def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text."""
        if self._may_ask(is_written=self.freshness.is_writer(PROFILES)):
            reading = self._replica.find_users(query, after=after, limit=limit)
            rows = await self._asked(reading, lambda _: True)
            if rows is not None:
                return rows
        return await super().find_users(query, after=after, limit=limit)

    async def search(
        self,
        user_id: UUID,
        query: str,
        *,
        session_id: UUID | None = None,
        sender_id: UUID | None = None,
        since: datetime | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int,
    ) -> list[MessageRow]:
        """Return messages that hold all words of a query, newest first.

        What the replica finds in a session that has changed since is not told: it may be deleted,
        or not be the caller's any more.
        """

        async def read(store: PostgresStore) -> list[MessageRow]:
            return await PostgresStore.search(
                store,
                user_id,
                query,
                session_id=session_id,
                sender_id=sender_id,
                since=since,
                before=before,
                limit=limit,
            )

        is_marked = self.freshness.is_marked

        def may_be_told(rows: list[MessageRow]) -> bool:
            return not any(map(is_marked, {row.session_id for row in rows}))

        is_written = self.freshness.is_writer(user_id)
        is_behind = session_id is not None and is_marked(session_id)
        if self._may_ask(is_written=is_written, is_behind=is_behind):
            rows = await self._asked(read(self._replica), may_be_told, is_patient=True)
            if rows is not None:
                return rows
        return await read(self)
