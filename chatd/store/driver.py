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
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, Self, TypeVar

import trio
import trio_asyncio  # before psycopg, which takes get_running_loop from asyncio at import
from trio_asyncio import aio_as_trio

from chatd.store import arrays
from chatd.store.prepared import text_of

import psycopg  # isort: skip
from psycopg import errors, generators, pq, waiting  # isort: skip
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
IDLE_IN_TRANSACTION = 10.0  # seconds; no statement of ours waits for anything inside one

_DEFAULTS: dict[str, str | int] = {
    "application_name": "chatd",
    "connect_timeout": CONNECT_TIMEOUT,
    "tcp_user_timeout": TCP_USER_TIMEOUT,
}

# The last ones: all statements read few rows by an index, in its order, and their plans are kept.
# Left to its statistics PostgreSQL keeps what was best for the empty tables of a young database (an
# append of one message took 7 ms at 13,000 messages instead of 1), sorts a session to find its
# newest page, and plans most statements again each time because it cannot see into a LIMIT.
_SETTINGS = """
    SELECT set_config(name, value, false) FROM (VALUES
        ('synchronous_commit', 'on'),
        ('timezone', 'UTC'),
        ('statement_timeout', %(statement_timeout)s),
        ('lock_timeout', %(lock_timeout)s),
        ('idle_in_transaction_session_timeout', %(idle_in_transaction)s),
        ('plan_cache_mode', 'force_generic_plan'),
        ('enable_seqscan', 'off'),
        ('enable_bitmapscan', 'off'),
        ('enable_hashjoin', 'off'),
        ('enable_mergejoin', 'off'),
        ('jit', 'off')
    ) AS s (name, value)
"""


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
        pid: the server's process of this connection.
        loop: where psycopg's asyncio runs.
        plans: names of what is prepared, by statement and types.
        prepared: how many names were given.
        shape: turns parameters and rows into bytes and back.
    """

    plans: dict[tuple[str, tuple[int, ...]], bytes]
    prepared: int
    shape: Shape
    ending: Ending | None = None
    pid: int = 0
    loop: trio_asyncio.TrioEventLoop | None = None

    @classmethod
    async def open(
        cls, loop: trio_asyncio.TrioEventLoop, conninfo: str, *, statement_timeout: float
    ) -> Self:
        """Connect and set what all statements rely on; autocommit.

        Args:
            loop: where psycopg's asyncio runs.
            conninfo: a connection string or URL of libpq.
            statement_timeout: seconds after which the server gives up by itself.
        """
        connect = aio_as_trio(cls.connect, loop=loop)
        # What is to be prepared is so by `fetch`; psycopg would forget all of it with a DROP.
        connection: Self = await connect(
            with_defaults(conninfo), autocommit=True, prepare_threshold=None
        )
        arrays.register(connection)
        connection.shape = Transformer(connection)
        connection.plans = {}
        connection.prepared = 0
        connection.loop = loop
        connection.pid = connection.pgconn.backend_pid
        try:
            await connection.execute(
                _SETTINGS,
                {
                    "statement_timeout": f"{statement_timeout:.3f}s",
                    "lock_timeout": f"{statement_timeout / 2:.3f}s",
                    "idle_in_transaction": f"{IDLE_IN_TRANSACTION}s",
                },
            )
        except BaseException:
            connection.finish()
            raise
        return connection

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 0.0,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's signature
    ) -> T:
        """Run a generator of psycopg to its end, in Trio. Deadlines are the caller's scopes."""
        del interval, timeout
        try:
            return await _drive(gen, self.pgconn.socket)
        except (trio.Cancelled, KeyboardInterrupt):
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.ending = Ending.UNKNOWN
                with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
                    await self._end_statement(gen)
                if self.ending is Ending.UNKNOWN:
                    self.finish()
            raise

    async def _end_statement(self, gen: PQGen[Any]) -> None:
        try:
            await aio_as_trio(self.cancel_safe, loop=self.loop)(timeout=CANCEL_TIMEOUT)
            await _drive(gen, self.pgconn.socket)
            self.ending = Ending.COMPLETED
        except errors.QueryCanceled:
            self.ending = Ending.CANCELLED
        except psycopg.Error:
            # Lost on the way, or an answer that a cancelled caller does not want to hear.
            self.ending = Ending.UNKNOWN

    async def roll_back(self) -> None:
        """End a transaction without a trace; a connection that cannot is closed."""
        try:
            await self.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            self.finish()  # the server rolls back what has no client

    async def fetch(self, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement with parameters `%(name)s`, prepared, and return its rows."""
        text = text_of(statement)
        shape = self.shape
        values = shape.dump_sequence(text.values(params), text.formats)
        types, formats = shape.types or (), shape.formats
        name = self.plans.get((statement, types))
        if name is None:
            name = await self._prepare(statement, text.sql, types)
        self.pgconn.send_query_prepared(name, values, formats, Format.BINARY)
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
        return self.is_idle and not _poll(self.pgconn.socket, select.POLLIN)

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


async def _drive(gen: PQGen[T], fd: int) -> T:
    try:
        wanted = next(gen)
        while True:
            if wanted & waiting.WAIT_W and _poll(fd, select.POLLOUT):
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


def _poll(fd: int, condition: int) -> bool:
    poll = select.poll()
    poll.register(fd, condition)
    return bool(poll.poll(0))
