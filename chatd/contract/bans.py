"""The store's contract: who may not come back."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import BanChange, BanRow


class BanStore(Protocol):
    """Who may not come back."""

    async def ban(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        until: datetime | None,
        reason: str | None,
        act: Act,
    ) -> BanChange | None:
        """Keep a user out of a session, and end their membership in the same transaction.

        A later ban replaces an earlier one. None: no such session (or a DIRECT one), or user.
        """

    async def unban(self, session_id: UUID, user_id: UUID, *, act: Act) -> bool:
        """Lift a ban; False when none is in force."""

    async def bans(
        self, session_id: UUID, *, at: datetime, after: UUID | None, limit: int
    ) -> list[BanRow]:
        """Return the bans in force by rising user id above `after`."""
