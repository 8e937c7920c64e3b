"""A small pool of PostgreSQL connections for Trio tasks.

A call takes a connection, runs its statements, and gives the connection back, whatever happens
in between; each call has a deadline, its own or its caller's. Connections are opened when they are
needed and used last in, first out, so that those of a busy hour fall idle together. An idle
connection on which the server has said something is dropped before use: a restart of PostgreSQL is
not an error for anybody who comes after it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

import trio
import trio_asyncio  # before psycopg, see driver.py

from chatd.errors import StoreAmbiguous, StoreBug, StoreError, StoreUnavailable
from chatd.setting_types import Pooler
from chatd.store.driver import Connection, Ending
from chatd.store.sqlstates import STALE_PLAN, is_retried, meaning
from chatd.store.terms import Terms

import psycopg  # isort: skip

T = TypeVar("T")
Params = Mapping[str, Any]
Rows = list[tuple[Any, ...]]

TRIES = 4  # of a call: the first, and three retries of what left nothing behind
RETRY_PAUSE = 0.02  # seconds, times the try, with jitter: two that deadlocked part ways
PATIENCE = 1.0  # seconds that calls wait for a server that has just gone: a restart takes 0.1
CONNECT_PAUSE = 0.05  # seconds between attempts to connect while patient
END_TIMEOUT = 5.0  # seconds for COMMIT or ROLLBACK, which a cancelled caller waits for too

# A pid may have been given to another process: only to a connection of ours is goodbye said.
_TERMINATE = """
    SELECT pg_terminate_backend(pid, 1000)
    FROM pg_stat_activity
    WHERE pid = %(pid)s AND datname = current_database() AND usename = current_user
      AND application_name = current_setting('application_name')
"""


@dataclass(slots=True)
class _Attempt:
    """How far a call has come: what a lost connection leaves open."""

    connection: Connection | None = None
    is_committing: bool = False


class Transaction:
    """The statements of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def fetch(self, statement: LiteralString, params: Params | None = None) -> Rows:
        """Run a statement and return its rows."""
        return await self._connection.fetch(statement, params or {})

    async def script(self, statements: str) -> None:
        """Run several statements without parameters."""
        await self._connection.execute(statements.encode(), prepare=False)


class Pool:
    """Connections for any task of the run; made by `open_pool`."""

    def __init__(
        self, loop: trio_asyncio.TrioEventLoop, conninfo: str, *, size: int, terms: Terms
    ) -> None:
        self.size = size
        self._loop = loop
        self._conninfo = conninfo
        self._query_timeout = terms.statement_timeout
        self._terms = terms
        self._slots = trio.Semaphore(size, max_value=size)
        self._idle: list[Connection] = []
        self._is_closed = False
        self._patient_until: float | None = None
        self._lost: set[int] = set()

    @property
    def idle(self) -> int:
        """How many connections are open and unused."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many calls hold a connection or open one."""
        return self.size - self._slots.value

    @property
    def waiting(self) -> int:
        """How many calls wait for a connection."""
        return self._slots.statistics().tasks_waiting

    async def fetch(
        self,
        statement: LiteralString,
        params: Params | None = None,
        *,
        writes: bool = False,
        is_heavy: bool = False,
        is_bounded: bool = False,
    ) -> Rows:
        """Run one statement as its own transaction and return its rows as tuples.

        Args:
            statement: SQL with parameters `%(name)s`.
            params: their values.
            writes: whether a lost connection leaves open what happened.
            is_heavy: the server has milliseconds of work with it. See `Connection.fetch`.
            is_bounded: the caller has a deadline of its own, and is cancelled there.

        Raises:
            StoreRetryable, StoreUnavailable, StoreBug: nothing was stored.
            StoreAmbiguous: with `writes`, when the connection was lost.
        """
        if writes and not self._terms.has_session:
            return await self.transact(lambda transaction: transaction.fetch(statement, params))

        async def work(attempt: _Attempt, connection: Connection) -> Rows:
            attempt.is_committing = writes
            return await connection.fetch(statement, params or {}, is_heavy=is_heavy)

        return await self._call(work, is_bounded=is_bounded)

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction, again when it lost against another one.

        COMMIT is not cancelled half way: it has `END_TIMEOUT` of its own.

        Args:
            work: runs the statements; called once a try, so it starts from nothing each time.

        Raises:
            StoreRetryable, StoreUnavailable, StoreBug: nothing was stored.
            StoreAmbiguous: the connection was lost while COMMIT was under way.
        """

        async def in_transaction(attempt: _Attempt, connection: Connection) -> T:
            await connection.begin()
            result = await work(Transaction(connection))
            attempt.is_committing = True
            with trio.move_on_after(END_TIMEOUT, shield=True):
                ending = await connection.execute("COMMIT", prepare=False)
                if ending.statusmessage != "COMMIT":  # the transaction had failed: work hid it
                    raise StoreBug(f"COMMIT was answered with {ending.statusmessage}")
                return result
            raise StoreAmbiguous(f"no answer to COMMIT within {END_TIMEOUT} s")

        return await self._call(in_transaction)

    async def end_lost(self) -> None:
        """End the server's side of connections that were lost in the middle of a write.

        Afterwards what they were doing has either been committed or never will be: a statement
        that is still in the network's hands has nobody left to run it.

        Raises:
            StoreUnavailable: one of them is still there.
        """
        while self._lost:
            pid = next(iter(self._lost))
            for (has_ended,) in await self.fetch(_TERMINATE, {"pid": pid}):
                if not has_ended:
                    raise StoreUnavailable(f"process {pid} of a lost connection does not end")
            self._lost.discard(pid)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back. Does not wait."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().finish()

    async def _call(
        self,
        work: Callable[[_Attempt, Connection], Awaitable[T]],
        *,
        is_bounded: bool = False,
    ) -> T:
        attempt = _Attempt()
        try:
            if is_bounded:
                return await self._in_slot(work, attempt)
            with trio.move_on_after(self._query_timeout):
                return await self._in_slot(work, attempt)
            raise self._too_late(attempt)
        except StoreAmbiguous:
            if attempt.connection is not None:
                self._note_lost(attempt.connection)
            raise

    async def _in_slot(
        self, work: Callable[[_Attempt, Connection], Awaitable[T]], attempt: _Attempt
    ) -> T:
        await self._take_slot()
        try:
            return await self._try(work, attempt)
        finally:
            self._slots.release()

    async def _try(
        self, work: Callable[[_Attempt, Connection], Awaitable[T]], attempt: _Attempt
    ) -> T:
        number = 1
        while True:
            attempt.is_committing = False
            attempt.connection = connection = self._take_idle() or await self._connect()
            connection.forget()
            try:
                return await work(attempt, connection)
            except psycopg.Error as error:
                is_open = attempt.is_committing
                if number == TRIES or not is_retried(error, is_committing=is_open):
                    raise meaning(error, is_committing=is_open) from error
                if error.sqlstate == STALE_PLAN:
                    connection.finish()  # its other prepared statements are as old
            finally:
                if attempt.is_committing and connection.ending is Ending.UNKNOWN:
                    self._note_lost(connection)  # also when the caller has been cancelled
                if connection.is_in_transaction:
                    with trio.move_on_after(END_TIMEOUT, shield=True):
                        await connection.roll_back()
                self._give_back(connection)
            pause = RETRY_PAUSE * number * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
            await trio.sleep(pause)
            number += 1

    def _note_lost(self, connection: Connection) -> None:
        if self._terms.has_session:
            self._lost.add(connection.pid)

    def _too_late(self, attempt: _Attempt) -> StoreError:
        """Return what a call that ran out of time has come to."""
        text = f"no answer within {self._query_timeout} s"
        connection = attempt.connection
        if connection is None or not attempt.is_committing:
            return StoreUnavailable(text)
        is_undone = connection.ending is Ending.CANCELLED
        return StoreUnavailable(text) if is_undone else StoreAmbiguous(text)

    async def _take_slot(self) -> None:
        if self._is_closed:
            raise StoreUnavailable("the pool is closed")
        try:
            self._slots.acquire_nowait()  # without the scheduler's round: statements have theirs
        except trio.WouldBlock:
            await self._slots.acquire()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.finish()
        return None

    async def _connect(self) -> Connection:
        while True:
            try:
                connection = await Connection.open(self._loop, self._conninfo, self._terms)
            except psycopg.Error as error:
                now = trio.current_time()
                if self._patient_until is None:
                    self._patient_until = now + PATIENCE
                if now >= self._patient_until or self._terms.is_replica:
                    raise StoreUnavailable(str(error)) from error
                await trio.sleep(CONNECT_PAUSE)
            else:
                self._patient_until = None
                self._lost.discard(connection.pid)  # given again, so who had it is gone
                return connection

    def _give_back(self, connection: Connection) -> None:
        """Keep a connection for the next call if it is as good as new, or close it."""
        if self._is_closed or not connection.is_idle:
            connection.finish()
        else:
            self._idle.append(connection)


@asynccontextmanager
async def open_pool(
    conninfo: str,
    *,
    size: int = 8,
    query_timeout: float = 5.0,
    pooler: Pooler = "none",
    is_replica: bool = False,
) -> AsyncIterator[Pool]:
    """Open a pool for the length of the block; nothing is connected before the first call.

    Args:
        conninfo: a connection string or URL of libpq, TLS and several hosts included.
        size: connections at most.
        query_timeout: seconds for a call, from asking for a connection to the last row.
        pooler: what is between us and PostgreSQL.
        is_replica: nothing is written, and what is not answered at once is asked elsewhere.
    """
    terms = Terms(query_timeout, pooler, is_replica)
    failure: Exception | None = None
    async with trio_asyncio.open_loop() as loop:
        pool = Pool(loop, conninfo, size=size, terms=terms)
        try:
            yield pool
        except Exception as error:  # noqa: BLE001 - raised below, where the loop cannot wrap it
            failure = error
        finally:
            pool.close()
    if failure is not None:
        raise failure  # bare: trio-asyncio's two nurseries would make a group in a group of it
