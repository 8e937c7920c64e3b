"""The store's contract: socket.IO connections that come back after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import RecoveryRow


class RecoveryStore(Protocol):
    """Socket.IO connections that come back after a restart."""

    async def save_recoveries(self, rows: Sequence[RecoveryRow], at: datetime) -> None:
        """Keep these for a restart, and delete what has expired at `at`.

        A pid that is there is replaced, of one that is given twice the last counts; rows of users
        that are gone are left out. Many rows take several statements of bounded size, each a
        transaction of its own with a deadline of its own: an error or a cancellation leaves what
        was stored before it.
        """

    async def take_recovery(self, pid: str, user_id: UUID, at: datetime) -> RecoveryRow | None:
        """Return and delete a user's state; None when there is none, or it has expired.

        Of two that ask at once one gets it. After a `StoreAmbiguous` it may be gone unseen: the
        client starts anew, as with None.
        """

    async def memberships(self, user_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of those of these sessions in which the user is a member now."""
