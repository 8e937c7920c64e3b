"""API tokens and bots in the memory twin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chatd.contract.api_tokens import ApiTokenRow
from chatd.errors import StoreBug
from chatd.rows import UserRow
from chatd.store.checks import bot_address
from chatd.store.memory_accounts import MemoryAccounts
from chatd.store.memory_state import statement


class MemoryApiTokens(MemoryAccounts):
    """The part of the contract for API tokens and bots."""

    @statement
    def insert_api_token(
        self, row: ApiTokenRow, token_hash: bytes, *, limit: int, asked_by: UUID | None = None
    ) -> bool:
        """Store a token, unless its user has too many."""
        login = None if asked_by is None else self._families.get(asked_by)
        if login is not None and login.revoked_at is not None:
            return False
        own = [each for each in self._api_tokens.values() if each.user_id == row.user_id]
        if not self._is_open(row.user_id) or len(own) >= limit:
            return False
        ids = {each.id for each in self._api_tokens.values()}
        if token_hash in self._api_tokens or row.id in ids:
            msg = "there is such a token already"
            raise StoreBug(msg)
        self._api_tokens[token_hash] = row
        return True

    @statement
    def use_api_token(
        self, token_hash: bytes, at: datetime, *, used_before: datetime
    ) -> ApiTokenRow | None:
        """Return a token that is good, and remember that it was used."""
        row = self._api_tokens.get(token_hash)
        if row is None:
            return None
        if row.last_used_at is None or row.last_used_at < used_before:
            self._api_tokens[token_hash] = row._replace(last_used_at=at)
        return row if row.expires_at is None or row.expires_at > at else None

    def _reach(self, user_id: UUID) -> set[UUID]:
        return {user_id, *(bot for bot, owner in self._owners.items() if owner == user_id)}

    @statement
    def api_tokens(self, user_id: UUID) -> list[ApiTokenRow]:
        """Return the tokens of a user and of the user's bots."""
        reach = self._reach(user_id)
        found = [row for row in self._api_tokens.values() if row.user_id in reach]
        return sorted(found, key=lambda row: (row.created_at, row.id), reverse=True)

    @statement
    def revoke_api_token(self, token_id: UUID, user_id: UUID) -> ApiTokenRow | None:
        """Delete a token of a user, or of one of the user's bots."""
        reach = self._reach(user_id)
        for token_hash, row in self._api_tokens.items():
            if row.id == token_id and row.user_id in reach:
                return self._api_tokens.pop(token_hash)
        return None

    @statement
    def insert_bot(
        self, *, user_id: UUID, owner_id: UUID | None, name: str, created_at: datetime, limit: int
    ) -> UserRow | None:
        """Store a bot's account, unless its owner has too many."""
        if owner_id is not None and (
            not self._is_open(owner_id) or len(self._bots(owner_id)) >= limit
        ):
            return None
        if user_id in self._users:
            msg = f"there is a user {user_id} already"
            raise StoreBug(msg)
        if owner_id is not None:
            self._owners[user_id] = owner_id
        return self._add_user(user_id, bot_address(user_id), name, None, created_at)

    def _bots(self, owner_id: UUID) -> list[UserRow]:
        return [
            self._users[each]
            for each in sorted(self._owners)
            if self._owners[each] == owner_id and each not in self._erasures
        ]

    @statement
    def bots_of(self, owner_id: UUID) -> list[UserRow]:
        """Return the bots of a user."""
        return self._bots(owner_id)
