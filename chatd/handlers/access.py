"""Whether a caller may see a session, and do something in it."""

from __future__ import annotations

from uuid import UUID

from chatd.context import Caller, Services
from chatd.contract.acts import Act, Standing
from chatd.errors import Conflict, Forbidden, NotAMember
from chatd.handlers.permissions import NOT_DIRECT, Action, may
from chatd.model import iso_or_none
from chatd.rows import BanRow, Role, SessionKind, SessionRow

_ENTERING = frozenset({Action.ADD_SELF, Action.ADD_MEMBER})


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
        NotAMember, Forbidden, Conflict: they may not; nobody may in a DIRECT session.
    """
    session, role = await visible(services, caller, session_id)
    check(role, action, session.kind)
    return session, role


def check(role: Role | None, action: Action, kind: SessionKind, target: Role | None = None) -> None:
    """Refuse what a role may not do; see `may`.

    Raises:
        NotAMember, Forbidden, Conflict: they may not; nobody may in a DIRECT session.
    """
    if may(role, action, kind, target):
        return
    if role is None:
        raise NotAMember
    if kind == "DIRECT" and action in NOT_DIRECT:
        msg = "not in a DIRECT session: it is its two members', who are equals"
        raise Conflict(msg)
    raise Forbidden


def act(
    services: Services,
    caller: Caller,
    kind: SessionKind,
    *actions: Action,
    new_role: Role | None = None,
) -> Act:
    """Return the caller's act, to be judged when it is done: all these actions, on one member.

    Args:
        new_role: what the member becomes; nobody gives what they may not take.
    """

    def judge(standing: Standing) -> None:
        for action in actions:
            check(standing.role, action, kind, standing.target)
            if action in _ENTERING:
                refuse_banned(standing.ban)
        if new_role is not None:
            check(standing.role, Action.SET_ROLE, kind, new_role)

    return Act(caller.user_id, services.now(), judge)


def refuse_banned(ban: BanRow | None) -> None:
    """Refuse to let somebody in whom a ban keeps out.

    Raises:
        Forbidden: with `bannedUntil`, null for one without an end, and the `reason`.
    """
    if ban is not None:
        msg = "banned from this session"
        raise Forbidden(msg, details={"bannedUntil": iso_or_none(ban.until), "reason": ban.reason})
