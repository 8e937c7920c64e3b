"""The twin of the PostgreSQL store: the same contract in memory, for tests on a mock clock.

Threads, sockets and processes break a mock clock's determinism, so stories that
play on one use this store; `tests/store/` holds both stores to the same contract. It is pure
Python, never looks at a clock, and each call has exactly one checkpoint before it does its work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from chatd.store.memory_ai import MemoryAi
from chatd.store.memory_api_tokens import MemoryApiTokens
from chatd.store.memory_audit import MemoryAudit
from chatd.store.memory_audit_chain import MemoryAuditChain
from chatd.store.memory_bans import MemoryBans
from chatd.store.memory_encryption import MemoryEncryption
from chatd.store.memory_erasure import MemoryErasure
from chatd.store.memory_files import MemoryFiles
from chatd.store.memory_invites import MemoryInvites
from chatd.store.memory_mail import MemoryMail
from chatd.store.memory_messages import MemoryMessages
from chatd.store.memory_own import MemoryOwn
from chatd.store.memory_people import MemoryPeople
from chatd.store.memory_pins import MemoryPins
from chatd.store.memory_presence import MemoryAcquaintances
from chatd.store.memory_reading import MemoryReading
from chatd.store.memory_recovery import MemoryRecoveries
from chatd.store.memory_search import MemorySearch
from chatd.store.memory_second_factor import MemorySecondFactors
from chatd.store.memory_settings import MemorySettings
from chatd.store.memory_sign_in import MemorySignIns
from chatd.store.memory_state import statement

if TYPE_CHECKING:
    from chatd.contract import Store


class MemoryStore(
    MemorySignIns,
    MemorySecondFactors,
    MemoryApiTokens,
    MemoryMail,
    MemoryAudit,
    MemoryPeople,
    MemoryOwn,
    MemoryErasure,
    MemoryMessages,
    MemoryPins,
    MemoryReading,
    MemoryRecoveries,
    MemoryAcquaintances,
    MemorySearch,
    MemorySettings,
    MemoryBans,
    MemoryInvites,
    MemoryEncryption,
    MemoryAuditChain,
    MemoryAi,
    MemoryFiles,
):
    """A whole store in memory.

    Example:
        ```python
        store = MemoryStore(latency=0.005)
        store.fail_next("append_messages", StoreAmbiguous("lost"))  # commits, then raises
        store.fail_next("history", StoreUnavailable("away"), times=3)
        ```
    """

    @statement
    def ping(self) -> None:
        """Return: the store answers."""

    @statement
    def epoch(self) -> UUID:
        """Return the epoch of the log."""
        return self._epoch


if TYPE_CHECKING:
    _keeps_the_contract: Store = MemoryStore()
