"""Messages: send, history (protocol.md section 4)."""

from __future__ import annotations

from uuid import UUID

import orjson

from chatd.context import Caller, RoomEvent, Services
from chatd.errors import ChatError, IdempotencyConflict, NotAMember
from chatd.events.messages import History, HistoryAnswer, MessageSend, SendAnswer
from chatd.handlers.mentions import calls_assistant, ignored, notify, unique
from chatd.handlers.operations import Operation, Reply, Route
from chatd.handlers.refusals import send_refusal
from chatd.ids import uuid7
from chatd.limits import Rate
from chatd.model import dumps, message_dict
from chatd.rows import Append, AppendRow, MessageRow, NewMessage


def send(services: Services, caller: Caller, command: MessageSend, reply: Reply) -> None:
    """Hand a message to the journal; `reply` gets the ack in the step that publishes it.

    Membership, role and the session's rules are judged in the transaction that stores it, so that
    nobody writes after the commit that removed them.
    """
    message = NewMessage(
        id=uuid7(),
        session_id=command.session_id,
        sender_id=caller.user_id,
        content=command.content,
        created_at=services.now(),
        client_msg_id=command.client_msg_id,
        reply_to_id=command.reply_to_id,
        mentions=unique(command.mentions) if command.mentions else (),
        attachments=tuple(command.attachments),
    )

    def settle(outcome: AppendRow | ChatError) -> RoomEvent | None:
        if isinstance(outcome, ChatError):
            reply(outcome)
            return None
        row = outcome.row
        if row is None:
            reply(send_refusal(outcome, message))
            return None
        if outcome.outcome is Append.DUPLICATE and not _is_repeat(row, message):
            reply(IdempotencyConflict())
            return None
        encoded = orjson.dumps(message_dict(row))  # once: for the ack and for everybody
        is_duplicate = outcome.outcome is Append.DUPLICATE
        reply(_answer(encoded, ignored(message.mentions, row), is_duplicate=is_duplicate))
        if is_duplicate:
            return None
        services.typing.stop(row.session_id, row.sender_id)
        if outcome.told:
            notify(services, row, outcome.told)
        if services.assistant is not None and calls_assistant(message):
            services.assistant.mentioned(row)
        return RoomEvent(row.session_id, row.seq, "message:new", encoded)

    lifetime = None if command.deadline_ms is None else command.deadline_ms / 1000
    services.journal.submit(message, settle, lifetime=lifetime)


def _answer(message: bytes, not_mentioned: list[UUID], *, is_duplicate: bool) -> bytes:
    rest = b',"ignoredMentions":%b' % dumps(not_mentioned) if not_mentioned else b""
    return b'{"message":%b,"duplicate":%b%b}' % (
        message,
        b"true" if is_duplicate else b"false",
        rest,
    )


def _is_repeat(row: MessageRow, message: NewMessage) -> bool:
    """Return whether a message is the stored one; a change has replaced what that was."""
    if row.version > 1 or row.deleted_at is not None:
        return row.session_id == message.session_id
    answered = None if row.reply_to is None else row.reply_to.id
    attached = tuple(each.id for each in row.attachments or ())
    said = (message.session_id, message.content, message.reply_to_id, message.attachments)
    return (row.session_id, row.content, answered, attached) == said


async def history(services: Services, caller: Caller, command: History) -> bytes:
    """Return a page of messages by keyset."""
    page = await services.store.history(
        command.session_id,
        caller.user_id,
        before_seq=command.before_seq,
        after_seq=command.after_seq,
        around_id=command.around_id,
        limit=command.limit,
    )
    if page is None:
        raise NotAMember
    return dumps(
        {
            "messages": [message_dict(row) for row in page.messages],
            "hasBefore": page.has_before,
            "hasAfter": page.has_after,
            "epoch": services.epoch,
            "seq": page.seq,
        }
    )


_PATH = "/chat/sessions/<uuid:session_id>"

OPERATIONS = (
    Operation(
        "message-send",
        MessageSend,
        SendAnswer,
        "Send a message; answered when it is committed",
        submit=send,
        event="message:send",
        route=Route("POST", _PATH + "/messages", 201),
        rate=Rate(5, 20),
    ),
    Operation(
        "message-history",
        History,
        HistoryAnswer,
        "Messages by keyset, oldest first",
        run=history,
        event="message:history",
        route=Route("GET", _PATH + "/messages"),
    ),
)
