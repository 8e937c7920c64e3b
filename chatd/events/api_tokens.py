"""Commands and answers of API tokens and bots (protocol.md section 2)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from chatd.api_tokens import SCOPES, Scope
from chatd.events.fields import Moment, Name
from chatd.model import Shape, Time, User


class ApiTokenCreate(Shape):
    """Make an API token of the caller, or of a bot of the caller's."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES))]
    expires_at: Moment | None = None
    bot_id: UUID | None = None


class ApiToken(Shape):
    """An API token; `userId` is whom it speaks for, `lastUsedAt` is exact to a minute."""

    id: UUID
    user_id: UUID
    name: str
    scopes: list[Scope]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class ApiTokenMade(Shape):
    """A new API token; `token` is not shown again."""

    token: str
    api_token: ApiToken


class ApiTokens(Shape):
    """The API tokens of the caller and of the caller's bots, the newest first."""

    tokens: list[ApiToken]


class ApiTokenRef(Shape):
    """Names an API token."""

    token_id: UUID


class BotCreate(Shape):
    """Make a bot: an account that only API tokens speak for."""

    name: Name


class BotAnswer(Shape):
    """A bot."""

    user: User


class Bots(Shape):
    """The caller's bots, the oldest first."""

    bots: list[User]


class BotRef(Shape):
    """Names a bot of the caller."""

    user_id: UUID
