"""Members of sessions: list, add, change, remove (protocol.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chatd.context import Caller, RoomEvent, Services
from chatd.contract.acts import Act, Mute
from chatd.errors import Conflict, NotFound
from chatd.events.members import (
    LeftAnswer,
    MemberAnswer,
    MemberList,
    MemberPage,
    MemberRef,
    MemberUpdate,
)
from chatd.handlers.access import act, allowed
from chatd.handlers.membership import part, told, welcome
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.handlers.refusals import missing, wrong
from chatd.limits import Rate
from chatd.model import dumps, member_dict
from chatd.rows import MemberChange, SessionRow

NO_MEMBER = "no such member"


async def members(services: Services, caller: Caller, command: MemberList) -> bytes:
    """Return a page of a session's members."""
    await allowed(services, caller, command.session_id, Action.READ)
    rows = await services.store.members(
        command.session_id, after=command.after, limit=command.limit + 1
    )
    page = rows[: command.limit]
    after = page[-1].user_id if len(rows) > command.limit else None
    return dumps({"members": [member_dict(row) for row in page], "nextAfter": after})


async def add_member(services: Services, caller: Caller, command: MemberRef) -> bytes:
    """Make a user a member; without `userId` the caller joins a PUBLIC session."""
    user_id = command.user_id or caller.user_id
    action = Action.ADD_SELF if user_id == caller.user_id else Action.ADD_MEMBER
    session, _ = await allowed(services, caller, command.session_id, action)
    judged = act(services, caller, session.kind, action)
    change = await bring_in(services, session, user_id, judged)
    if change is None:
        raise missing("userId", f"no such user: {user_id}")
    return dumps({"member": member_dict(change.member), "seq": change.seq})


async def bring_in(
    services: Services, session: SessionRow, user_id: UUID, judged: Act
) -> MemberChange | None:
    """Make a user a member, and let everybody know; None: there is no such user."""

    async def work() -> tuple[MemberChange | None, Sequence[RoomEvent]]:
        change = await services.store.add_member(
            session.id, user_id, role="MEMBER", at=judged.at, act=judged
        )
        if change is not None:
            welcome(services, session, change)
        return change, told(services, change, judged.by)

    return await services.journal.change(work)


async def remove_member(services: Services, caller: Caller, command: MemberRef) -> bytes:
    """End the caller's membership, or another's of a lower rank."""
    user_id = command.user_id or caller.user_id
    action = Action.LEAVE if user_id == caller.user_id else Action.REMOVE_MEMBER
    session, _ = await allowed(services, caller, command.session_id, action)
    judged = act(services, caller, session.kind, action)

    async def work() -> tuple[MemberChange | None, Sequence[RoomEvent]]:
        change = await services.store.remove_member(
            command.session_id, user_id, at=judged.at, act=judged
        )
        # Whether this call or one whose answer was lost has done it: they are no member now.
        part(services, command.session_id, user_id, change)
        return change, told(services, change, caller.user_id)

    change = await services.journal.change(work)
    if change is None:
        raise NotFound(NO_MEMBER)
    return dumps({"seq": change.seq})


async def update_member(services: Services, caller: Caller, command: MemberUpdate) -> bytes:
    """Give a member of a lower rank another role, or mute them; OWNER is handed over."""
    if command.user_id == caller.user_id:
        msg = "nobody changes themself: an OWNER gives the role to somebody else, or leaves"
        raise Conflict(msg)
    actions = [] if command.role is None else [Action.SET_ROLE]
    mute = None
    if "muted_until" in command.model_fields_set:
        mute = Mute(command.muted_until)
        actions.append(Action.MUTE)
        if mute.until is not None and mute.until <= services.now():
            raise wrong("mutedUntil", "does not lie ahead")
    session, _ = await allowed(services, caller, command.session_id, actions[0])
    judged = act(services, caller, session.kind, *actions, new_role=command.role)

    async def work() -> tuple[MemberChange | None, Sequence[RoomEvent]]:
        change = await services.store.update_member(
            command.session_id, command.user_id, role=command.role, mute=mute, act=judged
        )
        if change is not None and (command.role == "READ_ONLY" or command.muted_until is not None):
            services.typing.stop(command.session_id, command.user_id)
        return change, told(services, change, caller.user_id)

    change = await services.journal.change(work)
    if change is None:
        raise NotFound(NO_MEMBER)
    return dumps({"member": member_dict(change.member), "seq": change.seq})


_PATH = "/chat/sessions/<uuid:session_id>/members"

_CHANGE_RATE = Rate(1, 50)  # each is a transaction of its own between the journal's batches

OPERATIONS = (
    Operation(
        "member-list",
        MemberList,
        MemberPage,
        "Members of a session",
        run=members,
        event="member:list",
        route=Route("GET", _PATH),
    ),
    Operation(
        "member-add",
        MemberRef,
        MemberAnswer,
        "Add a member; the caller to a PUBLIC session without userId",
        run=add_member,
        rate=_CHANGE_RATE,
        event="member:add",
        route=Route("POST", _PATH, 201),
    ),
    Operation(
        "member-update",
        MemberUpdate,
        MemberAnswer,
        "Give a member another role, or mute them",
        run=update_member,
        rate=_CHANGE_RATE,
        event="member:update",
        route=Route("PATCH", _PATH + "/<uuid:user_id>"),
    ),
    Operation(
        "member-remove",
        MemberRef,
        LeftAnswer,
        "Leave a session, or remove a member",
        run=remove_member,
        rate=_CHANGE_RATE,
        event="member:remove",
        route=Route("DELETE", _PATH),
    ),
)
