"""Who may not come back into a session (protocol.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from chatd.context import Caller, RoomEvent, Services
from chatd.errors import Conflict, NotFound
from chatd.events.answers import Nothing
from chatd.events.bans import BanAnswer, BanList, BanPage, MemberBan, MemberUnban
from chatd.handlers.access import act, allowed
from chatd.handlers.membership import part, told
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.handlers.refusals import missing, wrong
from chatd.limits import Rate
from chatd.model import dumps
from chatd.payloads import ban_dict
from chatd.rows import BanChange


async def ban(services: Services, caller: Caller, command: MemberBan) -> bytes:
    """Keep a user of a lower rank out of a session, and take them out if they are in it."""
    if command.user_id == caller.user_id:
        msg = "nobody bans themself"
        raise Conflict(msg)
    if command.until is not None and command.until <= services.now():
        raise wrong("until", "does not lie ahead")
    session, _ = await allowed(services, caller, command.session_id, Action.BAN)
    judged = act(services, caller, session.kind, Action.BAN)

    async def work() -> tuple[BanChange | None, Sequence[RoomEvent]]:
        banned = await services.store.ban(
            command.session_id,
            command.user_id,
            until=command.until,
            reason=command.reason,
            act=judged,
        )
        if banned is None:
            return None, ()
        part(services, command.session_id, command.user_id, banned.change)
        return banned, told(services, banned.change, caller.user_id)

    banned = await services.journal.change(work)
    if banned is None:
        raise missing("userId", f"no such user: {command.user_id}")
    return dumps({"ban": ban_dict(banned.ban)})


async def unban(services: Services, caller: Caller, command: MemberUnban) -> bytes:
    """Lift a ban; the user is no member by that."""
    session, _ = await allowed(services, caller, command.session_id, Action.BAN)
    judged = act(services, caller, session.kind, Action.BAN)
    if not await services.store.unban(command.session_id, command.user_id, act=judged):
        msg = "no such ban"
        raise NotFound(msg)
    return b"{}"


async def bans(services: Services, caller: Caller, command: BanList) -> bytes:
    """Return a page of the bans in force."""
    await allowed(services, caller, command.session_id, Action.BAN)
    rows = await services.store.bans(
        command.session_id, at=services.now(), after=command.after, limit=command.limit + 1
    )
    page = rows[: command.limit]
    after = page[-1].user_id if len(rows) > command.limit else None
    return dumps({"bans": [ban_dict(row) for row in page], "nextAfter": after})


_PATH = "/chat/sessions/<uuid:session_id>/bans"

_CHANGE_RATE = Rate(1, 50)  # each is a transaction of its own between the journal's batches

OPERATIONS = (
    Operation(
        "member-ban",
        MemberBan,
        BanAnswer,
        "Keep a user out of a session",
        run=ban,
        rate=_CHANGE_RATE,
        event="member:ban",
        route=Route("POST", _PATH, 201),
    ),
    Operation(
        "member-unban",
        MemberUnban,
        Nothing,
        "Lift a ban",
        run=unban,
        rate=_CHANGE_RATE,
        event="member:unban",
        route=Route("DELETE", _PATH + "/<uuid:user_id>"),
    ),
    Operation(
        "ban-list",
        BanList,
        BanPage,
        "Bans in force in a session",
        run=bans,
        event="ban:list",
        route=Route("GET", _PATH),
    ),
)
