"""People as others find and see them, in the memory twin."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from chatd.rows import FoundUser, UserRow
from chatd.store.checks import search_name
from chatd.store.memory_state import Tables, statement


class MemoryPeople(Tables):
    """The part of the contract about people as others find and see them."""

    @statement
    def find_users(
        self, query: str, *, after: tuple[int, str, UUID] | None, limit: int
    ) -> list[FoundUser]:
        """Return the accounts whose name holds a text, or whose whole address it is."""
        wanted, found = search_name(query), []
        for user in self._users.values():
            if user.id in self._erasures:
                continue
            key, is_address = search_name(user.name), user.email.lower() == query.lower()
            rank = 0 if key.startswith(wanted) or is_address else 1
            if (wanted in key or is_address) and (after is None or (rank, key, user.id) > after):
                found.append(FoundUser(user, rank, key))
        return sorted(found, key=lambda each: (each.rank, each.key, each.user.id))[:limit]

    @statement
    def update_user(
        self, user_id: UUID, *, name: str | None, avatar: str | None, sets_avatar: bool
    ) -> UserRow | None:
        """Change what others see of a user."""
        user = self._users.get(user_id)
        if user is None or user_id in self._erasures:
            return None
        row = replace(
            user, name=name or user.name, avatar_url=avatar if sets_avatar else user.avatar_url
        )
        self._users[user_id] = row
        return row
