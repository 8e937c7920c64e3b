"""Whether a caller may see a session, and do something in it."""

from __future__ import annotations

from uuid import UUID

from chatd.context import Caller, Services
from chatd.errors import Forbidden, NotAMember
from chatd.handlers.permissions import Action, may
from chatd.rows import Role, SessionRow


async def visible(
    services: Services, caller: Caller, session_id: UUID
) -> tuple[SessionRow, Role | None]:
    """Return a session and the caller's role in it; None for a PUBLIC one that they may enter.

    Raises:
        NotAMember: there is no such session for this caller.
    """
    found = await services.store.session_for(session_id, caller.user_id)
    if found is None:
        raise NotAMember
    return found


async def allowed(
    services: Services, caller: Caller, session_id: UUID, action: Action
) -> tuple[SessionRow, Role | None]:
    """Return a session in which the caller may do this.

    Raises:
        NotAMember, Forbidden: they may not.
    """
    session, role = await visible(services, caller, session_id)
    if not may(role, action, session.kind):
        raise NotAMember if role is None else Forbidden
    return session, role
