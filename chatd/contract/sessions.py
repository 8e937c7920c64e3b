"""The store's contract: sessions, and where their members stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from chatd.rows import (
    JoinPage,
    PositionRow,
    Role,
    RulesRow,
    SessionKind,
    SessionListRow,
    SessionRow,
    UserRow,
)


class SessionStore(Protocol):
    """Sessions, and where their members stand in them."""

    async def create_session(
        self,
        *,
        session_id: UUID,
        kind: SessionKind,
        name: str | None,
        creator_id: UUID,
        member_ids: Sequence[UUID],
        at: datetime,
    ) -> tuple[SessionRow, bool]:
        """Store a session with its creator and members; return it with True.

        The creator is its OWNER, the others are MEMBER; a new session stands at `seq` 0. A DIRECT
        session takes exactly one other member, both are MEMBER, and there is one per pair: an
        existing one is returned with False, also when two ask at once.

        Raises:
            KeyError: with the id of a member that is not a user.
            ValueError: a DIRECT session without exactly one other member.
        """

    async def session_for(
        self, session_id: UUID, user_id: UUID
    ) -> tuple[SessionRow, Role | None] | None:
        """Return a session that the user may see: a member with the role, PUBLIC with None."""

    async def rules_for(self, session_id: UUID, user_id: UUID) -> RulesRow | None:
        """Return what a session lets a member do; None for who is not in it."""

    async def list_sessions(
        self, user_id: UUID, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[SessionListRow]:
        """Return the sessions of a user, latest activity first, below a keyset position.

        A row's position is (created_at of the last message or else of the session, session id).
        """

    async def first_states(
        self, user_ids: Sequence[UUID], limit: int
    ) -> dict[UUID, tuple[UserRow, list[PositionRow]]]:
        """Return accounts and where each stands in its sessions, latest activity first.

        One statement for all who connect at once. Who has no account is left out.
        """

    async def join_page(
        self, session_id: UUID, user_id: UUID, *, since: int | None, replay: int, limit: int
    ) -> JoinPage | None:
        """Read what a member sees at join, in one snapshot; None when the user is no member.

        With `since` at most `seq` and at most `replay` changes behind it, `recovered` is True.
        Members are capped at 200 (a larger session pages through them).
        """

    async def heads(self, session_ids: Sequence[UUID]) -> dict[UUID, int]:
        """Return the current `seq` of each of these sessions that exists."""
