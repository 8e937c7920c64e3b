"""The store's contract: ways into a session for everybody who knows a code."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.contract.acts import Act
from chatd.rows import InviteRow, InviteUse, Role, SessionRow


class InviteStore(Protocol):
    """Ways into a session for everybody who knows a code.

    An invite is live until it expires, is used up or is revoked; then there is none.
    """

    async def make_invite(
        self,
        session_id: UUID,
        *,
        code: str,
        role: Role,
        max_uses: int | None,
        expires_at: datetime | None,
        act: Act,
    ) -> InviteRow | None:
        """Store an invite; None: no such session.

        Raises:
            ValueError: the session has 100 live ones.
        """

    async def invites(self, session_id: UUID, *, at: datetime) -> list[InviteRow]:
        """Return the live invites of a session, the newest first: at most 100."""

    async def revoke_invite(self, session_id: UUID, code: str, *, act: Act) -> bool:
        """End a live invite; False when there is none."""

    async def invite(self, code: str, at: datetime) -> tuple[InviteRow, SessionRow] | None:
        """Return a live invite and where it leads."""

    async def accept_invite(self, code: str, *, act: Act) -> InviteUse | None:
        """Make who acts a member, count the use and take a `seq`; None: no live invite.

        All under the session's lock: `max_uses` is exact. A member stays what they are and uses
        nothing, also when the invite has expired or been used up since, perhaps by them.
        """
