"""What a session is set to, its end, and what a member wishes for it (protocol.md section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from chatd.context import EVERYBODY, Caller, RoomEvent, Services
from chatd.errors import NotAMember
from chatd.events.answers import Nothing
from chatd.events.sessions import SessionAnswer
from chatd.events.settings import Prefs, SessionDelete, SessionPrefs, SessionUpdate
from chatd.handlers.access import act, allowed
from chatd.handlers.membership import part, tell_removed
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action
from chatd.limits import Rate
from chatd.model import dumps, session_dict, session_event
from chatd.payloads import removed_event
from chatd.rows import DeletionRow, SessionRow


async def update(services: Services, caller: Caller, command: SessionUpdate) -> bytes:
    """Change a session's name, or who may write in it and how often."""
    session, _ = await allowed(services, caller, command.session_id, Action.SETTINGS)
    judged = act(services, caller, session.kind, Action.SETTINGS)

    async def work() -> tuple[SessionRow | None, Sequence[RoomEvent]]:
        row = await services.store.update_session(
            command.session_id,
            name=command.name,
            is_read_only=command.read_only,
            is_archived=command.archived,
            slow_mode_seconds=command.slow_mode_seconds,
            act=judged,
        )
        if row is None:
            return None, ()
        payload = session_event(row, row.seq)
        return row, [RoomEvent(row.id, row.seq, "session:updated", dumps(payload))]

    changed = await services.journal.change(work)
    if changed is None:
        raise NotAMember
    if changed.archived_at is not None and services.assistant is not None:
        services.assistant.end_session(command.session_id)
    return dumps({"session": session_dict(changed)})


async def delete(services: Services, caller: Caller, command: SessionDelete) -> bytes:
    """Delete a session: its members are told and it is gone; what it held goes a little later."""
    session_id = command.session_id
    session, _ = await allowed(services, caller, session_id, Action.DELETE_SESSION)
    judged = act(services, caller, session.kind, Action.DELETE_SESSION)

    async def work() -> tuple[DeletionRow | None, Sequence[RoomEvent]]:
        deletion = await services.store.delete_session(session_id, act=judged)
        if deletion is None:
            return None, ()
        for user_id in deletion.member_ids:
            part(services, session_id, user_id)
            tell_removed(services, session_id, user_id, "deleted")
        payload = removed_event(session_id, "deleted")
        end = RoomEvent(session_id, deletion.seq, "session:removed", payload, EVERYBODY, "deleted")
        return deletion, [end]

    if await services.journal.change(work) is None:
        raise NotAMember
    if services.assistant is not None:
        services.assistant.end_session(session_id)
    return b"{}"


async def set_prefs(services: Services, caller: Caller, command: SessionPrefs) -> bytes:
    """Keep what the caller wishes for their own list, and tell their other devices."""
    wishes = await services.store.set_wishes(
        command.session_id, caller.user_id, muted=command.muted, favourite=command.favourite
    )
    if wishes is None:
        raise NotAMember
    muted, favourite = wishes
    answer = dumps({"sessionId": command.session_id, "muted": muted, "favourite": favourite})
    services.sockets.tell(caller.user_id, "session:prefs", answer, but=caller.socket)
    return answer


_PATH = "/chat/sessions/<uuid:session_id>"

OPERATIONS = (
    Operation(
        "session-update",
        SessionUpdate,
        SessionAnswer,
        "Change a session's name, or who may write in it",
        run=update,
        rate=Rate(1, 20),
        event="session:update",
        route=Route("PATCH", _PATH),
    ),
    Operation(
        "session-delete",
        SessionDelete,
        Nothing,
        "Delete a session with everything in it",
        run=delete,
        rate=Rate(1, 20),
        event="session:delete",
        route=Route("DELETE", _PATH),
    ),
    Operation(
        "session-prefs",
        SessionPrefs,
        Prefs,
        "What the caller wishes for a session in their own list",
        run=set_prefs,
        event="session:prefs",
        route=Route("PATCH", _PATH + "/me"),
    ),
)
