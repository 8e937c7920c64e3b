"""The store in PostgreSQL: all statements over one pool."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from chatd.store.audit import Audit
from chatd.store.bans import Bans
from chatd.store.changes import Changes
from chatd.store.erasure import Erasure
from chatd.store.files import Files
from chatd.store.invites import Invites
from chatd.store.members import Members
from chatd.store.messages import Messages
from chatd.store.own import Own
from chatd.store.pages import Pages
from chatd.store.people import People
from chatd.store.pins import Pins
from chatd.store.pool import Pool
from chatd.store.presence import Acquaintances
from chatd.store.reading import Reading
from chatd.store.recovery import Recoveries
from chatd.store.search import Search
from chatd.store.session_audit import SessionAudit
from chatd.store.sessions import Sessions
from chatd.store.settings import SessionSettings
from chatd.store.sign_in import SignIns
from chatd.store.tokens import Tokens
from chatd.store.users import Users

if TYPE_CHECKING:
    from chatd.contract import Store

_PING = "SELECT 1"
_EPOCH = "SELECT value FROM settings WHERE name = 'epoch'"


class PostgresStore(
    Users,
    Tokens,
    SignIns,
    Audit,
    People,
    Own,
    Erasure,
    Sessions,
    SessionSettings,
    Members,
    Bans,
    Invites,
    SessionAudit,
    Messages,
    Changes,
    Pins,
    Pages,
    Reading,
    Recoveries,
    Acquaintances,
    Search,
    Files,
):
    """The durable side of chatd.

    Example:
        ```python
        await migrate(conninfo)
        async with open_pool(conninfo, size=8, query_timeout=5) as pool:
            store = PostgresStore(pool)
        ```
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ping(self) -> None:
        """Return when PostgreSQL answers."""
        await self._pool.fetch(_PING)

    async def epoch(self) -> UUID:
        """Return the epoch of the log."""
        [(epoch,)] = await self._pool.fetch(_EPOCH)
        return UUID(epoch)


if TYPE_CHECKING:

    def _keeps_the_contract(store: PostgresStore) -> Store:
        return store
