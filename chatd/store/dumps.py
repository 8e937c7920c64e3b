"""What a backup and a restore ask of the database itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import trio_asyncio  # noqa: F401 - before psycopg, see driver.py

from chatd.store.ai import INTERRUPT
from chatd.store.arrays import Texts
from chatd.store.migrate import schema_version
from chatd.store.pool import Pool, Transaction, open_pool

from psycopg.conninfo import conninfo_to_dict, make_conninfo  # isort: skip

PATIENCE = 60.0  # seconds for one of these statements: they wait for a migration at most

_TABLES = """
    SELECT count(*) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
"""

_NEW_EPOCH = """
    UPDATE settings SET value = gen_random_uuid()::text WHERE name = 'epoch' RETURNING value
"""

# As 0007_search.sql chooses it.
_COLLATION = """
    SELECT coalesce(
        (
            SELECT 'pg_catalog.' || quote_ident(collname) FROM pg_collation
            WHERE collname IN ('pg_c_utf8', 'und-x-icu')
                AND collnamespace = 'pg_catalog'::regnamespace
            ORDER BY collname LIMIT 1
        ),
        'pg_catalog."default"'
    )
"""

_KNOWN = """
    SELECT key FROM files WHERE key = ANY(%(keys)s::text[])
"""


class ConnInfo(NamedTuple):
    """Where a database is; `shown` may stand in a command, which other users can read."""

    shown: str
    password: str | None


def without_password(conninfo: str) -> ConnInfo:
    """Return a connection string or URL of libpq, its password apart."""
    parts = conninfo_to_dict(conninfo)
    password = parts.pop("password", None)
    return ConnInfo(make_conninfo("", **parts), None if password is None else str(password))


async def tables_in(conninfo: str) -> int:
    """Return how many tables and views are in the database, whosever they are.

    Raises:
        StoreUnavailable: it cannot be reached.
    """
    async with open_pool(conninfo, size=1, query_timeout=PATIENCE) as pool:
        [(count,)] = await pool.fetch(_TABLES)
        return int(count)


async def version_in(conninfo: str) -> int:
    """Return the version of the schema in the database, 0 for one without.

    Raises:
        StoreUnavailable: it cannot be reached.
    """
    async with open_pool(conninfo, size=1, query_timeout=PATIENCE) as pool:
        return await schema_version(pool)


async def collation_in(conninfo: str) -> str:
    """Return the collation of the server by which search compares, as SQL."""
    async with open_pool(conninfo, size=1, query_timeout=PATIENCE) as pool:
        [(name,)] = await pool.fetch(_COLLATION)
        return str(name)


async def begin_history(conninfo: str) -> UUID:
    """Give a log that was restored a new epoch, and end the answers that were under way.

    Positions of before may lie ahead of what was restored, so none of them is worth anything.

    Returns:
        The new epoch.
    """

    async def work(transaction: Transaction) -> UUID:
        await transaction.fetch(INTERRUPT, {"living": Texts([])})
        [(epoch,)] = await transaction.fetch(_NEW_EPOCH)
        return UUID(epoch)

    async with open_pool(conninfo, size=1, query_timeout=PATIENCE) as pool:
        return await pool.transact(work)


async def known_files(pool: Pool, keys: Sequence[str]) -> set[str]:
    """Return those of the keys that a row of `files` has."""
    return {key for (key,) in await pool.fetch(_KNOWN, {"keys": list(keys)})}
