"""Commands and answers of invites (protocol.md section 3)."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chatd.events.sessions import SessionRef
from chatd.model import Shape, Time
from chatd.rows import Role, SessionKind

MAX_EXPIRY_MS = 366 * 24 * 3600 * 1000  # a year: who wants more means for ever

Code = Annotated[str, Field(min_length=1, max_length=64)]


class InviteMake(SessionRef):
    """Make a way into a session for everybody who knows its code."""

    max_uses: Annotated[int, Field(ge=1, le=100_000, strict=True)] | None = None
    expires_in_ms: Annotated[int, Field(ge=1000, le=MAX_EXPIRY_MS, strict=True)] | None = None
    role: Literal["MEMBER", "READ_ONLY"] = "MEMBER"


class InviteList(SessionRef):
    """The live invites of a session."""


class InviteRevoke(SessionRef):
    """End an invite."""

    code: Code


class InviteRef(Shape):
    """Names an invite by its code."""

    code: Code


class Invite(Shape):
    """A way into a session; null where it has no limit."""

    code: str
    session_id: UUID
    role: Role
    by: UUID
    created_at: Time
    expires_at: Time | None
    max_uses: int | None
    uses: int


class InviteAnswer(Shape):
    """One invite."""

    invite: Invite


class Invites(Shape):
    """The live invites, the newest first; there are at most 100."""

    invites: list[Invite]


class InvitePreview(Shape):
    """Where an invite leads, for somebody who has not accepted it."""

    name: str | None
    kind: SessionKind
    member_count: int
    role: Role
    expires_at: Time | None
