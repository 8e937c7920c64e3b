"""Members of sessions: list, add, remove (protocol.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from chatd.context import Caller, RoomEvent, Services
from chatd.errors import Conflict, NotFound
from chatd.events.members import LeftAnswer, MemberAnswer, MemberList, MemberPage, MemberRef
from chatd.handlers.access import allowed
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.limits import Rate
from chatd.model import dumps, member_dict, member_event, session_event
from chatd.rows import MemberChange


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
    if session.kind == "DIRECT":
        msg = "a DIRECT session has two members"
        raise Conflict(msg)

    async def work() -> tuple[MemberChange | None, Sequence[RoomEvent]]:
        change = await services.store.add_member(
            command.session_id, user_id, role="MEMBER", at=services.now()
        )
        return change, _events_of(change)

    change = await services.journal.change(work)
    if change is None:
        msg = f"no such user: {user_id}"
        raise NotFound(msg)
    # Also when they were one already: the answer of the call that made them one may be lost.
    services.presence.session_opened(
        command.session_id, [user_id], session.member_count + change.is_changed
    )
    event = dumps(session_event(session, change.seq))
    for socket in services.sockets.of_user(user_id):
        socket.push("session:updated", event)
    return dumps({"member": member_dict(change.member), "seq": change.seq})


async def remove_member(services: Services, caller: Caller, command: MemberRef) -> bytes:
    """End the caller's membership, or another's where the caller's role allows it."""
    user_id = command.user_id or caller.user_id
    action = Action.LEAVE if user_id == caller.user_id else Action.REMOVE_MEMBER
    session, _ = await allowed(services, caller, command.session_id, action)

    async def work() -> tuple[MemberChange | None, Sequence[RoomEvent]]:
        change = await services.store.remove_member(command.session_id, user_id, at=services.now())
        return change, _events_of(change)

    change = await services.journal.change(work)
    # Whether this call or one whose answer was lost has done it: they are no member now.
    services.typing.stop(command.session_id, user_id)
    services.presence.member_left(
        command.session_id, user_id, session.member_count - (change is not None)
    )
    if change is None:
        msg = "no such member"
        raise NotFound(msg)
    return dumps({"seq": change.seq})


def _events_of(change: MemberChange | None) -> list[RoomEvent]:
    if change is None or not change.is_changed:
        return []
    name, payload = member_event(change.member)
    removed = change.member.user_id if change.member.left_at is not None else None
    return [RoomEvent(change.member.session_id, change.seq, name, dumps(payload), removed)]


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
