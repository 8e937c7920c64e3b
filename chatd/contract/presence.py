"""The store's contract: who may see whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from chatd.rows import UserRow


class PresenceStore(Protocol):
    """Who may see whom."""

    async def count_users(self, *, limit: int) -> int:
        """Return how many accounts there are; `limit` when there are more."""

    async def acquaintances(self, user_id: UUID, user_ids: Sequence[UUID]) -> list[UserRow]:
        """Return those of these accounts that share a session with a user, in any order.

        The user's own is one of them; who has left a session shares it no more.
        """
