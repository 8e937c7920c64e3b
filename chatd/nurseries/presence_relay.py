"""What presence tells the other daemons of a cluster; alone there is nobody to tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from chatd.nurseries.presence_user import Manual, PresentUser
from chatd.rows import PositionRow, Size


class PresenceRelay:
    """Told what happens here; never waits. Nothing that was heard of others is told again.

    This one tells nobody; see `chatd.nurseries.elsewhere.Elsewhere`.
    """

    def stands(self, positions: Iterable[PositionRow]) -> None:
        """A user has connected, who knows their sessions as they were at these positions."""

    def placed(self, user: PresentUser) -> None:
        """A user with a device here is in other sessions than before, or has just come."""

    def changed(self, user: PresentUser) -> None:
        """The state of a user with a device here may be another."""

    def gone(self, user: PresentUser) -> None:
        """A user has no device here any more, and the grace is over."""

    def opened(self, session_id: UUID, user_ids: Sequence[UUID], size: Size | None) -> None:
        """Users share a session now."""

    def left(self, session_id: UUID, user_id: UUID, size: Size | None) -> None:
        """A user shares a session no more."""

    def manual(self, user_id: UUID, manual: Manual) -> None:
        """A user has set or cleared a manual status."""

    def announced(self, user_id: UUID, sessions: Sequence[UUID], name: str, data: bytes) -> None:
        """Something was told to those around a user."""

    def account_opened(self) -> None:
        """There is one account more."""
