"""Commands and answers of members (protocol.md section 3)."""

from __future__ import annotations

from uuid import UUID

from chatd.events.fields import Limit
from chatd.events.sessions import SessionRef
from chatd.model import Member, Shape


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


class MemberAnswer(Shape):
    """One member and the session's `seq` after the change."""

    member: Member
    seq: int


class LeftAnswer(Shape):
    """The session's `seq` after the change."""

    seq: int
