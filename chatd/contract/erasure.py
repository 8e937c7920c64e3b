"""The store's contract: the end of an account, in steps that can be repeated."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from chatd.rows import MemberChange, MessageRow

ERASED_NAME = "Deleted user"


class ErasureRow(NamedTuple):
    """An account of which something is left to remove."""

    user_id: UUID
    deletes_messages: bool


class ErasedBatch(NamedTuple):
    """Messages that changed, by their new `changed_seq`; up to `reached` nothing is left."""

    messages: list[MessageRow]
    reached: int


class ErasureStore(Protocol):
    """The end of an account."""

    async def begin_erasure(
        self, user_id: UUID, *, deletes_messages: bool, at: datetime
    ) -> list[UUID] | None:
        """Remove what an account says of a person, and return its logins; None without account.

        In one transaction: address, name, avatar, password, status, devices, tokens, second factor,
        conversations with the assistant, the network addresses of its audit log. API tokens are
        among the logins. The account stays as a nameless user, and the removal of the rest is noted
        as begun. A repeat changes nothing and returns the same.
        """

    async def open_erasures(self, limit: int) -> list[ErasureRow]:
        """Return erasures that are not finished, the oldest first."""

    async def erase_membership(
        self, session_id: UUID, user_id: UUID, *, at: datetime
    ) -> list[MemberChange]:
        """Forget a user's markers in a session and end their membership; return what changed.

        Of a session without another OWNER the longest-serving ADMIN, or else MEMBER, becomes its
        OWNER first. A DIRECT session keeps its two. What is done already is not done again.
        """

    async def erase_messages(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
        limit: int,
        at: datetime,
    ) -> ErasedBatch:
        """Take a user's reactions off messages, and make the user's own messages tombstones.

        At most `limit` messages above a `seq`, of a look at `span` of them; each takes a `seq`.
        """

    async def next_erasable(
        self,
        session_id: UUID,
        user_id: UUID,
        *,
        deletes_messages: bool,
        above: int,
        span: int,
    ) -> int | None:
        """Return the `seq` of the first message that `erase_messages` would change."""

    async def finish_erasure(self, user_id: UUID, at: datetime) -> None:
        """Note that nothing is left; a login that came in between is removed as well."""
