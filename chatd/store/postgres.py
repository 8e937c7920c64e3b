"""The store in PostgreSQL: all statements over one pool."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from chatd.keyring import Keyring
from chatd.store.ai import AiConversations
from chatd.store.ai_answers import AiAnswers
from chatd.store.ai_own import OwnAi
from chatd.store.ai_user import AiUser
from chatd.store.api_tokens import ApiTokens
from chatd.store.audit import Audit
from chatd.store.audit_chain import AuditChain
from chatd.store.bans import Bans
from chatd.store.changes import Changes
from chatd.store.contents import Contents
from chatd.store.encryption import Encryption
from chatd.store.erasure import Erasure
from chatd.store.files import Files
from chatd.store.invites import Invites
from chatd.store.mail import Mail
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
from chatd.store.second_factor import SecondFactors
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
    SecondFactors,
    ApiTokens,
    Mail,
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
    Encryption,
    AuditChain,
    AiConversations,
    AiAnswers,
    OwnAi,
    AiUser,
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

    def __init__(
        self, pool: Pool, keyring: Keyring | None = None, *, contents: Contents | None = None
    ) -> None:
        self._pool = pool
        self._contents = contents or Contents(keyring or Keyring())

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
