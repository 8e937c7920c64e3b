"""The store's contract: API tokens, and the bots that use them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from chatd.rows import UserRow


class ApiTokenRow(NamedTuple):
    """An API token, without what it is known by."""

    id: UUID
    user_id: UUID  # whom it speaks for
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class ApiTokenStore(Protocol):
    """API tokens and bots."""

    async def insert_api_token(
        self, row: ApiTokenRow, token_hash: bytes, *, limit: int, asked_by: UUID | None = None
    ) -> bool:
        """Store a token; False when its user has `limit` of them, or the account has ended.

        Args:
            asked_by: a login; False also when it was revoked. So `revoke_user`, or a reset, ends
                the tokens that are about to be made as well.
        """

    async def use_api_token(
        self, token_hash: bytes, at: datetime, *, used_before: datetime
    ) -> ApiTokenRow | None:
        """Return a token that is good at a time, and remember that it was used.

        Written only when it was last used before `used_before`: who asks every second does not
        write every second.
        """

    async def api_tokens(self, user_id: UUID) -> list[ApiTokenRow]:
        """Return the tokens of a user and of the user's bots, the newest first; expired ones too.

        They are few: each account has a limit of them, and each user one of bots.
        """

    async def revoke_api_token(self, token_id: UUID, user_id: UUID) -> ApiTokenRow | None:
        """Delete a token of a user, or of one of the user's bots, and return it."""

    # Bots
    async def insert_bot(
        self, *, user_id: UUID, owner_id: UUID | None, name: str, created_at: datetime, limit: int
    ) -> UserRow | None:
        """Store a bot's account, which has neither address nor password.

        None when its owner has `limit` bots, or has ended the account. One without an owner is
        the operator's.
        """

    async def bots_of(self, owner_id: UUID) -> list[UserRow]:
        """Return the bots of a user that have not ended, by id."""
