"""Who may see whom, in the memory twin."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.rows import UserRow
from chatd.store.memory_state import Tables, statement


class MemoryAcquaintances(Tables):
    """The part of the contract for presence."""

    @statement
    def count_users(self, *, limit: int) -> int:
        """Return how many accounts there are, up to a limit."""
        return min(len(self._users), limit)

    @statement
    def acquaintances(self, user_id: UUID, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that share a session with a user."""
        return [
            self._users[each]
            for each in dict.fromkeys(user_ids)
            if each in self._users and (each == user_id or self._share(user_id, each))
        ]

    def _share(self, one: UUID, other: UUID) -> bool:
        return any(
            session.member(one) is not None and session.member(other) is not None
            for session in self._sessions.values()
        )
