"""Pins, and the earlier texts of messages (protocol.md section 4)."""

from __future__ import annotations

from typing import Any

from chatd.context import Caller, RoomEvent, Services
from chatd.errors import Conflict, Forbidden, NotAMember, NotFound
from chatd.events.messages import MessageAnswer
from chatd.events.pins import MessagePin, PinList, PinListAnswer, RevisionList, RevisionPage
from chatd.handlers.changes import CHANGE_RATE, Work, alive, judged
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action, may
from chatd.model import dumps, iso, message_dict
from chatd.payloads import pinned_event
from chatd.rows import UNREADABLE, MessageAccess, RevisionRow, Role


async def pin(services: Services, caller: Caller, command: MessagePin) -> bytes:
    """Pin a message or take the pin off; what is so already stays so."""
    is_on = command.on

    def judge(access: MessageAccess) -> None:
        if not may(access.role, Action.PIN, access.kind):
            raise Forbidden

    async def work(role: Role) -> Work:
        change = await services.store.pin_message(
            command.message_id, caller.user_id, role=role, is_on=is_on, at=services.now()
        )
        if change is None or not change.is_changed:
            return change, ()
        row = change.message
        payload = dumps(pinned_event(row))
        return change, [RoomEvent(row.session_id, row.changed_seq, "message:pinned", payload)]

    _, change = await judged(services, caller, command, judge, work)
    message = alive(change)
    if is_on and message.pinned_at is None:
        msg = "the session has as many pins as it can"
        raise Conflict(msg)
    return dumps({"message": message_dict(message)})


async def pins(services: Services, caller: Caller, command: PinList) -> bytes:
    """Return what is pinned in a session."""
    rows = await services.store.pins(command.session_id, caller.user_id)
    if rows is None:
        raise NotAMember
    return dumps({"messages": [message_dict(row) for row in rows]})


async def revisions(services: Services, caller: Caller, command: RevisionList) -> bytes:
    """Return earlier texts of a message; a tombstone has none."""
    rows = await services.store.revisions(
        command.message_id,
        caller.user_id,
        before=command.before_version,
        limit=command.limit + 1,
    )
    if rows is None:
        raise NotFound
    page = [_revision_dict(row) for row in rows[: command.limit]]
    has_more = len(rows) > command.limit
    return dumps({"messageId": command.message_id, "revisions": page, "hasMore": has_more})


def _revision_dict(row: RevisionRow) -> dict[str, Any]:
    """Return a `Revision`."""
    revision = {"version": row.version, "content": row.content, "createdAt": iso(row.created_at)}
    return revision | {"unreadable": True} if row.content is UNREADABLE else revision


_PATH = "/chat/messages/<uuid:message_id>"

OPERATIONS = (
    Operation(
        "message-pin",
        MessagePin,
        MessageAnswer,
        "Pin a message, or take the pin off",
        run=pin,
        rate=CHANGE_RATE,
        event="message:pin",
        route=Route("POST", _PATH + "/pin"),
    ),
    Operation(
        "message-pins",
        PinList,
        PinListAnswer,
        "The pinned messages of a session",
        run=pins,
        event="message:pins",
        route=Route("GET", "/chat/sessions/<uuid:session_id>/pins"),
    ),
    Operation(
        "message-revisions",
        RevisionList,
        RevisionPage,
        "The earlier texts of a message, newest first",
        run=revisions,
        event="message:revisions",
        route=Route("GET", _PATH + "/revisions"),
    ),
)
