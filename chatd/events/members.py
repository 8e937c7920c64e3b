"""Commands and answers of members (protocol.md section 3)."""

from __future__ import annotations

from uuid import UUID

from pydantic import model_validator

from chatd.events.fields import Limit, Moment
from chatd.events.sessions import SessionRef
from chatd.model import Member, Shape
from chatd.rows import Role


class MemberList(SessionRef):
    """Page through the members of a session."""

    after: UUID | None = None
    limit: Limit = 100


class MemberPage(Shape):
    """Members by rising user id; `nextAfter` is null on the last page."""

    members: list[Member]
    next_after: UUID | None


class MemberRef(SessionRef):
    """Names a user in a session; without `userId` the caller."""

    user_id: UUID | None = None


class MemberUpdate(SessionRef):
    """Give a member another role, mute them until a time, or with null no longer."""

    user_id: UUID
    role: Role | None = None
    muted_until: Moment | None = None

    @model_validator(mode="after")
    def _something(self) -> MemberUpdate:
        if self.role is None and "muted_until" not in self.model_fields_set:
            msg = "takes a role, mutedUntil or both"
            raise ValueError(msg)
        return self


class MemberAnswer(Shape):
    """One member and the session's `seq` after the change."""

    member: Member
    seq: int


class LeftAnswer(Shape):
    """The session's `seq` after the change."""

    seq: int
