"""The store's contract: what a session is set to, and its end."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import DeletionRow, SessionRow


class SettingsStore(Protocol):
    """What a session is set to, and its end."""

    async def update_session(
        self,
        session_id: UUID,
        *,
        name: str | None = None,
        is_read_only: bool | None = None,
        is_archived: bool | None = None,
        slow_mode_seconds: int | None = None,
        act: Act | None = None,
    ) -> SessionRow | None:
        """Set what is not None, and take a `seq`; None: there is no such session.

        One that is archived already keeps its `archived_at`; archiving takes an `act`: its time.
        """

    async def delete_session(self, session_id: UUID, *, act: Act) -> DeletionRow | None:
        """End all memberships of a session at once, and take its last `seq`; None: there is none.

        From then on nobody finds it; what it holds is left to `sweep_sessions`. Once more gives the
        same. A DIRECT session stays: None.
        """

    async def sweep_sessions(self, limit: int) -> int:
        """Delete at most `limit` rows of deleted sessions and return how many; 0: nothing is left.

        A transaction as short as that many rows are, whatever the size of a session.
        """
