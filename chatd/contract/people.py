"""The store's contract: people as others find and see them."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatd.rows import FoundUser, UserRow


class PeopleStore(Protocol):
    """People as others find and see them."""

    async def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text, in any case, below a keyset position.

        Names that begin with it come first. One whose whole address it is counts as such a name;
        a part of an address finds nobody. The empty text finds everybody.
        """

    async def update_user(
        self, user_id: UUID, *, name: str | None, avatar: str | None, sets_avatar: bool
    ) -> UserRow | None:
        """Change what others see of a user, and return the account; None when there is none.

        Args:
            name: the new name, None to keep the one there is.
            avatar: an https URL or a colour, `#` and six digits; None for none.
            sets_avatar: whether `avatar` counts.
        """
