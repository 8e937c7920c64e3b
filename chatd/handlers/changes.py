"""Messages that change: edit, delete, react (protocol.md section 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from chatd.context import Caller, RoomEvent, Services
from chatd.errors import Conflict, Forbidden, NotFound, SessionReadOnly
from chatd.events.messages import (
    EditAnswer,
    MessageAnswer,
    MessageDelete,
    MessageEdit,
    MessageReact,
    MessageRef,
)
from chatd.handlers.mentions import ignored, notify, unique
from chatd.handlers.operations import Operation, Route
from chatd.handlers.permissions import Action, may
from chatd.handlers.refusals import refusal_of
from chatd.limits import Rate
from chatd.model import dumps, message_dict
from chatd.payloads import deleted_event, edited_event, reaction_event
from chatd.rows import MessageAccess, MessageChange, MessageRow, Role

TRIES = 3  # of a change whose author's role is another one each time

Work = tuple[MessageChange | None, Sequence[RoomEvent]]


async def edit(services: Services, caller: Caller, command: MessageEdit) -> bytes:
    """Replace the text of a message of the caller's; the same text changes nothing."""
    mentions = None if command.mentions is None else unique(command.mentions)

    def judge(access: MessageAccess) -> None:
        if access.message.sender_id != caller.user_id:
            raise Forbidden
        if not may(access.role, Action.EDIT, access.kind):
            raise SessionReadOnly

    async def work(role: Role) -> Work:
        change = await services.store.edit_message(
            command.message_id,
            caller.user_id,
            role=role,
            content=command.content,
            version=command.expected_version,
            at=services.now(),
            mentions=mentions,
        )
        if change is None or not change.is_changed:
            return change, ()
        if change.told:
            notify(services, change.message, change.told)
        return change, [_event("message:updated", change.message, edited_event(change.message))]

    _, change = await judged(services, caller, command, judge, work)
    message = alive(change)
    if change.is_stale:
        msg = "the message has another version"
        raise Conflict(msg, details={"version": message.version})
    answer: dict[str, object] = {"message": message_dict(message)}
    not_mentioned = ignored(mentions, message)
    return dumps(answer | {"ignoredMentions": not_mentioned} if not_mentioned else answer)


async def delete(services: Services, caller: Caller, command: MessageDelete) -> bytes:
    """Make a message a tombstone; one that is deleted already stays as it is."""

    def judge(access: MessageAccess) -> None:
        is_own = access.message.sender_id == caller.user_id
        if not may(access.role, Action.DELETE if is_own else Action.DELETE_ANY, access.kind):
            raise Forbidden

    async def work(role: Role) -> Work:
        change = await services.store.delete_message(
            command.message_id, caller.user_id, role=role, at=services.now()
        )
        if change is None or not change.is_changed:
            return change, ()
        return change, [_event("message:deleted", change.message, deleted_event(change.message))]

    access, change = await judged(services, caller, command, judge, work)
    if access.message.attachments is not None and services.files is not None:
        services.files.sweep()
    return dumps({"message": message_dict(change.message)})


async def react(services: Services, caller: Caller, command: MessageReact) -> bytes:
    """Give a reaction or take it back; what is so already stays so."""
    emoji, is_on = command.emoji, command.on

    def judge(access: MessageAccess) -> None:
        if not may(access.role, Action.REACT, access.kind):
            raise Forbidden

    async def work(role: Role) -> Work:
        change = await services.store.react(
            command.message_id,
            caller.user_id,
            role=role,
            emoji=emoji,
            is_on=is_on,
            at=services.now(),
        )
        if change is None or not change.is_changed:
            return change, ()
        payload = reaction_event(change.message, emoji, caller.user_id, is_on=is_on)
        return change, [_event("message:reaction", change.message, payload)]

    _, change = await judged(services, caller, command, judge, work)
    message = alive(change)
    if is_on and emoji not in {reaction.emoji for reaction in message.reactions or ()}:
        msg = "the message has as many different emoji as it can"
        raise Conflict(msg)
    return dumps({"message": message_dict(message)})


async def judged(
    services: Services,
    caller: Caller,
    command: MessageRef,
    judge: Callable[[MessageAccess], None],
    work: Callable[[Role], Awaitable[Work]],
) -> tuple[MessageAccess, MessageChange]:
    """Run a change in the caller's role; where that is another one by then, judge and run it again.

    Args:
        judge: raises what the caller is refused with, by the message and the role as they are now.
        work: as `chatd.context.Journal.change` takes it; None when the role is not this one.

    Returns:
        The message as it was judged, and what became of it.

    Raises:
        NotFound: no such message, or one of a session that the caller is not in: nobody can tell.
        Conflict: the caller had another role each time.
    """
    for _ in range(TRIES):
        access = await services.store.message_for(command.message_id, caller.user_id)
        if access is None:
            raise NotFound
        judge(access)
        change = await services.journal.change(partial(work, access.role))
        if change is not None:
            return access, change
    msg = "the caller's role changes all the time"
    raise Conflict(msg)


def alive(change: MessageChange) -> MessageRow:
    """Return the message after a change that a tombstone does not take.

    Raises:
        Conflict: the message is deleted.
        SessionReadOnly, Muted: the rules of the session do not let the caller write.
    """
    if change.message.deleted_at is not None:
        msg = "the message is deleted"
        raise Conflict(msg)
    if change.refusal is not None:
        raise refusal_of(change.refusal)
    return change.message


def _event(name: str, row: MessageRow, payload: dict[str, object]) -> RoomEvent:
    return RoomEvent(row.session_id, row.changed_seq, name, dumps(payload))


_PATH = "/chat/messages/<uuid:message_id>"

CHANGE_RATE = Rate(1, 50)  # each is a transaction of its own between the journal's batches

OPERATIONS = (
    Operation(
        "message-edit",
        MessageEdit,
        EditAnswer,
        "Replace the text of a message of one's own",
        run=edit,
        rate=CHANGE_RATE,
        event="message:edit",
        route=Route("PATCH", _PATH),
    ),
    Operation(
        "message-delete",
        MessageDelete,
        MessageAnswer,
        "Delete a message of one's own, or another's where the role allows it",
        run=delete,
        rate=CHANGE_RATE,
        event="message:delete",
        route=Route("DELETE", _PATH),
    ),
    Operation(
        "message-react",
        MessageReact,
        MessageAnswer,
        "React to a message, or take it back",
        run=react,
        rate=CHANGE_RATE,
        event="message:react",
        route=Route("POST", _PATH + "/reactions"),
    ),
)
