"""What the layers promise each other: the store, written down once for PostgreSQL and its twin.

`chatd.store.postgres.PostgresStore` and `chatd.store.memory.MemoryStore` both keep this contract;
`tests/store/` proves it on both. Every method may raise `StoreRetryable`, `StoreUnavailable` or
`StoreBug`; only writers may raise `StoreAmbiguous`. Every method may be cancelled at any point:
a cancelled reader has done nothing, a cancelled writer may have committed.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatd.contract.accounts import AccountStore
from chatd.contract.ai import AiStore
from chatd.contract.api_tokens import ApiTokenStore
from chatd.contract.audit import AuditStore
from chatd.contract.bans import BanStore
from chatd.contract.encryption import EncryptionStore
from chatd.contract.erasure import ErasureStore
from chatd.contract.files import FileStore
from chatd.contract.invites import InviteStore
from chatd.contract.mail import MailStore
from chatd.contract.members import MemberStore
from chatd.contract.messages import MessageStore
from chatd.contract.own import OwnStore
from chatd.contract.people import PeopleStore
from chatd.contract.presence import PresenceStore
from chatd.contract.reading import ReadingStore
from chatd.contract.recovery import RecoveryStore
from chatd.contract.search import SearchStore
from chatd.contract.second_factor import SecondFactorStore
from chatd.contract.session_audit import SessionAuditStore
from chatd.contract.sessions import SessionStore
from chatd.contract.settings import SettingsStore
from chatd.contract.sign_in import SignInStore


class Store(
    AccountStore,
    SignInStore,
    SecondFactorStore,
    ApiTokenStore,
    MailStore,
    AuditStore,
    PeopleStore,
    OwnStore,
    ErasureStore,
    SessionStore,
    SettingsStore,
    MemberStore,
    BanStore,
    InviteStore,
    SessionAuditStore,
    MessageStore,
    ReadingStore,
    RecoveryStore,
    PresenceStore,
    SearchStore,
    AiStore,
    EncryptionStore,
    FileStore,
    Protocol,
):
    """The durable side of chatd. Times come in as arguments; ids are UUIDv7 made by the daemon."""

    async def ping(self) -> None:
        """Return when the store answers; raise StoreUnavailable when it does not."""

    async def epoch(self) -> UUID:
        """Return the epoch of the log: it changes only when history was reset (a restore)."""
