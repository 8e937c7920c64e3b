"""On what terms the pool talks to a PostgreSQL: what is between them, and what both rely on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from chatd.setting_types import Pooler

IDLE_IN_TRANSACTION = 10.0  # seconds; no statement of ours waits for anything inside one

# The last ones: all statements read few rows by an index, in its order, and their plans are kept.
# Left to its statistics PostgreSQL keeps what was best for the empty tables of a young database (an
# append of one message took 7 ms at 13,000 messages instead of 1), sorts a session to find its
# newest page, and plans most statements again each time because it cannot see into a LIMIT.
_SETTINGS = {
    "synchronous_commit": "on",
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION}s",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


@dataclass(frozen=True)
class Terms:
    """The terms of one pool.

    Attributes:
        statement_timeout: seconds after which the server gives a statement up by itself.
        pooler: what is between us and the server. One in transaction mode gives each transaction
            another session of the server: nothing is prepared then, and what a session would be
            told is told to each transaction.
        is_replica: everything can be asked elsewhere: nobody waits for a server that has gone,
            nor for the end of a statement that was cancelled.
    """

    statement_timeout: float
    pooler: Pooler = "none"
    is_replica: bool = False

    @property
    def has_session(self) -> bool:
        """Whether a connection is one session of the server, from its beginning to its end."""
        return self.pooler != "transaction"

    @cached_property
    def first(self) -> bytes:
        """What a session is told first; it answers with the number of its process."""
        return f"SELECT pg_backend_pid(), {self._set(is_local=False)}".encode()

    @cached_property
    def begin(self) -> bytes:
        """What begins a transaction."""
        if self.has_session:
            return b"BEGIN"
        return f"BEGIN; SELECT {self._set(is_local=True)}".encode()  # one round trip

    def _set(self, *, is_local: bool) -> str:
        settings = _SETTINGS | {
            "statement_timeout": f"{self.statement_timeout:.3f}s",
            "lock_timeout": f"{self.statement_timeout / 2:.3f}s",
        }
        end = str(is_local).lower()
        return ", ".join(
            f"set_config('{key}', '{value}', {end})" for key, value in settings.items()
        )
