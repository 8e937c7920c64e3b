"""One connection: psycopg's AsyncConnection, opened through trio-asyncio, waiting in Trio.

This is the only module that knows asyncio. psycopg speaks the protocol in generators that yield
when they want the socket; all that an `AsyncConnection` does with asyncio is to wait for it, in
one method, `wait`. Here opening a connection and cancelling a statement (they resolve names and
use sockets of their own, and they are rare) go through trio-asyncio; `wait`, which every statement
passes, waits with Trio itself. CPU time of `SELECT $1::int`, measured on one machine in one run:

    aio_as_trio per call                        670 µs
    a long-lived asyncio task per connection    630 µs
    the same, with a reader that stays          370 µs
    `wait` in Trio (this module)                 96 µs

because on the bridge each wait starts and ends a Trio task and passes the asyncio queue four times.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Self, TypeVar

import trio
import trio_asyncio  # before psycopg, which takes get_running_loop from asyncio at import
from trio_asyncio import aio_as_trio

from chatd.errors import StoreUnavailable
from chatd.store import arrays
from chatd.store.prepared import text_of
from chatd.store.terms import Terms
from chatd.store.waits import drive

import psycopg  # isort: skip
from psycopg import errors, generators, pq  # isort: skip
from psycopg.abc import PQGen  # isort: skip
from psycopg.abc import Transformer as Shape  # isort: skip
from psycopg.conninfo import conninfo_to_dict, make_conninfo  # isort: skip
from psycopg.adapt import Transformer  # isort: skip
from psycopg.pq import Format  # isort: skip
from psycopg.rows import TupleRow  # isort: skip

T = TypeVar("T")

CANCEL_TIMEOUT = 2.0  # seconds to cancel a statement on the server; then the connection is closed
CONNECT_TIMEOUT = 5  # seconds; libpq takes whole ones, at least 2
TCP_USER_TIMEOUT = 10_000  # ms; without it a cut link went unnoticed for more than 45 s
MAX_PLANS = 300  # of a connection: twice what all statements with all types of theirs come to

UNKNOWN_POOLER = (
    "there is a pooler or proxy between chatd and PostgreSQL: set database_pooler to transaction "
    "or session, whichever its pool_mode is"
)

_DEFAULTS: dict[str, str | int] = {
    "application_name": "chatd",
    "connect_timeout": CONNECT_TIMEOUT,
    "tcp_user_timeout": TCP_USER_TIMEOUT,
}


class Ending(Enum):
    """What a cancelled statement came to on the server."""

    CANCELLED = "cancelled"  # it has done nothing
    COMPLETED = "completed"  # the cancel came too late
    UNKNOWN = "unknown"  # the connection had to be closed


class Connection(psycopg.AsyncConnection[TupleRow]):
    """A connection for one task at a time.

    Cancelling a statement, at any checkpoint, cancels it on the server and drains the answer, for
    at most `CANCEL_TIMEOUT`; then the connection is usable, or it is closed.

    Attributes:
        ending: how the last statement that was cancelled ended.
        pid: the server's process of this connection; 0 where each transaction has another one.
        loop: where psycopg's asyncio runs.
        ear: tells whether the server has said something.
        plans: names of what is prepared, by statement and types.
        prepared: how many names were given.
        shape: turns parameters and rows into bytes and back.
        terms: those of its pool.
    """

    ear: select.poll
    terms: Terms
    plans: dict[tuple[str, tuple[int, ...]], bytes]
    prepared: int
    shape: Shape
    ending: Ending | None = None
    pid: int = 0
    loop: trio_asyncio.TrioEventLoop | None = None

    @classmethod
    async def open(cls, loop: trio_asyncio.TrioEventLoop, conninfo: str, terms: Terms) -> Self:
        """Connect and set what all statements rely on; autocommit.

        Args:
            loop: where psycopg's asyncio runs.
            conninfo: a connection string or URL of libpq.
            terms: what is between us and the server.

        Raises:
            StoreUnavailable: there is a pooler of which the terms know nothing.
        """
        connect = aio_as_trio(cls.connect, loop=loop)
        # What is to be prepared is so by `fetch`; psycopg would forget all of it with a DROP.
        connection: Self = await connect(
            with_defaults(conninfo), autocommit=True, prepare_threshold=None
        )
        arrays.register(connection)
        connection.shape = Transformer(connection)
        connection.terms = terms
        connection.plans = {}
        connection.prepared = 0
        connection.loop = loop
        connection.ear = select.poll()
        connection.ear.register(connection.pgconn.socket, select.POLLIN)
        if terms.has_session:
            try:
                await connection._introduce()
            except BaseException:
                connection.finish()
                raise
        return connection

    async def _introduce(self) -> None:
        """Tell the session what all statements rely on, and learn who it is."""
        answer = await (await self.execute(self.terms.first, prepare=False)).fetchone()
        assert answer is not None  # noqa: S101 - a SELECT without FROM
        self.pid = answer[0]
        # A pooler gives each client a number of its own, to be named in requests to cancel.
        if self.terms.pooler == "none" and self.pid != self.pgconn.backend_pid:
            raise StoreUnavailable(UNKNOWN_POOLER)

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 0.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's signature
    ) -> T:
        """Run a generator of psycopg to its end, in Trio. Deadlines are the caller's scopes."""
        del interval, timeout
        try:
            return await drive(gen, self.pgconn.socket)
        except (trio.Cancelled, KeyboardInterrupt):
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.ending = Ending.UNKNOWN
                if self.terms.is_replica:
                    self.finish()  # a reader's: the server ends it at its own time-out
                    raise
                with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
                    await self._end_statement(gen)
                if self.ending is Ending.UNKNOWN:
                    self.finish()
            raise

    async def _end_statement(self, gen: PQGen[Any]) -> None:
        try:
            await aio_as_trio(self.cancel_safe, loop=self.loop)(timeout=CANCEL_TIMEOUT)
            await drive(gen, self.pgconn.socket)
            self.ending = Ending.COMPLETED
        except errors.QueryCanceled:
            self.ending = Ending.CANCELLED
        except psycopg.Error:
            # Lost on the way, or an answer that a cancelled caller does not want to hear.
            self.ending = Ending.UNKNOWN

    async def begin(self) -> None:
        """Begin a transaction."""
        await self.execute(self.terms.begin, prepare=False)

    async def roll_back(self) -> None:
        """End a transaction without a trace; a connection that cannot is closed."""
        try:
            await self.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            self.finish()  # the server rolls back what has no client

    async def fetch(
        self, statement: str, params: Mapping[str, Any], *, is_heavy: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run a statement with parameters `%(name)s`, prepared if it can be; return its rows.

        A heavy one is sent by a thread. Where the server shares our cores it begins to work where
        the sender was, and whoever that is waits for a slice of time, some 3 ms.
        """
        text = text_of(statement)
        shape = self.shape
        values = shape.dump_sequence(text.values(params), text.formats)
        types, formats = shape.types or (), shape.formats
        if self.terms.has_session:
            name = self.plans.get((statement, types))
            if name is None:
                name = await self._prepare(statement, text.sql, types)
            send: Callable[..., None] = self.pgconn.send_query_prepared
            query: tuple[Any, ...] = (name, values, formats, Format.BINARY)
        else:
            send = self.pgconn.send_query_params
            query = (text.sql, values, types, formats, Format.BINARY)
        if is_heavy:
            await trio.to_thread.run_sync(send, *query)
        else:
            send(*query)
        result = await self.wait(self._answer())
        if result.status != pq.ExecStatus.TUPLES_OK:
            return []  # a statement without rows, such as SET
        shape.set_pgresult(result, set_loaders=True, format=Format.BINARY)
        rows: list[tuple[Any, ...]] = shape.load_rows(0, result.ntuples, tuple)
        shape.set_pgresult(None)  # or the result would stay until the next call
        return rows

    async def _prepare(self, statement: str, sql: bytes, types: tuple[int, ...]) -> bytes:
        if len(self.plans) >= MAX_PLANS:
            self.plans.clear()
            await self.execute("DEALLOCATE ALL", prepare=False)
        self.prepared += 1  # also when this is cancelled: the server may have the name already
        name = b"chatd_%d" % self.prepared
        self.pgconn.send_prepare(name, sql, types)
        await self.wait(self._answer())
        self.plans[statement, types] = name
        return name

    def _answer(self) -> PQGen[pq.abc.PGresult]:
        """Send what is to be sent and return the answer; `wait` runs this.

        Raises:
            psycopg.Error: the server's refusal, also for `_end_statement`, which learns by it.
        """
        results: list[pq.abc.PGresult] = yield from generators.execute(self.pgconn)
        result = results[-1]
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
        return result

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and outside a transaction."""
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    @property
    def is_in_transaction(self) -> bool:
        """Whether there is an open or failed transaction that can be rolled back."""
        return self.pgconn.transaction_status in {
            pq.TransactionStatus.INTRANS,
            pq.TransactionStatus.INERROR,
        }

    def is_quiet(self) -> bool:
        """Tell whether an idle connection is as it was left: the server has said nothing since."""
        return self.is_idle and not self.ear.poll(0)

    def forget(self) -> None:
        """Begin a new call: how the statements of the last one ended is not its business."""
        self.ending = None

    def finish(self) -> None:
        """Close at once. Does not wait."""
        self.pgconn.finish()


def with_defaults(conninfo: str) -> str:
    """Return a conninfo or URL with our time-outs and name where it has none of its own."""
    given = conninfo_to_dict(conninfo)
    return make_conninfo(conninfo, **{k: v for k, v in _DEFAULTS.items() if k not in given})
