"""Questions to the assistant, and answers under way (protocol.md section 7)."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import trio

from chatd.ai_payloads import ai_message_dict
from chatd.ai_rows import ASSISTANT_ID, AiMessageRow, Usage
from chatd.context import Caller, Services
from chatd.contract.assistant import Answer, Asked, Question
from chatd.errors import Conflict, Forbidden, NotFound
from chatd.events.ai import AiAttach, AiAttached, AiMessageRef, AiSend, AiSent
from chatd.handlers.ai_sessions import assistant_of
from chatd.handlers.ai_stream import Event, Kept, events_of, kept_events, stream
from chatd.handlers.operations import Followed, Operation, Route, Streamed, spend
from chatd.handlers.permissions import Action, may
from chatd.limits import Rate, rate_of
from chatd.model import dumps
from chatd.units import slice_units, units_in

NO_ANSWER = "no such answer"
STOP_TIMEOUT = 10.0  # seconds for the end to be stored; then the answer tells that it is not yet


async def send(services: Services, caller: Caller, command: AiSend) -> bytes | Followed | Streamed:
    """Ask a question."""
    question = Question(
        caller.user_id,
        command.ai_session_id,
        content=command.content,
        client_msg_id=command.client_msg_id,
    )
    return await _ask(services, caller, question)


async def retry(
    services: Services, caller: Caller, command: AiMessageRef
) -> bytes | Followed | Streamed:
    """Have the last question of a conversation answered again, in place of its last answer."""
    row = await _own_message(services, caller, command)
    if row.role != "ASSISTANT":
        msg = "an answer is asked for again, not a question"
        raise Conflict(msg)
    wanted = Question(caller.user_id, row.ai_session_id, replaces_id=command.message_id)
    return await _ask(services, caller, wanted)


async def _ask(
    services: Services, caller: Caller, question: Question
) -> bytes | Followed | Streamed:
    assistant = assistant_of(services)
    rate = rate_of(services.settings.ai_rate)
    spend(services, caller, "user", ("ai", caller.user_id), rate, trio.current_time())
    asked = await assistant.ask(question)
    told = dumps(
        {
            "userMessage": ai_message_dict(asked.question),
            "messageId": asked.message_id,
            "duplicate": asked.is_duplicate,
        }
    )
    if caller.wants_events:
        found = asked.answer or await _find(services, caller, asked.message_id)
        return _streamed(services, caller, found, 0, first=("ai:sent", told))
    return _followed(caller, asked, told)


def _streamed(
    services: Services,
    caller: Caller,
    found: Answer | Kept,
    index: int,
    *,
    first: Event | None = None,
) -> Streamed:
    """Return an answer from an index on as server-sent events, behind a first one."""
    if isinstance(found, Kept):
        return stream(kept_events(found, index, first=first))
    assert caller.identity is not None  # noqa: S101 - needs_login
    is_revoked = partial(services.sockets.is_revoked, caller.identity.family_id)
    interval = services.settings.ai_delta_interval
    return stream(events_of(found, index, interval, is_revoked, first=first))


def _followed(caller: Caller, asked: Asked, told: bytes) -> bytes | Followed:
    """Return an ack behind which the socket that asks hears the answer."""
    answer, socket = asked.answer, caller.socket
    if answer is None or socket is None:
        return told

    def follow() -> None:
        socket.push("ai:start", answer.payload(model=answer.model))
        answer.watch(socket, 0)

    return Followed(told, follow)


async def attach(services: Services, caller: Caller, command: AiAttach) -> bytes | Followed:
    """Return an answer from an index on; while it is under way the socket hears the rest."""
    found = await _find(services, caller, command.message_id)
    from_index = command.from_index if found.id == command.message_id else 0  # of another text
    if isinstance(found, Kept):
        return _attached(found, *slice_units(found.text, from_index))
    text, index = found.since(from_index)
    told = _attached(_standing(found), text, index)
    socket = caller.socket
    # Of a session only those hear the rest who have joined it: they are members while they do.
    if socket is None or found.end is not None or found.session_id is not None:
        return told
    end = index + units_in(text)
    return Followed(told, lambda: found.watch(socket, end))


async def follow(services: Services, caller: Caller, command: AiAttach) -> Streamed:
    """Stream an answer from an index on, or from where `Last-Event-ID` says."""
    index = command.from_index
    found = await _find(services, caller, command.message_id)
    if not isinstance(found, Kept) and found.session_id is not None:
        msg = "join the session to follow its answers"
        raise Conflict(msg)
    if caller.last_event_id.isascii() and caller.last_event_id.isdigit():
        index = int(caller.last_event_id[:15])
    if found.id != command.message_id:  # it has taken the place of what was read
        index = 0
    return _streamed(services, caller, found, index)


async def stop(services: Services, caller: Caller, command: AiMessageRef) -> bytes:
    """End an answer at once, keep what has come, and answer when that is stored."""
    found = await _find(services, caller, command.message_id)
    if not isinstance(found, Kept):
        await _may_stop(services, caller, found)
        found.stop()
        with trio.move_on_after(STOP_TIMEOUT):
            await found.ended()
        found = _standing(found)
    return _attached(found, found.text, 0)


async def _may_stop(services: Services, caller: Caller, answer: Answer) -> None:
    """Refuse whoever has not asked, and is nobody who could delete the answer.

    Raises:
        Forbidden: they may not.
    """
    if answer.user_id == caller.user_id or answer.session_id is None:
        return
    found = await services.store.session_for(answer.session_id, caller.user_id)
    if found is None or not may(found[1], Action.DELETE_ANY, found[0].kind):
        raise Forbidden


async def _find(services: Services, caller: Caller, message_id: UUID) -> Answer | Kept:
    """Return an answer that the caller may read now.

    Raises:
        NotFound: there is none for them.
    """
    assistant = assistant_of(services)
    for is_last in (False, True):  # it may end, or be replaced, while the store is asked
        answer = assistant.answer(message_id)
        if answer is not None:
            await _may_read(services, caller, answer)
            return answer
        row = await services.store.ai_message(message_id, caller.user_id)
        if row is not None and row.role == "USER":
            break
        if row is not None and row.status != "STREAMING":
            return _kept(row)
        answer = await assistant.find(message_id if row is None else row.id)
        if answer is not None:
            await _may_read(services, caller, answer)
            return answer
        if row is None:
            return await _said(services, caller, message_id)
        if is_last:  # its end could not be stored
            return Kept(row.id, row.content, "INTERRUPTED", None, "unavailable")
        message_id = row.id
    raise NotFound(NO_ANSWER)


async def _may_read(services: Services, caller: Caller, answer: Answer) -> None:
    if answer.session_id is None:
        if answer.user_id != caller.user_id:
            raise NotFound(NO_ANSWER)
        return
    found = await services.store.session_for(answer.session_id, caller.user_id)
    if found is None or found[1] is None:
        raise NotFound(NO_ANSWER)


async def _said(services: Services, caller: Caller, message_id: UUID) -> Kept:
    """Return an answer that is a message of a session."""
    access = await services.store.message_for(message_id, caller.user_id)
    if access is None or access.message.sender_id != ASSISTANT_ID:
        raise NotFound(NO_ANSWER)
    return Kept(access.message.id, access.message.content, "COMPLETE", None, None)


async def _own_message(services: Services, caller: Caller, command: AiMessageRef) -> AiMessageRow:
    assistant_of(services)
    row = await services.store.ai_message(command.message_id, caller.user_id)
    if row is None:
        raise NotFound(NO_ANSWER)
    return row


def _standing(answer: Answer) -> Kept:
    text, _ = answer.since(0)
    if answer.end is None:
        return Kept(answer.id, text, "STREAMING", None, None)
    error, usage = answer.end.error, answer.end.usage
    code = None if error is None else error.code
    return Kept(answer.id, text, answer.end.status, answer.end.finish_reason, code, usage)


def _kept(row: AiMessageRow) -> Kept:
    usage = None
    if row.prompt_tokens is not None and row.completion_tokens is not None:
        usage = Usage(row.prompt_tokens, row.completion_tokens, row.is_estimated)
    return Kept(row.id, row.content, row.status, row.finish_reason, row.error_code, usage)


def _attached(kept: Kept, text: str, index: int) -> bytes:
    return dumps(
        {
            "messageId": kept.id,
            "text": text,
            "index": index,
            "done": kept.status != "STREAMING",
            "status": kept.status,
            "finishReason": kept.finish_reason,
            "errorCode": kept.error_code,
            **kept.mark,
        }
    )


_ONE = "/ai/messages/<uuid:message_id>"
_ASK_RATE = Rate(5, 20)  # of calls; how many questions that may be is the setting ai_rate

OPERATIONS = (
    Operation(
        "ai-send",
        AiSend,
        AiSent,
        "Ask the assistant; the answer follows as events",
        run=send,
        rate=_ASK_RATE,
        event="ai:send",
        route=Route("POST", "/ai/sessions/<uuid:ai_session_id>/messages", 201, events=True),
    ),
    Operation(
        "ai-retry",
        AiMessageRef,
        AiSent,
        "Have the last question answered again, in place of its answer",
        run=retry,
        rate=_ASK_RATE,
        event="ai:retry",
        route=Route("POST", _ONE + "/retry", 201, events=True),
    ),
    Operation(
        "ai-attach",
        AiAttach,
        AiAttached,
        "An answer from an index on; sockets hear the rest of one under way",
        run=attach,
        event="ai:attach",
        route=Route("GET", _ONE),
    ),
    Operation(
        "ai-follow",
        AiAttach,
        None,
        "An answer as server-sent events, from fromIndex or Last-Event-ID on",
        run=follow,
        route=Route("GET", _ONE + "/stream", media="text/event-stream"),
    ),
    Operation(
        "ai-stop",
        AiMessageRef,
        AiAttached,
        "End an answer at once; what has come is kept",
        run=stop,
        event="ai:stop",
        route=Route("POST", _ONE + "/stop"),
    ),
)
