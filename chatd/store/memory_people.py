"""People as others find them, in the memory twin."""

from __future__ import annotations

from uuid import UUID

from chatd.rows import FoundUser
from chatd.store.checks import search_name
from chatd.store.memory_state import Tables, statement


class MemoryPeople(Tables):
    """The part of the contract about people as others find them."""

    @statement
    def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text, or whose whole address it is."""
        wanted, found = search_name(query), []
        for user in self._users.values():
            key, is_address = search_name(user.name), user.email.lower() == query.lower()
            rank = 0 if key.startswith(wanted) or is_address else 1
            if (wanted in key or is_address) and (after is None or (rank, key, user.id) > after):
                found.append(FoundUser(user, rank, key))
        return sorted(found, key=lambda each: (each.rank, each.key, each.user.id))[:limit]
