"""Numbered SQL files, each applied once, in order, in a transaction of its own.

`settings` remembers the number of the last one. Daemons that start at once take turns by an
advisory lock that ends with the transaction, so a daemon that dies half way leaves nothing behind.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from typing import NamedTuple

from chatd.errors import StoreError
from chatd.setting_types import Pooler
from chatd.store.pool import Pool, Transaction, open_pool

LOCK = 0x63686174  # "chat": any number that no other program on the database takes
TIMEOUT = 600.0  # seconds for one migration, and for the turn of another daemon before it

_HAS_SETTINGS = "SELECT to_regclass('settings') IS NOT NULL"
_VERSION = "SELECT value::int FROM settings WHERE name = 'schema_version'"
_SET_VERSION = """
    UPDATE settings SET value = %(version)s::text WHERE name = 'schema_version'
"""
_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"


class SchemaTooNew(StoreError):
    """The database was made by a newer chatd; this one does not know how to keep it right."""


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    statements: str


@functools.cache
def migrations() -> tuple[Migration, ...]:
    """Return all steps in order; their numbers are 1, 2, 3 and so on."""
    found = []
    for entry in files("chatd.store.migrations").iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", entry.name)
        if match is not None:
            found.append(Migration(int(match[1]), entry.name, entry.read_text("utf-8")))
    return tuple(sorted(found))


async def schema_version(pool: Pool) -> int:
    """Return the number of the last migration that was applied, 0 for an empty database."""
    return await pool.transact(_read_version)


async def migrate(conninfo: str, pooler: Pooler = "none") -> int:
    """Bring the database to this code's schema and return how many steps that took.

    Raises:
        SchemaTooNew: the database is ahead of this code; nothing was changed.
    """
    newest = migrations()[-1].number
    applied = 0
    async with open_pool(conninfo, size=1, query_timeout=TIMEOUT, pooler=pooler) as pool:
        for step in migrations():
            apply = functools.partial(_apply, step=step, newest=newest)
            applied += await pool.transact(apply)
    return applied


async def _apply(transaction: Transaction, step: Migration, newest: int) -> bool:
    """Apply a step unless it is there; return whether it was done now."""
    await transaction.fetch(_LOCK, {"lock": LOCK})
    version = await _read_version(transaction)
    if version > newest:
        msg = f"the database has schema {version}, this chatd knows {newest}: update chatd"
        raise SchemaTooNew(msg)
    if version >= step.number:
        return False
    await transaction.script(step.statements)
    await transaction.fetch(_SET_VERSION, {"version": step.number})
    return True


async def _read_version(transaction: Transaction) -> int:
    [(has_settings,)] = await transaction.fetch(_HAS_SETTINGS)
    if not has_settings:
        return 0
    [(version,)] = await transaction.fetch(_VERSION)
    return int(version)
