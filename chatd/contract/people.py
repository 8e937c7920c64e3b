"""The store's contract: people as others find them."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatd.rows import FoundUser


class PeopleStore(Protocol):
    """People as others find them."""

    async def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text, in any case, below a keyset position.

        Names that begin with it come first. One whose whole address it is counts as such a name;
        a part of an address finds nobody. The empty text finds everybody.
        """
