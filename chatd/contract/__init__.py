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
from chatd.contract.members import MemberStore
from chatd.contract.messages import MessageStore
from chatd.contract.presence import PresenceStore
from chatd.contract.recovery import RecoveryStore
from chatd.contract.sessions import SessionStore
from chatd.contract.sign_in import SignInStore


class Store(
    AccountStore,
    SignInStore,
    SessionStore,
    MemberStore,
    MessageStore,
    RecoveryStore,
    PresenceStore,
    Protocol,
):
    """The durable side of chatd. Times come in as arguments; ids are UUIDv7 made by the daemon."""

    async def ping(self) -> None:
        """Return when the store answers; raise StoreUnavailable when it does not."""

    async def epoch(self) -> UUID:
        """Return the epoch of the log: it changes only when history was reset (a restore)."""
