"""PostgreSQL: where it is comes from PGHOST, PGUSER and PGDATABASE."""

# Its packages are installed in its own environment only.
# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
from typing import Any, LiteralString, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

POOL_SIZE = int(os.environ.get("POOL_SIZE", "8"))
Pool: TypeAlias = "AsyncConnectionPool[AsyncConnection[DictRow]]"


async def _prepare_all(connection: AsyncConnection[DictRow]) -> None:
    """Let every statement be prepared on its second use, as the other peer's named ones are."""
    connection.prepare_threshold = 1
    await connection.set_autocommit(True)  # a single statement needs no BEGIN and COMMIT around it


def make_pool() -> Pool:
    """Return a pool that is not open yet: that needs a running loop."""
    return AsyncConnectionPool(
        "",
        min_size=POOL_SIZE,
        max_size=POOL_SIZE,
        open=False,
        configure=_prepare_all,
        kwargs={"row_factory": dict_row},
    )


async def fetch(pool: Pool, statement: LiteralString, values: dict[str, Any]) -> list[DictRow]:
    """Run one statement, committed when this returns, and return its rows."""
    async with pool.connection() as connection:
        cursor = await connection.execute(statement, values)
        return await cursor.fetchall()
