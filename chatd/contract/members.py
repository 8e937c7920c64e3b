"""The store's contract: who is in a session, and as what."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.contract.acts import Act, Mute
from chatd.rows import MemberChange, MemberRow, Role


class MemberStore(Protocol):
    """Who is in a session, and as what.

    Every change takes the session's row lock, as every durable change does. With an `act` it is
    judged under it and stands in the audit log when it is done to somebody else.
    """

    async def members(self, session_id: UUID, *, after: UUID | None, limit: int) -> list[MemberRow]:
        """Return current members by rising user id above `after`."""

    async def add_member(
        self, session_id: UUID, user_id: UUID, *, role: Role, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """Make a user a member and take a `seq`; None when session or user do not exist.

        Who is a member already keeps their role (`is_changed` is False). A DIRECT session takes no
        third member, and without an `act` nobody comes in who is banned: None as well.
        """

    async def remove_member(
        self, session_id: UUID, user_id: UUID, *, at: datetime, act: Act | None = None
    ) -> MemberChange | None:
        """End a membership and take a `seq`; None when the user is no member.

        When no OWNER is left the longest-serving ADMIN becomes one, or else MEMBER: a `seq` before
        that of the leave. The two of a DIRECT session stay, or asking for it again would find it
        without them: None.
        """

    async def update_member(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        role: Role | None = None,
        mute: Mute | None = None,
        act: Act,
    ) -> MemberChange | None:
        """Give a member another role, mute them or both, and take a `seq`; None for no member.

        OWNER is handed over: the OWNER who gives it becomes ADMIN, a `seq` later. Nothing changes
        for the two of a DIRECT session: None as well.
        """

    async def set_wishes(
        self, session_id: UUID, user_id: UUID, *, muted: bool | None, favourite: bool | None
    ) -> tuple[bool, bool] | None:
        """Set what members wish for their own list, None leaves it; return both, None: no member.

        It is nobody else's business: no lock of the session, no `seq`.
        """
